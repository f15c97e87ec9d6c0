"""`ragkit train encoder` on a folder: what it leaves there, and what it refuses."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from ragkit.cli import app
from ragkit.config import parse_config
from ragkit.devices import Placement
from ragkit.errors import DataError
from ragkit.indexers.models.text_embedder import TextEmbedder
from ragkit.retrievers.training.examples import LISTS, PASSAGES, QUESTIONS, write_rows
from ragkit.retrievers.training.train_encoder import EncoderTraining
from ragkit.training.encoder_run import EncoderRun, run_encoder_training
from tests.retrievers.training.tiny_text_model import make_tiny_model, toy_set

CPU = parse_config({"embedder": {"device": "cpu", "dtype": "float32"}})
FAST = EncoderTraining(learning_rate=5e-3, epochs=2, batch_size=12)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_tiny_model(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, toy = tmp_path_factory.mktemp("data"), toy_set()
    write_rows(folder / PASSAGES, toy.passages.values())
    asked = [replace(one, sources=(f"p{one.id[1:]}",)) for one in toy.questions.values()]
    write_rows(folder / QUESTIONS, asked)
    write_rows(folder / LISTS, toy.lists)
    return folder


def test_a_run_leaves_model_record_and_curves_and_is_shown_again(model: str, data: Path, tmp_path: Path) -> None:
    run, out, lines = EncoderRun(data, model, FAST), tmp_path / "out", []
    report = run_encoder_training(run, out, CPU, lines.append)
    assert report.model == out / "model"
    assert report.change.num_passages == 40
    assert report.change.num_questions == report.outcome.num_held_out == 4
    assert sorted(path.name for path in out.iterdir()) == [
        *("curves.svg", "finished.jsonl", "log.jsonl", "manifest.json", "model")
    ]
    record = json.loads((out / "model" / "train.json").read_text("utf-8"))
    assert record["base"]["name"] == model
    assert record["held_out"]["trained"] == report.change.trained
    assert record["training"]["loss"]["method"] == "listwise"
    svg = ElementTree.fromstring((out / "curves.svg").read_text("utf-8"))
    assert svg.tag.endswith("svg")
    assert any("held-out loss" in line for line in lines)
    # Nothing is trained again.
    before = (out / "model" / "model.safetensors").stat().st_mtime_ns
    assert run_encoder_training(run, out, CPU).to_json() == report.to_json()
    assert (out / "model" / "model.safetensors").stat().st_mtime_ns == before


def test_another_plan_in_the_folder_is_refused(model: str, data: Path, tmp_path: Path) -> None:
    run = EncoderRun(data, model, replace(FAST, epochs=1))
    run_encoder_training(run, tmp_path / "out", CPU)
    other = EncoderRun(data, model, replace(FAST, epochs=1, seed=3))
    with pytest.raises(DataError, match=r"training.seed: 0 there, 3 now"):
        run_encoder_training(other, tmp_path / "out", CPU)
    prompted = CPU.model_copy(update={"embedder": CPU.embedder.model_copy(update={"query_prompt": "find: "})})
    with pytest.raises(DataError, match=r"prompts"):
        run_encoder_training(run, tmp_path / "out", prompted)


def test_a_run_goes_on_with_less_memory_and_leaves_no_checkpoint(model: str, data: Path, tmp_path: Path) -> None:
    run, out = EncoderRun(data, model, replace(FAST, epochs=1)), tmp_path / "out"
    report = run_encoder_training(run, out, CPU)
    # As a kill right after the end leaves it.
    (out / "checkpoint.safetensors").write_bytes(b"")
    less = replace(run, training=replace(run.training, piece_tokens=64))
    assert run_encoder_training(less, out, CPU).to_json() == report.to_json()
    assert not (out / "checkpoint.safetensors").exists()


def test_a_record_changes_no_fingerprint(model: str, tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "copy")
    before = TextEmbedder(str(folder), Placement("cpu", "float32")).fingerprint
    (folder / "train.json").write_text('{"base": "x"}')
    assert TextEmbedder(str(folder), Placement("cpu", "float32")).fingerprint == before


def test_the_command_reports_and_names_what_is_wrong(model: str, data: Path, tmp_path: Path) -> None:
    config = tmp_path / "cpu.toml"
    config.write_text('[embedder]\ndevice = "cpu"\ndtype = "float32"\n')
    words = [str(data), "--out", str(tmp_path / "out"), "--base", model, "--epochs", "1", "--batch-size", "20"]
    words += ["--method", "infonce", "--config", str(config)]
    told = json.loads(run(*words, "--json").stdout)
    assert told["training"]["steps"] == 2
    assert told["held_out"]["num_questions"] == 4
    assert "held-out nDCG@10" in run(*words).stdout
    words[2] = str(tmp_path / "base")
    kept = json.loads(run(*words, "--base-share", "1", "--json").stdout)
    assert kept["held_out"]["trained"] == kept["held_out"]["base"] == told["held_out"]["base"]
    for wrong in (
        (),
        (str(data),),
        (*words, "--method", "best"),
        (str(data), "--corpus", "x"),
        (*words, "--dry-run"),
        (*words, "--kinds", "terms"),
    ):
        assert run(*wrong, status=2).stdout == ""
    assert run("--corpus", "x", "--base", model, status=2).stdout == ""
    with pytest.raises(DataError, match=r"passages.jsonl"):
        run(str(tmp_path), "--out", str(tmp_path / "no"), "--base", model, status=1, raises=True)


def run(*words: str, status: int = 0, raises: bool = False) -> Result:
    result = CliRunner().invoke(app, ["train", "encoder", *words])
    if raises:
        assert result.exception is not None
        raise result.exception
    assert result.exit_code == status, result.output
    return result


def test_the_model_brings_the_prompts_of_its_training(model: str, data: Path, tmp_path: Path) -> None:
    prompts = {"query_prompt": "ask: ", "passage_prompt": "tell: "}
    config = parse_config({"embedder": {"device": "cpu", "dtype": "float32", **prompts}})
    report = run_encoder_training(EncoderRun(data, model, replace(FAST, epochs=1)), tmp_path / "out", config)
    trained = TextEmbedder(str(report.model), Placement("cpu", "float32"))
    assert (trained.query_prompt, trained.passage_prompt) == ("ask: ", "tell: ")
