"""`ragkit eval context` from a set to its table, with engines whose answers are known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ragkit.cli import app
from ragkit.config import Config, parse_config
from ragkit.errors import ConfigError, DataError
from ragkit.eval.contexts.context_probe import make_sweep
from ragkit.evaluations.contexts import context_sweep
from ragkit.evaluations.contexts.context_sweep import check_curve, position_curve, with_context_defaults
from ragkit.serve.prompting.order_choice import chosen_order
from ragkit.serve.prompting.position_curve import load_position_curve, save_position_curve
from tests.evaluations.contexts.context_house import PlaceEngine, accuracies, sweep, write_set


def test_a_table_of_orders_and_numbers(tmp_path: Path):
    engine = PlaceEngine(place=-1)
    report = sweep(tmp_path, engine, make_sweep("1,3,6", "rank,reverse", "set", "", 100, 0))
    assert accuracies(report) == {
        "set 1 rank": 1.0,
        "set 1 reverse": 1.0,
        "set 3 rank": 0.0,
        "set 3 reverse": 1.0,
        "set 6 rank": None,
        "set 6 reverse": None,
    }
    # Marks are no words of the answer: "a heron heron weighs 70 ounces" against "70", without the article.
    f1 = next(summary.f1 for summary in report.cells if summary.cell.name == "set 1 rank")
    assert f1 == pytest.approx(2 * 1 / (5 + 1))
    assert report.cells[-1].skipped == {"too few passages without an answer": 6}
    (pair,) = report.comparisons
    (alike,) = report.not_compared
    assert (alike.k, alike.a, alike.b) == (1, "rank", "reverse")
    assert (pair.a, pair.b, pair.difference, pair.num_questions) == ("rank", "reverse", 1.0, 6)
    # With one passage both orders make the same prompt, which is asked once.
    assert len(engine.asked) == 6 * (1 + 2)


def test_the_position_curve_is_what_chooses_the_order(tmp_path: Path):
    engine = PlaceEngine(place=-1)
    asked = make_sweep("2,5", "", "set", "1,3,5", 100, 0)
    check_curve(asked)
    curve = position_curve(sweep(tmp_path, engine, asked))
    assert [(point.position, point.accuracy) for point in curve.positions] == [(1, 0.0), (3, 0.0), (5, 1.0)]
    assert (curve.model, curve.num_passages, curve.num_questions) == ("folder/place-reader", 5, 6)
    # Wilson's interval of 6 of 6.
    assert curve.positions[2].low == pytest.approx(0.6097, abs=1e-4)
    save_position_curve(curve, tmp_path / "curve.json")
    assert load_position_curve(tmp_path / "curve.json") == curve
    settings = parse_config({"generation": {"position_curve": str(tmp_path / "curve.json")}}).generation
    assert chosen_order(settings, "place-reader", 5)[0] == "reverse"
    assert chosen_order(settings, "another-model", 5)[0] == "rank"


def test_a_curve_without_its_ends_is_refused_before_anything_is_asked():
    for positions in ("2,5", "1,4", ""):
        with pytest.raises(
            ConfigError, match=r"needs the positions 1 and the largest k, 5, .* Add --positions 1,5"
        ):
            check_curve(make_sweep("2,5", "rank", "set", positions, 1, 0))
    with pytest.raises(ConfigError, match="of at least 2"):
        check_curve(make_sweep("1", "rank", "set", "1", 1, 0))


def test_another_plan_is_refused_with_what_differs(tmp_path: Path):
    asked = make_sweep("2", "rank", "set", "", 3, 0)
    sweep(tmp_path, PlaceEngine(), asked)
    with pytest.raises(DataError, match=r"data\.ks: \[2\] there, \[3\] now"):
        sweep(tmp_path, PlaceEngine(), replace(asked, ks=(3,)))
    with pytest.raises(DataError, match=r"config\.generation\.max_tokens: 32 there, 64 now"):
        sweep(tmp_path, PlaceEngine(), asked, generation={"engine": "echo", "max_tokens": 64})
    (tmp_path / "birds.jsonl").write_text((tmp_path / "birds.jsonl").read_text().replace("Rain", "Snow"))
    with pytest.raises(DataError, match=r"data\.fingerprint: "):
        sweep(tmp_path, PlaceEngine(), asked)
    again = PlaceEngine()
    write_set(tmp_path)
    sweep(tmp_path, again, asked)
    assert again.asked == []


def test_the_settings_say_what_they_do_not_leave_open():
    assert with_context_defaults(Config()).generation.engine == "smollm2"
    assert with_context_defaults(Config()).generation.max_tokens == 32
    given = parse_config({"generation": {"engine": "echo", "max_tokens": 512}})
    assert with_context_defaults(given) == given
    assert with_context_defaults(parse_config({"generation": {"style": "evidence"}})).generation.max_tokens == 2048


def test_the_command_prints_a_table_and_writes_the_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_set(tmp_path)
    config = tmp_path / "settings.toml"
    config.write_text(
        '[embedder]\nname = "none"\n[lexical]\nlanguage = "none"\n[retrieval]\nmethod = "bm25"\n'
        '[generation]\nengine = "extractive"\n'
    )
    arguments = [
        "eval",
        "context",
        "--data",
        str(tmp_path),
        "--config",
        str(config),
        "--out",
        str(tmp_path / "run"),
    ]
    arguments += [
        "--k",
        "1,3",
        "--order",
        "rank,ends",
        "--positions",
        "all",
        "--curve-out",
        str(tmp_path / "curve"),
    ]
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    cells = json.loads(done.stdout)["cells"]
    assert [cell["cell"]["k"] for cell in cells] == [1, 1, 3, 3, 3, 3, 3]
    # Quoting the sentence with the question's word twice is right wherever it stands.
    assert [cell["accuracy"] for cell in cells] == [1.0] * 7
    assert [point.position for point in load_position_curve(tmp_path / "curve").positions] == [1, 2, 3]
    monkeypatch.setattr(context_sweep, "make_engine", lambda *_: pytest.fail("no model is needed any more"))
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 0, again.output
    assert "negatives: set" in again.stdout
    assert "position of the gold passage" in again.stdout
    assert "not compared, set, k = 1: the same prompts for every question: rank and ends" in again.stdout
    refused = CliRunner().invoke(app, [*arguments, "--seed", "1"])
    assert refused.exit_code == 1


def test_a_negative_seed_is_refused_before_anything_is_asked(tmp_path: Path):
    arguments = ["eval", "context", "--data", str(write_set(tmp_path)), "--out", str(tmp_path / "run")]
    refused = CliRunner().invoke(app, [*arguments, "--seed", "-1"])
    assert refused.exit_code == 2
    assert "--seed" in refused.output
    assert not (tmp_path / "run").exists()
