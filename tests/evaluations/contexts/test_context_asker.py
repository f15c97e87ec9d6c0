"""What is asked, what is not asked again, and what does not fit."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from ragkit.eval.contexts.context_probe import make_sweep
from ragkit.records import ChatReply, ChatRequest
from tests.evaluations.contexts.context_house import PlaceEngine, accuracies, sweep, write_set
from tests.warm_python import WarmPython


def test_prompts_that_do_not_fit_are_counted_and_not_asked(tmp_path: Path):
    engine = PlaceEngine()
    engine.context_tokens = 165
    report = sweep(tmp_path, engine, make_sweep("1,5", "rank,reverse", "set", "", 9, 0))
    assert [summary.accuracy for summary in report.cells] == [1.0, 1.0, None, None]
    assert report.cells[-1].skipped == {"longer than the context": 6}
    assert {len(request.sources) for request in engine.asked} == {1}


KILLED = """
import sys
from pathlib import Path
from ragkit.eval.contexts.context_probe import make_sweep
from tests.evaluations.contexts.context_house import PlaceEngine, sweep
from tests.warm_python import WarmPython
sweep(Path(sys.argv[1]), PlaceEngine(dies_after=5), make_sweep("2,4", "rank,reverse", "set", "", 100, 0))
"""


def test_a_killed_sweep_goes_on_without_asking_again(tmp_path: Path, warm_python: WarmPython):
    write_set(tmp_path)
    done = warm_python.run(["-c", KILLED, str(tmp_path)])
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


def test_what_is_drawn_at_a_temperature_is_asked_for_each_cell(tmp_path: Path):
    asked = make_sweep("1", "rank,reverse", "set", "", 3, 0)
    (tmp_path / "drawn").mkdir()
    plain, drawn = PlaceEngine(), PlaceEngine()
    sweep(tmp_path, plain, asked)
    sweep(tmp_path / "drawn", drawn, asked, generation={"engine": "echo", "temperature": 0.7})
    assert (len(plain.asked), len(drawn.asked)) == (3, 6)
    assert drawn.asked[0].sampling.temperature == 0.7


def test_an_engine_that_answers_several_at_once_gets_several(tmp_path: Path):
    engine = PlaceEngine()
    asked = make_sweep("1,2", "rank", "set", "", 6, 0)
    sweep(tmp_path, engine, asked, generation={"engine": "openai", "url": "http://127.0.0.1:9/v1", "model": "m"})
    assert engine.batches == [12]


def test_in_the_evidence_style_the_answer_part_alone_is_scored(tmp_path: Path):
    class Thinker(PlaceEngine):
        def _reply(self, request: ChatRequest) -> ChatReply:
            self.asked.append(request)
            return ChatReply(
                "<observe>70 71 72 73 74 75</observe><evidence></evidence><think></think><answer>none</answer>"
            )

    engine = Thinker()
    engine.context_tokens = 9000
    report = sweep(
        tmp_path,
        engine,
        make_sweep("1", "rank", "set", "", 6, 0),
        generation={"engine": "echo", "style": "evidence"},
    )
    assert accuracies(report) == {"set 1 rank": 0.0}
    assert "<observe>" in engine.asked[0].messages[0].content
