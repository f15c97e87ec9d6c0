"""What `ragkit eval speed --pages` makes of its timings."""

from __future__ import annotations

import pytest

from ragkit.eval.speed.page_speed import PageSpeedReport

REPORT = PageSpeedReport(
    num_pages=40, render_s=2.0, embed_s=8.0, preprocess_s=3.0, model_s=5.0, pipeline_s=10.0, facts={"cores": 2}
)


def test_the_pipeline_is_held_against_the_slower_stage():
    assert REPORT.efficiency == pytest.approx(0.8)
    assert REPORT.shares == pytest.approx({"render": 0.2, "preprocess": 0.3, "model": 0.5})


def test_json_says_everything():
    told = REPORT.to_json()
    assert (told["pages"], told["pages_per_s"], told["efficiency"]) == (40, 4.0, pytest.approx(0.8))
    assert told["facts"] == {"cores": 2}
