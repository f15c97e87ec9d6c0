"""From the words of `ragkit eval feedback` to settings of searches."""

from __future__ import annotations

from pathlib import Path

import pytest

from ragkit.config import parse_config
from ragkit.errors import ConfigError
from ragkit.eval.runs.feedback_settings import feedback_settings, parse_depths, parse_kinds, parse_models
from ragkit.feedback_config import AverageFeedback, LolFeedback, Rm3Feedback, RocchioFeedback

HYBRID = parse_config({"retrieval": {"method": "hybrid"}})


@pytest.mark.parametrize(
    ("text", "depths"), [("0-5", (0, 1, 2, 3, 4, 5)), ("10, 1-3,2", (1, 2, 3, 10)), ("4", (4,))]
)
def test_depths_are_numbers_and_ranges(text: str, depths: tuple[int, ...]) -> None:
    assert parse_depths(text) == depths


@pytest.mark.parametrize(
    ("text", "said"),
    [("5-1", "'5-1' is no number and no range"), ("1-", "'1-'"), ("x", "'x'"), ("0", "none above 0")],
)
def test_other_depths_are_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_depths(text)


def test_models_are_named_by_their_folders_or_as_asked(tmp_path: Path) -> None:
    assert parse_models([str(tmp_path / "small"), "big=x/y"]) == {"small": tmp_path / "small", "big": Path("x/y")}
    with pytest.raises(ConfigError, match=r"'b/small' is called 'small'; give each a name of its own"):
        parse_models(["a/small", "b/small"])
    with pytest.raises(ConfigError, match="is called 'rm3'"):
        parse_models(["rm3=x"])


@pytest.mark.parametrize(
    ("config", "models", "kinds"),
    [
        ({"retrieval": {"method": "dense"}}, {}, ("average", "rocchio")),
        ({"retrieval": {"method": "bm25"}}, {}, ("rm3",)),
        ({"embedder": {"name": "none"}}, {}, ("rm3",)),
        ({}, {"m": Path("m")}, ("average", "rocchio", "rm3", "lol")),
    ],
)
def test_without_names_all_kinds_that_fit_are_compared(config, models, kinds) -> None:
    assert parse_kinds("", parse_config(config), models) == kinds


def test_kinds_that_are_unknown_or_lack_a_model_are_refused() -> None:
    with pytest.raises(ConfigError, match="--kinds 'rm4' is none of none, average, rocchio, rm3, lol"):
        parse_kinds("average+rm4", HYBRID, {})
    with pytest.raises(ConfigError, match="--kinds lol needs trained models"):
        parse_kinds("lol", HYBRID, {})
    with pytest.raises(ConfigError, match="--model needs --kinds with lol"):
        parse_kinds("average", HYBRID, {"m": Path("m")})


def test_no_feedback_comes_first_and_every_kind_at_every_depth_follows() -> None:
    found = feedback_settings(HYBRID, ["none", "average", "rocchio+rm3"], (0, 1, 4), {})
    assert [setting.key for setting in found] == [
        "none",
        "average 1",
        "average 4",
        "rocchio+rm3 1",
        "rocchio+rm3 4",
    ]
    assert found[0].config.retrieval.feedback == ()
    assert found[2].config.retrieval.feedback == (AverageFeedback(kind="average", depth=4),)
    assert found[4].config.retrieval.feedback == (
        RocchioFeedback(kind="rocchio", depth=4),
        Rm3Feedback(kind="rm3", depth=4),
    )


def test_what_the_configuration_says_of_a_kind_holds_but_for_its_depth() -> None:
    own = {"kind": "rocchio", "alpha": 0.7, "beta": 0.3, "depth": 9}
    config = parse_config({"retrieval": {"method": "dense", "feedback": own}})
    none, average, rocchio = feedback_settings(config, ["average", "rocchio"], (2,), {})
    assert none.config.retrieval.feedback == ()
    assert average.config.retrieval.feedback == (AverageFeedback(kind="average", depth=2),)
    assert rocchio.config.retrieval.feedback == (RocchioFeedback(kind="rocchio", depth=2, alpha=0.7, beta=0.3),)
    assert {one.config.retrieval.method for one in (none, average, rocchio)} == {"dense"}


def test_a_trained_model_has_rows_under_its_name() -> None:
    models = {"with": Path("a"), "without": Path("b")}
    found = feedback_settings(HYBRID, ["lol", "lol+rm3"], (3,), models)
    assert [setting.key for setting in found] == ["none", "with 3", "without 3", "with+rm3 3", "without+rm3 3"]
    assert found[4].config.retrieval.feedback == (
        LolFeedback(kind="lol", model="b", depth=3),
        Rm3Feedback(kind="rm3", depth=3),
    )


def test_a_kind_that_has_nothing_to_revise_is_refused_before_any_work() -> None:
    with pytest.raises(ConfigError, match="--kinds rm3: retrieval: feedback of kind 'rm3' revises terms"):
        feedback_settings(parse_config({"retrieval": {"method": "dense"}}), ["rm3"], (1,), {})
