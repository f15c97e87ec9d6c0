"""Training of a reranker: it learns, goes on after a kill as if there were none, and saves what it learnt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ragkit.devices import Placement
from ragkit.errors import ConfigError, DataError
from ragkit.records import Query
from ragkit.retrievers.cross_encoder import CrossEncoderReranker
from ragkit.retrievers.training import train_reranker as module
from ragkit.retrievers.training import training_loop
from ragkit.retrievers.training.cross_encoder_student import CrossEncoderStudent
from ragkit.retrievers.training.examples import TrainingList, TrainingPassage, TrainingSet
from ragkit.retrievers.training.reranker_loss import RerankerLossSettings, reranker_loss
from ragkit.retrievers.training.train_reranker import RerankerTraining, drawn_list, train_reranker
from ragkit.retrievers.training.training_log import read_log
from ragkit.retrievers.training.training_loop import Schedule, TrainingLoop
from tests.reranker_fakes import make_cross_encoder, make_hits
from tests.retrievers.training.toy_rankings import toy_rankings

CPU = Placement("cpu", "float32")
DATA = toy_rankings()
FAST = RerankerTraining(learning_rate=3e-3, epochs=3, batch_size=6, list_length=3)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_cross_encoder(tmp_path_factory.mktemp("models") / "tiny")


def test_it_learns_what_answers_questions_that_it_has_not_seen(model: str, tmp_path: Path) -> None:
    student = CrossEncoderStudent(model, CPU, max_tokens=32)
    outcome = train_reranker(DATA, student, FAST, tmp_path / "run")
    assert (outcome.num_train, outcome.num_held_out, outcome.steps, outcome.epochs) == (27, 3, 15, 3)
    assert outcome.best < outcome.untrained - 0.5
    evaluations = [one for one in read_log(tmp_path / "run" / "log.jsonl") if one["kind"] == "evaluation"]
    assert [one["epoch"] for one in evaluations] == [0, 1, 2, 3]
    assert min(one["total"] for one in evaluations) == outcome.best
    student.save(tmp_path / "model")
    texts = ["the dog ran mat", "cat sat on river", "a bird flew mat"]
    reranker = CrossEncoderReranker(str(tmp_path / "model"), CPU)
    ranked = reranker.rerank(Query("cat"), make_hits(texts))
    assert ranked[0].passage.text == "cat sat on river"
    # The folder gives the logits themselves, as trained.
    with torch.no_grad():
        logits = student.logits("cat", [TrainingPassage(text, text) for text in texts]).tolist()
    assert {hit.passage.text: hit.score for hit in ranked} == pytest.approx(dict(zip(texts, logits, strict=True)))


def test_gradients_of_the_divergence_are_those_of_list_net(model: str) -> None:
    """ListNet's cross-entropy differs from the divergence by the teacher's entropy, a constant."""
    from sentence_transformers.cross_encoder.losses import ListNetLoss

    entry = DATA.lists[0]
    passages = [DATA.passages[name] for name in entry.passages]
    question = DATA.questions[entry.question].text
    student = CrossEncoderStudent(model, CPU)
    settings = RerankerLossSettings(teacher_temperature=0.3, positive_weight=0.0)
    ours = reranker_loss(student.logits(question, passages), torch.tensor(entry.scores), settings).total
    reference = ListNetLoss(student._model)(
        ([question], [[passage.text for passage in passages]]), [torch.tensor(entry.scores) / 0.3]
    )
    parameters = list(student.parameters.values())
    pairs = zip(
        torch.autograd.grad(ours, parameters, allow_unused=True),
        torch.autograd.grad(reference, parameters, allow_unused=True),
        strict=True,
    )
    compared = 0
    for one, other in pairs:
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            assert torch.allclose(one, other, atol=1e-5)
            compared += int(one.abs().max() > 1e-3)
    assert compared > 10


def test_a_run_that_was_killed_ends_as_one_that_was_not(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = CrossEncoderStudent(model, CPU)
    expected = train_reranker(DATA, whole, FAST, tmp_path / "whole")
    monkeypatch.setattr(training_loop, "_CHECKPOINT_EVERY_S", 0.0)
    real, calls = module._CrossEncoder._loss, [0]

    def killed(*given: object) -> object:
        calls[0] += 1
        if calls[0] in (20, 41, 90):
            raise KeyboardInterrupt
        return real(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(module._CrossEncoder, "_loss", killed)
    sessions = 0
    while True:
        sessions += 1
        student = CrossEncoderStudent(model, CPU)
        try:
            outcome = train_reranker(DATA, student, FAST, tmp_path / "killed")
            break
        except KeyboardInterrupt:
            continue
    assert sessions == 4
    assert (outcome.steps, outcome.best, outcome.best_epoch) == (
        expected.steps,
        expected.best,
        expected.best_epoch,
    )
    for name, value in whole.parameters.items():
        assert torch.equal(value, student.parameters[name])
    logs = [
        [{**one, "seconds": 0} for one in read_log(tmp_path / folder / "log.jsonl")]
        for folder in ("whole", "killed")
    ]
    assert logs[0] == logs[1]


def test_gradients_accumulate_over_the_lists_of_a_step(model: str, tmp_path: Path) -> None:
    """The first step's gradient is that of the mean loss, and its length is in the log."""
    settings = replace(FAST, epochs=1, batch_size=27, clip=1e9)
    student = CrossEncoderStudent(model, CPU)
    run = module._CrossEncoder(DATA, list(DATA.lists[:27]), list(DATA.lists[27:]), student, settings)
    (batch,) = run.batches(0)
    mean = sum((run._loss(entry).total for entry in batch), torch.zeros(())) / len(batch)
    gradients = torch.autograd.grad(mean, list(student.parameters.values()), allow_unused=True)
    expected = torch.sqrt(sum((one.square().sum() for one in gradients if one is not None), torch.zeros(())))
    schedule = Schedule(settings.learning_rate, 0.0, settings.clip, 1, 1, warmup_steps=1)
    TrainingLoop(run, schedule, tmp_path).finish()
    [step] = [one for one in read_log(tmp_path / "log.jsonl") if one["kind"] == "step"]
    assert step["gradient_norm"] == pytest.approx(expected.item(), rel=1e-4)
    assert step["loss"] == pytest.approx(mean.item(), rel=1e-5)


