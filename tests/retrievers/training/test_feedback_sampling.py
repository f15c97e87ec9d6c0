"""Sizes and passages of training feedback."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

from ragkit.retrievers.training.feedback_sampling import draw_feedback, draw_sizes

GOLDEN = Path(__file__).parents[2] / "golden" / "lol" / "sequences.json"


def test_draws_equal_the_published_codes() -> None:
    golden = json.loads(GOLDEN.read_text("utf-8"))
    for draw in golden["training_draws"]:
        rng = random.Random(draw["python_seed"])
        sizes = draw_sizes(rng, 2)
        assert sizes == draw["psg_nums"]
        assert draw_feedback(rng, golden["runs"]["q0"], sizes) == draw["psgs_id"]


def test_every_pair_of_sizes_is_drawn_equally_often() -> None:
    rng = random.Random(0)
    counts = Counter(tuple(draw_sizes(rng, 2)) for _ in range(6000))
    assert len(counts) == 15
    assert all(first > second for first, second in counts)
    assert min(counts.values()) > 320  # 400 expected, standard deviation 19


def test_fewer_passages_than_the_size_are_all_taken() -> None:
    assert sorted(draw_feedback(random.Random(1), ["a", "b"], [5, 3])) == ["a", "b"]
    assert draw_feedback(random.Random(1), list("abcdefg"), [0]) == []
    assert set(draw_feedback(random.Random(1), list("abcdefg"), [5])) == set("abcde")
