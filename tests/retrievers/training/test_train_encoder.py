"""The training loop: it learns, stops in time, keeps the best, and goes on after a kill as if there were none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ragkit.devices import Placement
from ragkit.errors import DataError
from ragkit.indexers.models.text_embedder import TextEmbedder
from ragkit.records import Passage
from ragkit.retrievers.training import train_encoder as module
from ragkit.retrievers.training import training_loop
from ragkit.retrievers.training.checkpoint import BEST, FILE, load_checkpoint, load_weights
from ragkit.retrievers.training.encoder_batches import split_lists
from ragkit.retrievers.training.examples import TrainingList, TrainingSet
from ragkit.retrievers.training.losses import LossSettings
from ragkit.retrievers.training.student import Student
from ragkit.retrievers.training.train_encoder import EncoderTraining, train_encoder
from ragkit.retrievers.training.training_log import read_log
from tests.retrievers.training.tiny_text_model import make_tiny_model, toy_set

CPU = Placement("cpu", "float32")
DATA = toy_set()
FAST = EncoderTraining(learning_rate=5e-3, epochs=4, batch_size=8, patience=9, base_share=0.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny"))


def trained(model: Path, folder: Path, settings: EncoderTraining = FAST, data: TrainingSet = DATA) -> Student:
    student = Student(str(model), CPU)
    train_encoder(data, student, settings, folder)
    return student


def share_first(student: Student, lists: list[TrainingList]) -> float:
    """Of the questions, those whose positive is above the rest of the list."""
    hits = 0
    with torch.no_grad():
        for entry in lists:
            question = student.questions([DATA.questions[entry.question].text])
            scores = (question @ student.passages([DATA.passages[name] for name in entry.passages]).T)[0]
            hits += int(scores.argmax() == 0)
    return hits / len(lists)


@pytest.mark.parametrize("method", ["listwise", "infonce", "margin-mse"])
def test_it_learns(model: Path, tmp_path: Path, method: str) -> None:
    train, _ = split_lists(DATA.lists)
    before = share_first(Student(str(model), CPU), train)
    settings = replace(FAST, epochs=8, batch_size=12, patience=99, loss=LossSettings(method))  # type: ignore[arg-type]
    student = Student(str(model), CPU)
    outcome = train_encoder(DATA, student, settings, tmp_path)
    assert (outcome.num_train, outcome.num_held_out, outcome.steps, outcome.epochs) == (36, 4, 24, 8)
    assert outcome.best <= outcome.untrained
    records = [record for record in read_log(tmp_path / "log.jsonl") if record["kind"] == "step"]
    assert records[-1]["loss"] < records[0]["loss"]
    # The weights of the last step, not the best on other questions, fit what they were trained on best.
    load_checkpoint(tmp_path / FILE, student.parameters, torch.optim.AdamW(student.parameters.values()))
    assert share_first(student, train) > before + 0.3


def test_a_run_that_was_killed_ends_as_one_that_was_not(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(model, tmp_path / "whole")
    monkeypatch.setattr(training_loop, "_CHECKPOINT_EVERY_S", 0.0)
    real, done = module.batch_gradients, [0]

    def killed(*given: object) -> object:
        done[0] += 1
        if done[0] in (1, 4, 9, 16):
            raise KeyboardInterrupt
        return real(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "batch_gradients", killed)
    for _ in range(4):
        with pytest.raises(KeyboardInterrupt):
            trained(model, tmp_path / "parts")
    parts = trained(model, tmp_path / "parts")
    for name, value in whole.parameters.items():
        assert torch.equal(parts.parameters[name], value), name
    logs = [read_log(tmp_path / which / "log.jsonl") for which in ("whole", "parts")]
    for log in logs:
        for record in log:
            record.pop("seconds", None)
    assert logs[0] == logs[1]


def test_it_stops_when_nothing_improves_and_keeps_the_best(model: Path, tmp_path: Path) -> None:
    student = Student(str(model), CPU)
    outcome = train_encoder(DATA, student, replace(FAST, learning_rate=3.0, patience=2, epochs=9), tmp_path)
    assert outcome.epochs < 9
    evaluations = [record for record in read_log(tmp_path / "log.jsonl") if record["kind"] == "evaluation"]
    totals = [record["total"] for record in evaluations]
    assert outcome.best == min(totals)
    assert totals[outcome.best_epoch] == min(totals)
    assert totals[0] == outcome.untrained


def test_a_model_that_cannot_get_better_stays_as_it_was(model: Path, tmp_path: Path) -> None:
    untrained = Student(str(model), CPU)
    student = trained(model, tmp_path, replace(FAST, learning_rate=0.0, patience=2))
    for name, value in untrained.parameters.items():
        assert torch.equal(student.parameters[name], value), name


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_weights_of_before_have_their_share_in_the_result(model: Path, tmp_path: Path, share: float) -> None:
    before, whole = Student(str(model), CPU).parameters, trained(model, tmp_path / "whole").parameters
    student = Student(str(model), CPU)
    outcome = train_encoder(DATA, student, replace(FAST, base_share=share), tmp_path / "mixed")
    mixed = student.parameters
    moved = [name for name in before if not torch.equal(whole[name], before[name])]
    assert moved
    for name in before:
        expected = share * before[name] + (1 - share) * whole[name]
        torch.testing.assert_close(mixed[name], expected, atol=1e-6, rtol=0)
    # The loss that is told is of the weights that are kept: of the base's own where all of them are.
    assert (outcome.best == outcome.untrained) is (share == 1.0)


def test_a_run_that_goes_on_mixes_with_the_weights_before_its_first_step(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(FAST, base_share=0.5)
    whole = trained(model, tmp_path / "whole", settings).parameters
    monkeypatch.setattr(training_loop, "_CHECKPOINT_EVERY_S", 0.0)
    real, done = module.batch_gradients, [0]

    def killed(*given: object) -> object:
        done[0] += 1
        if done[0] == 7:
            raise KeyboardInterrupt
        return real(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "batch_gradients", killed)
    with pytest.raises(KeyboardInterrupt):
        trained(model, tmp_path / "parts", settings)
    for _ in range(2):
        again = trained(model, tmp_path / "parts", settings).parameters
        assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_a_saved_model_embeds_as_the_student_does(model: Path, tmp_path: Path) -> None:
    student = trained(model, tmp_path, replace(FAST, epochs=1))
    student.save(tmp_path / "model")
    embedder = TextEmbedder(str(tmp_path / "model"), CPU)
    passages = list(DATA.passages.values())[:5]
    found = embedder.embed_passages([Passage(-1, "d", 1, 0, 0, passage.text) for passage in passages])
    with torch.no_grad():
        expected = student.passages(passages)
    assert torch.allclose(torch.tensor(found), expected, atol=1e-5)
    untrained = TextEmbedder(str(model), CPU)
    assert embedder.fingerprint != untrained.fingerprint


def test_scores_must_be_normalised(model: Path, tmp_path: Path) -> None:
    bad = TrainingList("q0", ("p0", "p1"), (7.5, -1.0))
    data = TrainingSet(DATA.passages, DATA.questions, (bad, *DATA.lists[1:]))
    with pytest.raises(DataError, match=r"'q0' has scores from -1 to 7.5.*ragkit train negatives"):
        trained(model, tmp_path, data=data)


def test_a_checkpoint_of_another_model_is_refused(model: Path, tmp_path: Path) -> None:
    trained(model, tmp_path, replace(FAST, epochs=1))
    weights = torch.nn.Linear(2, 2)
    with pytest.raises(DataError, match="no weight for 'weight'.*another model"):
        load_weights(tmp_path / BEST, dict(weights.named_parameters()))
    (tmp_path / FILE).write_bytes(b"torn")
    with pytest.raises(DataError, match="cannot be read"):
        trained(model, tmp_path)
