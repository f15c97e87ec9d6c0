"""VisRAG's generation helpers against the numbers of the authors' own functions."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ragkit.serve.prompting.page_concatenation import (
    concatenate_horizontally,
    concatenate_vertically,
    horizontal_sizes,
    vertical_sizes,
)
from ragkit.serve.prompting.weighted_selection import retrieval_shares, select_answer
from tests.deviations import Deviations

GOLDEN = Path(__file__).parents[2] / "golden" / "visrag_gen"
CONCATENATION = json.loads((GOLDEN / "concatenation.json").read_text())
SELECTION = json.loads((GOLDEN / "weighted_selection.json").read_text())
JOIN = {"horizontal": concatenate_horizontally, "vertical": concatenate_vertically}
TOLERANCE = 1e-6


@pytest.mark.parametrize("case", CONCATENATION["with_pixels"], ids=lambda case: f"{case['triple']}-{case['kind']}")
def test_concatenated_pixels(case: dict[str, Any], deviations: Deviations) -> None:
    pages = []
    for number in range(3):
        with Image.open(GOLDEN / f"{case['triple']}_page{number}.png") as page:
            pages.append(page.convert("RGB"))
    joined = JOIN[case["kind"]](pages)
    assert [list(page.size) for page in pages] == case["page_sizes"]
    assert (list(joined.size), joined.mode) == (case["result_size"], case["mode"])
    found = hashlib.sha256(joined.tobytes()).hexdigest()
    deviations.assert_equal("visrag concatenation: pixels", found, case["sha256_rgb"])
    assert np.asarray(joined).sum((0, 1)).tolist() == case["sum_rgb"]
    with Image.open(GOLDEN / f"{case['triple']}_{case['kind']}.png") as picture:
        assert joined.tobytes() == picture.convert("RGB").tobytes()


@pytest.mark.parametrize("case", CONCATENATION["sizes_only"], ids=lambda case: str(case["page_sizes"]))
def test_concatenated_sizes(case: dict[str, Any], deviations: Deviations) -> None:
    sizes = [(width, height) for width, height in case["page_sizes"]]
    across, down = horizontal_sizes(sizes), vertical_sizes(sizes)
    wide = [sum(width for width, _ in across), across[0][1]]
    tall = [down[0][0], sum(height for _, height in down)]
    deviations.assert_equal("visrag concatenation: sizes", (wide, tall), (case["horizontal"], case["vertical"]))


@pytest.mark.parametrize("case", SELECTION, ids=lambda case: case["name"])
def test_weighted_selection(case: dict[str, Any], deviations: Deviations) -> None:
    selection = select_answer(case["retrieval_score"], case["mean_logprob"])
    shares = retrieval_shares(case["retrieval_score"])
    deviations.assert_equal("visrag weighted selection: choice", selection.index, case["chosen_index"])
    deviations.assert_near("visrag weighted selection: shares", shares, case["softmax_weight"], TOLERANCE)
    deviations.assert_near(
        "visrag weighted selection: weights", selection.weights, case["weighted_score"], TOLERANCE
    )
