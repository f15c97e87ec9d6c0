from __future__ import annotations

import random

import pytest

from ragkit.records import Hit
from ragkit.serve.prompting.near_duplicates import Repeat, find_repeats
from tests.serve.house import make_hit
from tests.serve.picture_house import three_pictures

LONG = (
    "the pump in the lower hall is checked by the caretaker every week and its pressure is written down in the "
    "green book beside the door where the keys of the cellar hang on a hook above the old wooden bench"
)


def repeats(*texts: str, near: bool = True, names: tuple[str, ...] = ()) -> list[tuple[int, int, bool]]:
    hits = [make_hit(names[i] if names else "a.txt", text) for i, text in enumerate(texts)]
    return [(r.index, r.of, r.is_exact) for r in find_repeats(hits, near=near)]


def test_the_same_text_but_for_white_space_is_an_exact_repeat() -> None:
    assert repeats(LONG, LONG.replace(" ", "\n  "), "other", LONG, near=False) == [(1, 0, True), (3, 0, True)]
    assert repeats("Five.", "Five.", near=False) == [(1, 0, True)]


def test_case_and_signs_are_no_white_space() -> None:
    assert repeats("It is -5 degrees.", "It is 5 degrees.", near=False) == []
    assert repeats("US", "us", near=False) == []


@pytest.mark.parametrize("near", [False, True])
def test_a_short_text_of_another_document_may_say_something_else(near: bool) -> None:
    texts = ("The office has 40 desks.", "The office has 40 desks.")
    assert repeats(*texts, near=near, names=("berlin.txt", "paris.txt")) == []


@pytest.mark.parametrize("near", [False, True])
def test_years_in_names_keep_copies_apart(near: bool) -> None:
    assert repeats(LONG, LONG, near=near, names=("report-2021.pdf", "report-2022.pdf")) == []
    assert repeats(LONG, LONG, near=near, names=("policy.pdf", "policy copy.pdf")) == [(1, 0, True)]


def test_what_an_earlier_passage_holds_whole_is_nearly_the_same() -> None:
    assert repeats("Before. " + LONG + " And after.", LONG) == [(1, 0, False)]
    # The other way round the later one says more.
    assert repeats(LONG, "Before. " + LONG + " And after that 5 men came.") == []
    assert repeats(LONG, LONG + " it closes at dusk whenever rain falls for longer than a day") == []


def test_a_slight_difference_in_a_word_that_tells_nothing() -> None:
    assert repeats(LONG, LONG.replace("wooden", "woodn")) == [(1, 0, False)]
    assert repeats(LONG, LONG.replace("wooden", "woodn"), near=False) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("every week", "every 2 week"),
        ("is checked", "is not checked"),
        ("is checked", "isn't checked"),
        ("the caretaker", "Anna"),
        ("the old", "МАРИЯ old"),
    ],
)
def test_numbers_names_and_negations_tell(old: str, new: str) -> None:
    changed = LONG.replace(old, new)
    assert changed != LONG
    assert repeats(LONG, changed) == []


def test_numbers_that_change_places_tell() -> None:
    one = LONG + " in 2020 it was 5 bar and in 2021 it was 6 bar"
    other = LONG + " in 2020 it was 6 bar and in 2021 it was 5 bar"
    assert repeats(one, other) == []
    assert repeats(LONG + " it holds 2.5 bar", LONG + " it holds 5.2 bar") == []
    assert repeats(LONG + " it is -5 there", LONG + " it is 5 there") == []


CHINESE = (
    "湖心亭位于湖的北岸,由当地居民在很久以前修建,每年春天都有许多游客来到这里"
    "观赏樱花并品尝新茶,管理处每天早晨打扫小路。"
)


def test_chinese_is_compared_by_characters() -> None:
    assert repeats("前言。" + CHINESE + "后记。", CHINESE.replace(",", "、")) == [(1, 0, False)]
    assert repeats(CHINESE, CHINESE.replace("都有", "没有")) == []
    assert repeats(CHINESE, CHINESE.replace("北岸", "南岸")) == []
    assert repeats(CHINESE, CHINESE, names=("a.txt", "b.txt")) == [(1, 0, True)]


def test_what_has_no_words_repeats_only_itself() -> None:
    assert repeats("***", "---", "***") == [(2, 0, True)]
    assert repeats("", "", " ") == []
    assert find_repeats(three_pictures() * 2, near=True) == []
    assert find_repeats([], near=True) == []


def test_a_repeat_is_of_one_that_is_kept() -> None:
    assert repeats(LONG, LONG, LONG) == [(1, 0, True), (2, 0, True)]


def brute_force(hits: list[Hit]) -> list[Repeat]:
    """By comparing every passage with every earlier one that is kept, alone."""
    found: list[Repeat] = []
    for i, hit in enumerate(hits):
        out = {repeat.index for repeat in found}
        of = [j for j in range(i) if j not in out and find_repeats([hits[j], hit], near=True)]
        found += [Repeat(i, of[0], hits[of[0]].passage.text == hit.passage.text)] if of else []
    return found


def test_the_index_finds_what_comparing_all_finds() -> None:
    rng = random.Random(7)
    words = ["alpha", "beta", "gamma", "delta", "eta", "iota", "kappa", "mu", "nu", "rho", "tau", "phi"]
    texts = [" ".join(rng.choices(words, k=45)) for _ in range(25)]
    copies = [" ".join(text.split()[rng.randrange(6) : 45 - rng.randrange(6)]) for text in texts for _ in range(2)]
    both = [make_hit("a.txt", text) for text in [*texts, *copies]]
    rng.shuffle(both)
    found = find_repeats(both, near=True)
    assert {repeat.index for repeat in found} == {repeat.index for repeat in brute_force(both)}
    assert len(found) > 20
