from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from ragkit.config import parse_config
from ragkit.errors import ConfigError
from ragkit.field_problems import explain, known_fields, plainest


def _even(number: int) -> int:
    if number % 2:
        raise ValueError("this is odd")
    return number


def _named(given: dict[str, int]) -> dict[str, int]:
    raise ValueError(f"{next(iter(given))!r} cannot name anything")


class Leaf(BaseModel):
    model_config = ConfigDict(extra="forbid")

    colour: str = ""


class Bud(BaseModel):
    model_config = ConfigDict(extra="forbid")

    opened: bool = False


class Cat(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: Literal["cat"]
    lives: int = 9


class Dog(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: Literal["dog"]
    tricks: int = 0


class House(BaseModel):
    pets: list[Annotated[Cat | Dog, Field(discriminator="kind")]] = []


class Street(BaseModel):
    house: House | None = None


class Tree(BaseModel):
    model_config = ConfigDict(extra="forbid")

    leaves: list[Leaf | Bud] | None = None
    best: Annotated[Leaf, "of all"] | None = None
    height: Annotated[int, AfterValidator(_even)] = 0
    names: Annotated[dict[str, int], AfterValidator(_named)] | None = None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"hight": 2}, "unknown field 'hight'; did you mean 'height'?"),
        ({"best": {"color": "red"}}, "unknown field 'best.color'; did you mean 'colour'?"),
        ({"best": {"xyz": 1}}, "unknown field 'best.xyz'; known here: colour"),
        ({"height": 3}, "height = 3: this is odd"),
        (
            {"height": "tall"},
            "height = 'tall': Input should be a valid integer, unable to parse string as an integer",
        ),
        ({"names": {"my key": 1}}, "names: 'my key' cannot name anything"),
        ("x" * 200, f"'{'x' * 99}: Input should be a valid dictionary or instance of Tree"),
    ],
)
def test_what_is_wrong_is_said_in_plain_words(given: Any, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Tree.model_validate(given)
    assert explain(caught.value.errors()[0], Tree, "field").removeprefix(" = ") == message


def test_a_secret_is_not_repeated() -> None:
    with pytest.raises(ValidationError) as caught:
        Tree.model_validate({"height": "rk-secret"})
    told = explain(caught.value.errors()[0], Tree, "field", shows_value=False)
    assert told.startswith("height: Input should be")
    assert "secret" not in told


def test_of_a_union_told_apart_by_a_field_only_its_own_kind_is_known() -> None:
    with pytest.raises(ValidationError) as caught:
        Street.model_validate({"house": {"pets": [{"kind": "dog", "lives": 7}]}})
    told = explain(caught.value.errors()[0], Street, "field")
    assert told == "unknown field 'house.pets.0.dog.lives'; known here: kind, tricks"


def test_fields_are_found_through_lists_and_unions() -> None:
    assert known_fields(Tree, ["leaves", 3, "Bud"]) == ["colour", "opened"]
    assert known_fields(Tree | None, []) == ["best", "height", "leaves", "names"]
    assert known_fields(None, []) == []


def test_a_setting_says_its_value_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config({"serve": {"public_url": "ask.example.org"}}, "ragkit.toml")
    expected = "ragkit.toml: serve.public_url = 'ask.example.org': this is no address such as "
    assert str(caught.value) == f"{expected}'https://ask.example.org/rag'"


class Branch(BaseModel):
    bends: str | list[Annotated[str, AfterValidator(str.strip)]] | list[int] | None = None
    crown: list[Leaf] | Bud | None = None
    marks: dict[str, int] | str = ""
    notes: dict[Annotated[str, Field(max_length=2)], str] = {}


@pytest.mark.parametrize(
    ("given", "place", "message"),
    [
        ({"bends": ["a", 5]}, "bends.1", "bends.1 = 5: Input should be a valid string"),
        ({"bends": [1, "a", 3]}, "bends.1", "unable to parse string as an integer"),
        ({"bends": {}}, "bends", "bends = {}: Input should be a valid string or a valid list"),
        ({"crown": [{"colour": 1}]}, "crown.0.colour", "crown.0.colour = 1: Input should be a valid string"),
        ({"crown": {"opend": True}}, "crown.opend", "unknown field 'crown.opend'; did you mean 'opened'?"),
        ({"marks": {"dict[str,int]": "x"}}, "marks.dict[str,int]", "marks.dict[str,int] = 'x': Input should be"),
        ({"marks": 5}, "marks", "marks = 5: Input should be a valid dictionary or a valid string"),
        ({"notes": {"abc": "x"}}, "notes.abc", "notes.abc = 'abc': String should have at most 2 characters"),
        ({"notes": 5, "bends": 5}, "bends", "bends = 5: Input should be a valid string or a valid list"),
    ],
)
def test_of_a_union_the_fault_of_what_was_meant_is_told(given: Any, place: str, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Branch.model_validate(given)
    problem = plainest(caught.value.errors(), Branch)
    assert ".".join(map(str, problem["loc"])) == place
    assert message in explain(problem, Branch, "field")
