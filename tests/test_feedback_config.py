"""Settings of feedback: each kind has its own, and what they say together must make sense."""

from __future__ import annotations

from pathlib import Path

import pytest

from ragkit.config import load_config, parse_config
from ragkit.errors import ConfigError
from ragkit.feedback_config import AverageFeedback, Rm3Feedback, RocchioFeedback


def test_the_published_settings_are_the_defaults():
    tables = [{"kind": "rocchio"}, {"kind": "rm3"}]
    rocchio, rm3 = parse_config({"retrieval": {"feedback": tables}}).retrieval.feedback
    assert isinstance(rocchio, RocchioFeedback)
    assert (rocchio.depth, rocchio.alpha, rocchio.beta, rocchio.gamma) == (5, 0.4, 0.6, 0)
    assert isinstance(rm3, Rm3Feedback)
    assert (rm3.depth, rm3.terms, rm3.original_weight) == (10, 10, 0.5)
    assert parse_config({}).retrieval.feedback == ()


@pytest.mark.parametrize(
    "toml",
    [
        '[retrieval]\nfeedback = {kind = "average", depth = 2}',
        '[retrieval.feedback]\nkind = "average"\ndepth = 2',
        '[[retrieval.feedback]]\nkind = "average"\ndepth = 2',
    ],
)
def test_one_table_may_be_written_in_every_way_that_toml_has(tmp_path: Path, toml):
    (tmp_path / "c.toml").write_text(toml, "utf-8")
    config = load_config(tmp_path / "c.toml")
    assert config.retrieval.feedback == (AverageFeedback(kind="average", depth=2),)
    assert parse_config(config.model_dump(exclude_unset=True)) == config


@pytest.mark.parametrize(
    ("feedback", "said"),
    [
        ({"kind": "average", "alpha": 0.4}, r"unknown setting .*average\.alpha'; known here: depth, kind"),
        ({"kind": "rocchio", "gama": 0.4}, "did you mean 'gamma'"),
        ({"kind": "rochio"}, "'rochio' found using 'kind' does not match any of .*'rocchio'"),
        ({"kind": "lol"}, r"feedback\.0\.lol\.model: Field required"),
        ({"kind": "average", "depth": 0}, "depth = 0: Input should be greater"),
        ({"kind": "rocchio", "gamma": 0.1}, r"gamma = 0\.1 and bottom = 0 go together"),
        ({"kind": "rocchio", "bottom": 3}, r"gamma = 0\.0 and bottom = 3 go together"),
        (
            {"kind": "rocchio", "bottom": 3, "gamma": 0.1, "pool": 5},
            "pool = 5 hits leave none behind .* depth = 5",
        ),
        ("average", "'average' is no table"),
        ([{"kind": "average"}, {"kind": "rocchio"}], "average and rocchio would revise vectors twice"),
        ([{"kind": "rm3"}, {"kind": "rm3"}], "rm3 and rm3 would revise terms twice"),
    ],
)
def test_what_makes_no_sense_is_refused(feedback, said):
    with pytest.raises(ConfigError, match=said):
        parse_config({"retrieval": {"feedback": feedback}})


@pytest.mark.parametrize(
    ("method", "kind", "said"),
    [
        ("dense", "rm3", "'rm3' revises terms, and method = 'dense' searches none.*'bm25' or 'hybrid'"),
        ("bm25", "average", "'average' revises vectors, and method = 'bm25' searches none.*'dense' or 'hybrid'"),
        ("bm25", "rocchio", "'rocchio' revises vectors"),
    ],
)
def test_feedback_for_what_is_not_searched_is_refused(method, kind, said):
    with pytest.raises(ConfigError, match=said):
        parse_config({"retrieval": {"method": method, "feedback": {"kind": kind}}})
    assert parse_config({"retrieval": {"method": "hybrid", "feedback": {"kind": kind}}}).retrieval.feedback
