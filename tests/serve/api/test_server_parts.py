from __future__ import annotations

import pytest

from ragkit.records import Sampling
from ragkit.serve.api.http_errors import HttpProblem
from ragkit.serve.api.server_parts import ServerParts
from ragkit.serve.engines.echo_engine import EchoEngine
from ragkit.serve_config import ServeConfig
from tests.serve.house import FakeAnswerer, FakeLibrary


def refusal(number: int) -> str:
    library = FakeLibrary(*(FakeAnswerer(f"c{i}", EchoEngine()) for i in range(number)))
    with pytest.raises(HttpProblem) as caught:
        ServerParts(library, Sampling(), ServeConfig()).corpus("nope")
    return caught.value.message


def test_a_model_that_is_not_there_is_answered_with_the_first_that_are() -> None:
    assert refusal(0) == "the model 'nope' does not exist; models here: none"
    assert refusal(2) == "the model 'nope' does not exist; models here: c0, c1"
    assert refusal(20).endswith("c18, c19")
    assert refusal(5000).endswith("c18, c19 and 4980 more")
