"""Filters on attributes: three spellings of one condition, and SQL that says what Python says."""

from __future__ import annotations

import json
import re
from datetime import date, datetime
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ragkit import Corpus, attribute
from ragkit.attributes import (
    AttributeType,
    checked_attributes,
    checked_name,
    dump_attributes,
    load_attributes,
    type_of,
)
from ragkit.errors import FilterError
from ragkit.filter_json import filter_from_json, filter_to_json
from ragkit.filter_text import filter_text, parse_filter
from ragkit.filters import OPERATORS, And, Comparison, Condition, Not, Or, check_condition, matches
from ragkit.indexers.catalogue import Catalogue
from ragkit.indexers.filter_sql import has_attribute, known_attributes
from ragkit.indexers.new_document import NewDocument
from ragkit.indexers.store import SqlitePassageStore
from ragkit.records import Filter, Page, TextRecord
from tests.fakes import HashEmbedder

NAMES = ("year", "dept", "größe", "a.b-c", "draft")
TEXTS = st.one_of(
    st.sampled_from(
        ["", "a", "b", "B", "ä", "z", "𝄞", "2", "true", "2024-02-30", "0000-01-01", "q\"\\'", "x y\nz"]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=4),
)
NUMBERS = st.one_of(
    st.sampled_from([0, -0.0, 1, 1.0, 2, 2.5, 2**53, 2**53 + 1, float(2**53), 2**63 - 1, -(2**63), 0.1, 1e300]),
    st.integers(-3, 3),
    st.floats(allow_nan=False, allow_infinity=False),
)
DAYS = st.one_of(st.dates(date(2024, 2, 27), date(2024, 3, 2)), st.sampled_from([date.min, date.max]))
VALUES = st.one_of(TEXTS, NUMBERS, st.booleans(), DAYS)
DOCUMENTS = st.lists(st.dictionaries(st.sampled_from(NAMES), VALUES), max_size=8)


@st.composite
def comparisons(draw: st.DrawFn) -> Comparison:
    operator = draw(st.sampled_from(OPERATORS))
    name = draw(st.sampled_from(NAMES))
    if operator in ("in", "nin"):
        return Comparison(name, operator, tuple(draw(st.lists(VALUES, max_size=4))))
    ordered = VALUES if operator in ("eq", "ne") else st.one_of(TEXTS, NUMBERS, DAYS)
    return Comparison(name, operator, draw(ordered))


