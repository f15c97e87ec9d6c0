"""`ragkit eval context` from a set to its table, with engines whose answers are known."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ragkit.cli import app
from ragkit.config import Config, parse_config
from ragkit.errors import ConfigError, DataError
from ragkit.eval.context_probe import ContextSweep, make_sweep
from ragkit.eval.context_report import ContextReport
from ragkit.evaluations.context_sweep import check_curve, position_curve, sweep_contexts, with_context_defaults
from ragkit.protocols import Engine
from ragkit.records import ChatMessage, ChatReply, ChatRequest, ImageLimits
from ragkit.serve.prompting.order_choice import chosen_order
from ragkit.serve.prompting.position_curve import load_position_curve, save_position_curve
from tests.fakes import HashEmbedder

CONFIG = {
    "embedder": {"name": "none"},
    "lexical": {"language": "none"},
    "retrieval": {"method": "bm25"},
    "generation": {"engine": "echo"},
}
BIRDS = ("heron", "crane", "stork", "egret", "ibis", "rail")


class PlaceEngine:
    """Reads only the source at one place of the prompt: its text is the answer. asked: prompts so far."""

    name = "folder/place-reader"
    image_limits: ImageLimits | None = None
    context_tokens = 400

    def __init__(self, place: int = 0, dies_after: int = 10**9) -> None:
        self.place, self.dies_after = place, dies_after
        self.asked: list[ChatRequest] = []

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        return sum(len(message.content.split()) for message in messages)

    def chat_batch(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        return [self._reply(request) for request in requests]

    def _reply(self, request: ChatRequest) -> ChatReply:
        if len(self.asked) == self.dies_after:
            os.kill(os.getpid(), signal.SIGKILL)
        self.asked.append(request)
        source = request.sources[self.place]
        return ChatReply(f"{source.hit.passage.text} [{source.marker}]")


def write_set(folder: Path, num_questions: int = 6) -> Path:
    """Each question asks for its own bird's number; the gold passage stands third of six in the set.

    By BM25 the gold passage (question word twice) is the best, then the first distractor (once), then the others.
    """
    rows = []
    for i, bird in enumerate(BIRDS[:num_questions]):
        texts = [
            f"The {bird} flies over reed {i}.",
            f"Nothing grows on stone {i}.",
            f"A {bird} {bird} weighs {70 + i} ounces.",
            f"Rain fell on roof {i}.",
            f"Dust lies on shelf {i}.",
            f"Old mills {i} weigh {70 + i} tons.",
        ]
        ctxs = [{"title": "", "text": text, "isgold": place == 2} for place, text in enumerate(texts)]
        rows.append({"id": bird, "question": f"Which {bird}?", "answers": [f"{70 + i}"], "ctxs": ctxs})
    path = folder / "birds.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def sweep(folder: Path, engine: Engine | PlaceEngine, asked: ContextSweep, **more: object) -> ContextReport:
    config = parse_config({**CONFIG, **more})  # type: ignore[arg-type]
    data = folder / "birds.jsonl"
    data = data if data.exists() else write_set(folder)
    return sweep_contexts(data, config, asked, folder / "run", engine=engine)  # type: ignore[arg-type]


def accuracies(report: ContextReport) -> dict[str, float | None]:
    return {summary.cell.name: summary.accuracy for summary in report.cells}


def shown(request: ChatRequest) -> list[str]:
    return [source.hit.passage.text for source in request.sources]


def test_each_order_puts_the_passages_where_it_says(tmp_path: Path):
    engine = PlaceEngine()
    report = sweep(tmp_path, engine, make_sweep("4", "rank,ends,reverse,document", "set", "", 1, 0))
    bird = engine.asked[0].question.split()[1][:-1]
    i = BIRDS.index(bird)
    gold, first = f"A {bird} {bird} weighs {70 + i} ounces.", f"The {bird} flies over reed {i}."
    stone, roof = f"Nothing grows on stone {i}.", f"Rain fell on roof {i}."
    # The last passage holds the answer and is never admitted; two that BM25 does not find keep the set's order.
    assert [shown(request) for request in engine.asked] == [
        [gold, first, stone, roof],
        [gold, stone, roof, first],
        [roof, stone, first, gold],
        [first, stone, gold, roof],
    ]
    assert [summary.accuracy for summary in report.cells] == [1.0, 1.0, 0.0, 0.0]
    assert "numbered sources" in engine.asked[0].messages[0].content
    assert engine.asked[0].messages[1].content.endswith(f"Question: Which {bird}?")


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
    (pair,) = [one for one in report.comparisons if one.k == 3]
    assert (pair.a, pair.b, pair.difference, pair.num_questions) == ("rank", "reverse", 1.0, 6)
    # With one passage both orders make the same prompt, which is asked once.
    assert len(engine.asked) == 6 * (1 + 2)


@pytest.mark.parametrize(("negatives", "k"), [("random", 5), ("bm25", 2), ("dense", 5)])
def test_distractors_of_the_whole_set_hold_no_answer(tmp_path: Path, negatives: str, k: int):
    engine = PlaceEngine()
    config = parse_config({"lexical": {"language": "none"}, "generation": {"engine": "echo"}})
    asked = make_sweep(f"{k},99", "rank", negatives, "", 100, 0)
    report = sweep_contexts(
        write_set(tmp_path),
        config,
        asked,
        tmp_path / "run",
        engine=engine,  # type: ignore[arg-type]
        embedder=HashEmbedder(),
    )
    assert report.cells[0].num_asked == 6
    assert report.cells[1].skipped == {"too few passages without an answer": 6}
    pool = [
        ctx["text"]
        for line in (tmp_path / "birds.jsonl").read_text().splitlines()
        for ctx in json.loads(line)["ctxs"]
    ]
    for request in engine.asked:
        number = BIRDS.index(request.question.split()[1][:-1])
        admitted = [text for text in pool if str(70 + number) not in text]
        distractors = {text for text in shown(request) if text in admitted}
        assert len(distractors) == k - 1
        if negatives == "random":
            assert not any(text.endswith(f" {number}.") for text in distractors)
        elif negatives == "bm25":
            assert distractors == {f"The {BIRDS[number]} flies over reed {number}."}
        else:
            cosines = HashEmbedder().embed_queries(admitted) @ HashEmbedder().embed_queries([request.question])[0]
            assert distractors == {admitted[i] for i in np.argsort(-cosines)[: k - 1]}


def test_counterfactual_passages_come_first_and_answers_from_them_are_counted(tmp_path: Path):
    row = {
        "id": 0,
        "query": "Where is the weir?",
        "answer": "Ulm",
        "fakeanswer": "Bonn",
        "positive": ["The weir is in Ulm."],
        "positive_wrong": ["The weir is in Bonn."],
        "negative": ["It rained.", "It snowed."],
    }
    path = tmp_path / "fact.jsonl"
    path.write_text(json.dumps(row))
    engine = PlaceEngine(place=-1)
    asked = make_sweep("2,3", "rank", "set,counterfactual", "", 9, 0)
    report = sweep_contexts(path, parse_config(CONFIG), asked, tmp_path / "run", engine=engine)  # type: ignore[arg-type]
    assert [sorted(shown(request)) for request in engine.asked] == [
        ["It rained.", "The weir is in Ulm."],
        ["It rained.", "It snowed.", "The weir is in Ulm."],
        ["The weir is in Bonn.", "The weir is in Ulm."],
        ["It rained.", "The weir is in Bonn.", "The weir is in Ulm."],
    ]
    wrong = [float("Bonn" in shown(request)[-1]) for request in engine.asked]
    assert [summary.misled for summary in report.cells] == wrong


def test_prompts_that_do_not_fit_are_counted_and_not_asked(tmp_path: Path):
    engine = PlaceEngine()
    engine.context_tokens = 165
    report = sweep(tmp_path, engine, make_sweep("1,5", "rank,reverse", "set", "", 9, 0))
    assert [summary.accuracy for summary in report.cells] == [1.0, 1.0, None, None]
    assert report.cells[-1].skipped == {"longer than the context": 6}
    assert {len(request.sources) for request in engine.asked} == {1}


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


KILLED = """
import sys
from pathlib import Path
from tests.evaluations.test_context_sweep import PlaceEngine, make_sweep, sweep
sweep(Path(sys.argv[1]), PlaceEngine(dies_after=5), make_sweep("2,4", "rank,reverse", "set", "", 100, 0))
"""


def test_a_killed_sweep_goes_on_without_asking_again(tmp_path: Path):
    write_set(tmp_path)
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    before = (tmp_path / "run/finished.jsonl").read_text().splitlines()
    assert len(before) == 5
    engine = PlaceEngine()
    asked = make_sweep("2,4", "rank,reverse", "set", "", 100, 0)
    report = sweep(tmp_path, engine, asked)
    assert len(engine.asked) == 24 - 5
    assert (tmp_path / "run/finished.jsonl").read_text().splitlines()[:5] == before
    (tmp_path / "whole").mkdir()
    whole = sweep(tmp_path / "whole", PlaceEngine(), asked)
    assert report.to_json() == whole.to_json()
    manifest = json.loads((tmp_path / "run/manifest.json").read_text())
    assert [session["queries_after"] for session in manifest["sessions"]][-1] == 24
    assert manifest["completed"]["cells"][0]["accuracy"] == 1.0


def test_the_settings_say_what_they_do_not_leave_open():
    assert with_context_defaults(Config()).generation.engine == "smollm2"
    assert with_context_defaults(Config()).generation.max_tokens == 32
    given = parse_config({"generation": {"engine": "echo", "max_tokens": 512}})
    assert with_context_defaults(given) == given
    assert with_context_defaults(parse_config({"generation": {"style": "evidence"}})).generation.max_tokens == 2048


def test_the_command_prints_a_table_and_writes_the_curve(tmp_path: Path):
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
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 0, again.output
    assert "negatives: set" in again.stdout
    assert "position of the gold passage" in again.stdout
    refused = CliRunner().invoke(app, [*arguments, "--seed", "1"])
    assert refused.exit_code == 1