def test_lists_are_drawn_anew_in_every_epoch_with_the_positive_first() -> None:
    entry = TrainingList("q", tuple("abcdefgh"), tuple(1 - i / 10 for i in range(8)))
    drawn = [drawn_list(entry, 4, 0, epoch) for epoch in range(30)]
    assert all(one.passages[0] == "a" and len(one.passages) == 4 for one in drawn)
    assert all(list(one.passages) == sorted(one.passages) for one in drawn)
    assert all(one.scores == tuple(1 - "abcdefgh".index(name) / 10 for name in one.passages) for one in drawn)
    assert set("abcdefgh") == {name for one in drawn for name in one.passages}
    assert drawn_list(entry, 4, 0, 3) == drawn[3]
    assert drawn_list(entry, 8, 0, 3) is entry


def test_training_stops_when_nothing_improves(model: str, tmp_path: Path) -> None:
    student = CrossEncoderStudent(model, CPU)
    before = {name: value.detach().clone() for name, value in student.parameters.items()}
    # So high a rate only makes it worse.
    outcome = train_reranker(DATA, student, replace(FAST, learning_rate=50.0, epochs=9), tmp_path)
    assert (outcome.epochs, outcome.best_epoch) == (2, 0)
    assert outcome.best == outcome.untrained
    assert all(torch.equal(value, before[name]) for name, value in student.parameters.items())


def test_what_cannot_be_trained_on_is_refused(model: str, tmp_path: Path) -> None:
    student = CrossEncoderStudent(model, CPU)
    raw = TrainingSet(DATA.passages, DATA.questions, (replace(DATA.lists[0], scores=(9.0, 1.0, 0.0, 0.0)),))
    with pytest.raises(DataError, match=r"scores from 0 to 9; they must be normalised"):
        train_reranker(raw, student, FAST, tmp_path)
    with pytest.raises(DataError, match="'scan' is a picture and .* reads texts alone"):
        student.logits("cat", [TrainingPassage("scan", "", image="scan.png")])
    with pytest.raises(ConfigError, match="no-such-model"):
        CrossEncoderStudent("nowhere/no-such-model", CPU)


def test_the_new_head_of_an_encoder_is_made_by_the_seed(tmp_path: Path) -> None:
    from tests.retrievers.training.tiny_text_model import make_tiny_model

    folder = str(make_tiny_model(tmp_path / "encoder"))
    passages = [TrainingPassage("p", "word1 word2")]
    logits = [CrossEncoderStudent(folder, CPU, seed=seed).logits("word3", passages).item() for seed in (0, 0, 1)]
    assert logits[0] == logits[1]
    assert logits[0] != logits[2]