def joined(parts: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    several = st.lists(parts, min_size=2, max_size=3).map(tuple)
    return st.one_of(several.map(And), several.map(Or), parts.map(Not))


CONDITIONS = st.recursive(comparisons(), joined, max_leaves=6)


@given(CONDITIONS)
@settings(max_examples=200, deadline=None)
def test_every_spelling_says_the_same_condition(condition: Condition):
    assert parse_filter(filter_text(condition)) == condition
    assert filter_from_json(json.loads(json.dumps(filter_to_json(condition)))) == condition


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    return Catalogue.create(tmp_path_factory.mktemp("filters"))


@given(DOCUMENTS, CONDITIONS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_catalogue_admits_what_brute_force_admits(
    catalogue: Catalogue, documents: list[dict], condition: Condition
):
    catalogue.rows("PRAGMA synchronous = OFF")
    with catalogue.transaction():
        for document in SqlitePassageStore(catalogue).documents():
            catalogue.remove_document(document.id)
        keys = {}
        for i, attributes in enumerate(documents):
            checked = checked_attributes(attributes)
            new = NewDocument(f"d{i}", "", "", "", "", "", [Page(1, "x")], [(1, 0, 1), (1, 0, 1)], checked)
            keys[f"d{i}"] = catalogue.add_document(new)
    store = SqlitePassageStore(catalogue)
    stored = store.documents()
    assert [document.attributes for document in stored] == [checked_attributes(one) for one in documents]
    for where in (condition, parse_filter(filter_text(condition)), filter_from_json(filter_to_json(condition))):
        wanted = [key for d in stored if matches(where, d.attributes) for key in keys[d.id]]
        assert store.keys(Filter(condition=where)).tolist() == wanted
    some = frozenset({"d0", "d3"})
    wanted = [key for d in stored if d.id in some and matches(condition, d.attributes) for key in keys[d.id]]
    assert store.keys(Filter(some, condition), kind="text").tolist() == wanted
    counted = known_attributes(catalogue)
    assert sum(sum(types.values()) for types in counted.values()) == sum(map(len, documents))
    for name in NAMES:
        types = {type_of(d.attributes[name]) for d in stored if name in d.attributes}
        assert set(counted.get(name, {})) == types
        assert {kind for kind in get_args(AttributeType) if has_attribute(catalogue, name, kind)} == types


year, dept = attribute("year"), attribute("dept")


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("year>=2022", year >= 2022),
        ("year>=2022 and dept in (legal,hr)", (year >= 2022) & dept.is_in(["legal", "hr"])),
        ("a = 1 or b = 2 and not c = 3", (attribute("a") == 1) | ((attribute("b") == 2) & ~(attribute("c") == 3))),
        ("(a = 1 OR b == 2) AND c != 3", ((attribute("a") == 1) | (attribute("b") == 2)) & (attribute("c") != 3)),
        ("dept NOT IN ('it\\'s', \"x y\")", dept.not_in(["it's", "x y"])),
        ("day < 2024-05-01", attribute("day") < date(2024, 5, 1)),
        ("day < '2024-05-01'", attribute("day") < date(2024, 5, 1)),
        ("dept = '2024-02-30'", dept == "2024-02-30"),
        ("draft = False", attribute("draft") == False),  # noqa: E712 - it makes a condition
        ("dept = 'true'", dept == "true"),
        ("year > -1.5e3", year > -1500.0),
        ("year in ()", year.is_in([])),
    ],
)
def test_text_is_read(text: str, condition: Condition):
    assert parse_filter(text) == condition


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "character 1 .*: expected the name of an attribute, found the end"),
        (
            "year>=2022 and dept in legal",
            r"character 24 \(…r>=2022 and dept in legal\): expected '\(', found 'legal'",
        ),
        ("year >= and", r"character 9 .*: expected a value, found 'and'"),
        ("year 2022", "character 6 .*expected = != > >= < <= in or not in, found '2022'"),
        ("year not 2022", "character 10 .*expected 'in'"),
        ("(year = 1", r"character 10 .*expected '\)', found the end"),
        ("year = 1 dept = 2", "character 10 .*expected 'and', 'or' or the end, found 'dept'"),
        ("dept in (a b)", r"character 12 .*expected ',' or '\)', found 'b'"),
        ("dept = 'open", "character 8 .*the quote is not closed"),
        ("day = 2024-02-30", "character 7 .*no such day .day is out of range"),
        ("day = 2024-5-1", "character 7 .*neither a number nor a day"),
        ("year = 12abc", "character 8 .*neither a number nor a day"),
        ("year = " + "9" * 5000, "character 8 .*longer than 400 characters"),
        ("year = 1e999", "character 1 .*year is inf"),
        ("year & 3", "character 6 .*'&' has no meaning here"),
        ("draft > true", "character 1 .*draft cannot be ordered by True"),
        ("year = 99999999999999999999", "character 1 .*more than 64 bits"),
        ("(" * 60 + "a = 1" + ")" * 60, "nested more than 50 deep"),
        ("not " * 60 + "a = 1", "nested more than 50 deep"),
    ],
)
def test_text_that_is_no_filter_is_placed(text: str, message: str):
    with pytest.raises(FilterError, match=message):
        parse_filter(text)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("year>=2022", "filters: expected an object"),
        ({"type": "like", "key": "a", "value": 1}, r"filters\.type is 'like'; known: eq, ne"),
        ({"type": "eq", "key": "a"}, r"filters: a filter of type 'eq' has the fields key, type, value"),
        ({"type": "and", "filters": []}, r"filters\.filters: expected a list of at least one"),
        (
            {
                "type": "and",
                "filters": [{"type": "eq", "key": "a", "value": 1}, {"type": "in", "key": "b", "value": 1}],
            },
            r"filters\.filters\[1\]: b: 'in' needs a list",
        ),
        ({"type": "eq", "key": "a", "value": None}, r"filters: a is None \(NoneType\); give a string"),
        ({"type": "eq", "key": 3, "value": 1}, "filters: 3 cannot name an attribute"),
        ({"type": "eq", "key": "a", "value": [1]}, r"filters: a is \[1\]"),
    ],
)
def test_json_that_is_no_filter_is_placed(value: object, message: str):
    with pytest.raises(FilterError, match=message):
        filter_from_json(value)


