"""Questions are written once each, however often a run is killed, and never to what tests ask for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from ragkit import assemble
from ragkit.config import Config, parse_config
from ragkit.errors import ConfigError, ContextLengthError, DataError, EngineUnavailableError
from ragkit.eval.runs.run_folder import read_finished
from ragkit.records import ChatReply, ChatRequest, Usage
from ragkit.retrievers.training.examples import (
    PASSAGES,
    QUESTIONS,
    TrainingPassage,
    TrainingQuestion,
    read_passages,
    read_questions,
)
from ragkit.retrievers.training.extracted_questions import ExtractedKind
from ragkit.retrievers.training.question_prompts import QuestionKind, question_request
from ragkit.serve.engines.echo_engine import EchoEngine
from ragkit.training.passage_sources import PassagePool, beir_pool
from ragkit.training.question_plan import QuestionPlan, default_kinds
from ragkit.training.write_questions import REPLIES, write_questions
from tests.training.test_passage_sources import NEAR, OTHER, RELEVANT, write_collection

KINDS = (QuestionKind.claims, QuestionKind.free)


class Writer(EchoEngine):
    """Asks about the last word that it is shown; dies at the request number `dies_at`."""

    def __init__(self, dies_at: int = -1, refuses: str = "\n\n") -> None:
        super().__init__()
        self.asked: list[ChatRequest] = []
        self._dies_at = dies_at
        self._refuses = refuses

    def chat_batch(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        return [self._write(request) for request in requests]

    def _write(self, request: ChatRequest) -> ChatReply:
        if len(self.asked) == self._dies_at:
            raise EngineUnavailableError("the power is gone")
        shown = request.messages[-1].content
        if self._refuses in shown:
            raise ContextLengthError("too long for me")
        self.asked.append(request)
        return ChatReply(f'"What of {shown.rpartition(chr(10))[0].split()[-1]}"', usage=Usage(10, 4))


def pool_of(number: int) -> PassagePool:
    passages = tuple(TrainingPassage(f"p{n}", f"Some words about w{n}") for n in range(number))
    return PassagePool(passages, number, 0, 0, 0)


def test_each_passage_gets_a_question_of_each_kind(tmp_path: Path) -> None:
    report = write_questions(pool_of(3), QuestionPlan(KINDS), Config(), tmp_path / "out", engine=Writer())
    assert list(read_passages(tmp_path / "out" / PASSAGES).values()) == list(pool_of(3).passages)
    questions = read_questions(tmp_path / "out" / QUESTIONS)
    assert list(questions) == ["claims/p0", "free/p0", "claims/p1", "free/p1", "claims/p2", "free/p2"]
    assert questions["free/p1"] == TrainingQuestion("free/p1", "What of w1", "free", ("p1",))
    assert report.outcomes["claims"]["kept"] == 3
    assert (report.num_questions, report.prompt_tokens, report.completion_tokens) == (6, 60, 24)
    assert report.tokens_per_s == pytest.approx(24 / report.seconds)


def test_passages_relevant_to_test_questions_are_neither_shown_nor_kept(tmp_path: Path) -> None:
    folder = write_collection(
        tmp_path / "set",
        {
            "d1": ("Bridges", RELEVANT),
            "d2": ("Copy", NEAR),
            "d3": ("Longer", RELEVANT + " More."),
            "d4": ("", OTHER),
        },
        {"test": "q1\td1\t1\n", "train": "q2\td4\t1\n"},
    )
    writer = Writer()
    report = write_questions(beir_pool(folder), QuestionPlan(), Config(), tmp_path / "out", engine=writer)
    assert len(writer.asked) == 6
    shown = "".join(message.content for request in writer.asked for message in request.messages).lower()
    assert OTHER.lower() in shown
    assert "iron bridges" not in shown
    assert list(read_passages(tmp_path / "out" / PASSAGES)) == ["d4"]
    assert {one.sources for one in read_questions(tmp_path / "out" / QUESTIONS).values()} == {("d4",)}
    assert report.to_json()["passages"] == {
        "found": 4,
        "held_out": 3,
        "short": 0,
        "repeated": 0,
        "passages": 1,
        "splits": ["test"],
    }


def test_a_killed_run_goes_on_and_asks_nothing_twice(tmp_path: Path) -> None:
    """Batches are of four: of the ten replies before the end the last two are lost."""
    plan, out = QuestionPlan(KINDS), tmp_path / "out"
    first, second = Writer(dies_at=10), Writer()
    with pytest.raises(EngineUnavailableError):
        write_questions(pool_of(8), plan, Config(), out, engine=first)
    assert not (out / QUESTIONS).exists()
    kept = read_finished(out / REPLIES)
    assert len(kept) == 8
    done: list[tuple[int, int]] = []
    report = write_questions(
        pool_of(8), plan, Config(), out, engine=second, writing=lambda *counts: done.append(counts)
    )
    assert [*first.asked[:8], *second.asked] == [
        question_request(kind, passage, 0) for passage in pool_of(8).passages for kind in KINDS
    ]
    assert done == [(12, 16), (16, 16)]
    assert (report.num_questions, report.completion_tokens) == (16, 64)
    unbroken = write_questions(pool_of(8), plan, Config(), tmp_path / "other", engine=Writer())
    assert unbroken.outcomes == report.outcomes
    assert (tmp_path / "other" / QUESTIONS).read_bytes() == (out / QUESTIONS).read_bytes()


def test_a_finished_run_asks_nothing_and_leaves_its_files_alone(tmp_path: Path) -> None:
    plan, out = QuestionPlan(KINDS), tmp_path / "out"
    before = write_questions(pool_of(2), plan, Config(), out, engine=Writer())
    (out / QUESTIONS).write_text("")
    again = Writer()
    assert write_questions(pool_of(2), plan, Config(), out, engine=again) == before
    assert again.asked == []
    assert (out / QUESTIONS).read_text() == ""


def test_another_plan_in_the_same_folder_is_refused_by_what_differs(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_questions(pool_of(2), QuestionPlan(KINDS), Config(), out, engine=Writer())
    with pytest.raises(DataError, match=r"data\.seed: 0 there, 1 now") as caught:
        write_questions(pool_of(2), QuestionPlan(KINDS, seed=1), Config(), out, engine=Writer())
    assert "kinds" not in str(caught.value)
    with pytest.raises(DataError, match=r"data\.passages: "):
        write_questions(pool_of(3), QuestionPlan(KINDS), Config(), out, engine=Writer())
    warmer = parse_config({"generation": {"temperature": 0.5}})
    with pytest.raises(DataError, match=r"data\.temperature: 0\.8 there, 0\.5 now"):
        write_questions(pool_of(2), QuestionPlan(KINDS), warmer, out, engine=Writer())


def test_a_folder_of_other_questions_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / QUESTIONS).write_text("mine")
    with pytest.raises(DataError, match=r"holds a questions\.jsonl that is not of this command"):
        write_questions(pool_of(1), QuestionPlan(KINDS), Config(), tmp_path, engine=Writer())
    assert [path.name for path in tmp_path.iterdir()] == [QUESTIONS]


def test_fewer_questions_than_passages_are_spread_over_them(tmp_path: Path) -> None:
    write_questions(pool_of(6), QuestionPlan(KINDS, per_kind=3), Config(), tmp_path / "a", engine=Writer())
    sources = [one.sources for one in read_questions(tmp_path / "a" / QUESTIONS).values()]
    assert len(sources) == len(set(sources)) == 6
    write_questions(pool_of(2), QuestionPlan(KINDS, per_kind=9), Config(), tmp_path / "b", engine=Writer())
    assert len(read_questions(tmp_path / "b" / QUESTIONS)) == 4


def test_a_refused_request_fails_alone_and_is_not_asked_again(tmp_path: Path) -> None:
    out, plan = tmp_path / "out", QuestionPlan((QuestionKind.free,))
    report = write_questions(pool_of(5), plan, Config(), out, engine=Writer(refuses="w2"))
    assert report.outcomes["free"] == {**dict.fromkeys(report.outcomes["free"], 0), "kept": 4, "refused": 1}
    assert [one.sources for one in read_questions(out / QUESTIONS).values()] == [
        ("p0",),
        ("p1",),
        ("p3",),
        ("p4",),
    ]
    assert read_finished(out / REPLIES)["free/p2"]["refused"] == "too long for me"


def test_an_engine_that_refuses_everything_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(ContextLengthError):
        write_questions(pool_of(9), QuestionPlan(KINDS), Config(), tmp_path / "out", engine=Writer(refuses="w"))
    assert read_finished(tmp_path / "out" / REPLIES) == {}


@pytest.mark.parametrize("name", ["extractive", "echo"])
def test_an_engine_that_writes_nothing_of_its_own_is_refused(tmp_path: Path, name: str) -> None:
    config = parse_config({"generation": {"engine": name}})
    with pytest.raises(ConfigError, match=f"'{name}' writes no questions; set it to vllm, openai"):
        write_questions(pool_of(1), QuestionPlan(KINDS), config, tmp_path / "out")


def test_what_is_taken_from_passages_needs_no_engine(tmp_path: Path) -> None:
    passages = (TrainingPassage("a", "The bittern hides."), TrainingPassage("b", "The heron hides."))
    plan = QuestionPlan((ExtractedKind.terms, ExtractedKind.sentences))
    echo = parse_config({"generation": {"engine": "echo"}})
    report = write_questions(PassagePool(passages, 2, 0, 0, 0), plan, echo, tmp_path / "out")
    assert list(read_questions(tmp_path / "out" / QUESTIONS).values()) == [
        TrainingQuestion("terms/a", "bittern", "terms", ("a",)),
        TrainingQuestion("terms/b", "heron", "terms", ("b",)),
    ]
    assert report.outcomes["sentences"]["empty"] == 2
    assert report.tokens_per_s == 0.0


def test_a_model_is_asked_by_default_where_one_is_named() -> None:
    assert default_kinds(parse_config({"generation": {"engine": "smollm2"}})) == tuple(QuestionKind)
    assert default_kinds(Config()) == tuple(ExtractedKind)


def test_the_small_model_is_asked_more_coolly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer()
    monkeypatch.setattr(assemble, "make_engine", lambda config, embedder: writer)
    plan = QuestionPlan((QuestionKind.free,))
    write_questions(pool_of(1), plan, Config(), tmp_path / "none named")
    for number, generation in enumerate(
        (
            {"engine": "smollm2", "temperature": 1.0},
            {"engine": "transformers", "model": "m"},
            {"engine": "vllm", "model": "m", "temperature": 0.0},
        )
    ):
        write_questions(pool_of(1), plan, parse_config({"generation": generation}), tmp_path / str(number))
    assert [request.sampling.temperature for request in writer.asked] == [0.3, 1.0, 0.8, 0.0]
