"""A batch in pieces has the loss and the gradients of the batch at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from ragkit.devices import Placement
from ragkit.retrievers.training.encoder_batches import make_batch
from ragkit.retrievers.training.gradient_cache import batch_gradients, loss_of
from ragkit.retrievers.training.losses import LossSettings, Method, batch_loss
from ragkit.retrievers.training.student import Student
from tests.retrievers.training.tiny_text_model import make_tiny_model, toy_set

DATA = toy_set(12)


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Student:
    folder: Path = make_tiny_model(tmp_path_factory.mktemp("tiny"))
    return Student(str(folder), Placement("cpu", "float32"))


def gradients(student: Student) -> dict[str, torch.Tensor]:
    return {name: value.grad.clone() for name, value in student.parameters.items() if value.grad is not None}


@pytest.mark.parametrize("method", ["listwise", "infonce", "margin-mse"])
@pytest.mark.parametrize("piece_tokens", [1, 9, 10_000])
def test_pieces_add_up_to_the_whole(student: Student, method: Method, piece_tokens: int) -> None:
    batch, settings = make_batch(DATA, DATA.lists), LossSettings(method)
    student.model.zero_grad()
    scores = student.questions(batch.questions) @ student.passages(batch.passages).T
    direct = batch_loss(scores, torch.tensor(batch.lists), torch.tensor(batch.teacher), settings)
    direct.total.backward()  # type: ignore[no-untyped-call]
    expected = gradients(student)
    student.model.zero_grad()
    parts = batch_gradients(student, batch, settings, piece_tokens)
    found = gradients(student)
    assert parts.total.item() == pytest.approx(direct.total.item(), rel=1e-5)
    assert not parts.total.requires_grad
    largest = max(float(value.abs().max()) for value in expected.values())
    assert largest > 1e-4
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert torch.allclose(found[name], value, atol=1e-5 * max(1.0, largest)), name
    assert loss_of(student, batch, settings, piece_tokens).total.item() == pytest.approx(
        parts.total.item(), rel=1e-6
    )


def test_no_more_questions_are_embedded_at_once_than_fit(
    student: Student, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = student.questions
    sizes: list[int] = []

    def counted(texts: Sequence[str]) -> torch.Tensor:
        sizes.append(len(texts))
        return real(texts)

    monkeypatch.setattr(student, "questions", counted)
    # The tiny model reads 32 tokens: five questions are 160.
    loss_of(student, make_batch(DATA, DATA.lists), LossSettings(), 160)
    assert sizes == [5, 5, 2]


def test_pieces_are_small_and_hold_everything_once(student: Student) -> None:
    passages = list(DATA.passages.values())
    pieces = list(student.pieces(passages, 12))
    assert sorted(i for piece in pieces for i in piece) == list(range(len(passages)))
    # A token is guessed to be four characters, and two more stand around a text.
    for piece in pieces:
        assert len(piece) * max(len(passages[i].text) // 4 + 2 for i in piece) <= 12
    assert len(pieces) <= 6