def test_a_deep_json_filter_is_refused():
    value: dict = {"type": "eq", "key": "a", "value": 1}
    for _ in range(2000):
        value = {"type": "not", "filter": value}
    with pytest.raises(FilterError, match="nested more than 50 deep"):
        filter_from_json(value)


def test_missing_attributes_and_other_types():
    assert matches(year != 2022, {})
    assert matches(year.not_in([2022]), {})
    for condition in (year == 2022, year >= 0, year < 0, year.is_in([2022]), year >= 2022):
        assert not matches(condition, {})
        assert not matches(condition, {"year": "2022"})
    assert not matches(year == 1, {"year": True})
    assert matches(year == 1, {"year": 1.0})


def test_mistakes_are_refused_with_what_is_known():
    known = {"year": {"number": 3}, "dept": {"string": 2, "date": 1}}
    check_condition(parse_filter("year > 3 and dept = 2024-01-01"), known)
    with pytest.raises(
        FilterError, match=r"character 14 .*attribute 'yaer' \(did you mean 'year'\?\); known"
    ) as error:
        check_condition(parse_filter("dept = a and yaer = 1"), known)
    assert str(error.value).endswith("known attributes: dept (date or string), year (number)")
    with pytest.raises(FilterError, match="year is compared with the string 'abc', but is a number in every"):
        check_condition(year > "abc", known)
    with pytest.raises(FilterError, match="no document here has attributes"):
        check_condition(year > 1, {})
    many: Condition = year == 0
    for i in range(300):
        many |= year == i
    with pytest.raises(FilterError, match="301 comparisons; 256"):
        check_condition(many, known)


def test_the_largest_filter_that_is_allowed_runs(tmp_path: Path):
    store = SqlitePassageStore(Catalogue.create(tmp_path))
    for part in (year > "x", year.is_in([1, "a", True])):
        whole: Condition = part
        for _ in range(255):
            whole &= part
        for _ in range(49):
            whole = ~whole
        check_condition(whole, {"year": {"number": 1, "string": 1, "boolean": 1}})
        assert store.keys(Filter(condition=whole)).tolist() == []


def test_conditions_are_not_truth_values():
    with pytest.raises(TypeError, match="combine conditions with &"):
        _ = (year > 1) and (year < 3)


@pytest.mark.parametrize("name", ["", "1a", "a b", 'a"b', "and", "TRUE", "x" * 65, "-a", 3])
def test_names_that_no_attribute_can_have(name: object):
    with pytest.raises(ValueError, match="cannot name an attribute"):
        checked_name(name)


@pytest.mark.parametrize(
    "value", [None, [1], {}, float("nan"), float("inf"), 2**63, "\0", "\ud800", "x" * 5000, b"a"]
)
def test_values_that_cannot_be_stored(value: object):
    with pytest.raises(ValueError, match=re.escape("year is ")):
        checked_attributes({"year": value})
    with pytest.raises(ValueError, match="without time"):
        checked_attributes({"year": datetime(2024, 1, 1)})


def test_the_stored_form():
    values = {"day": date(2024, 1, 2), "b": True, "n": 1, "f": 1.0, "größe": "ü"}
    assert dump_attributes(values) == '{"b": true, "day": "2024-01-02", "f": 1.0, "größe": "ü", "n": 1}'
    loaded = load_attributes(dump_attributes(values))
    assert loaded == values
    assert [type(loaded[name]) for name in ("b", "n", "f")] == [bool, int, float]


def test_filters_that_compare_equal_in_python_are_told_apart(tmp_path: Path):
    with Corpus.open(tmp_path / "c", embedder=HashEmbedder()) as corpus:
        corpus.add(
            [
                TextRecord("number", "tide", attributes={"x": 1}),
                TextRecord("truth", "tide", attributes={"x": True}),
            ]
        )
        for where, found in ((attribute("x") == 1, "number"), (attribute("x") == True, "truth")):  # noqa: E712
            assert [hit.passage.document for hit in corpus.search("tide", where=where)] == [found]
        corpus.set_attributes({"number": {"x": True}, "truth": {"x": 1}})
        assert [hit.passage.document for hit in corpus.search("tide", where=attribute("x") == 1)] == ["truth"]
