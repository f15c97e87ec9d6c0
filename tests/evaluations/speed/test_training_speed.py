"""Steps of training as ragkit takes them and as a bare loop does: the same batch, and both train."""

from __future__ import annotations

import pytest

from ragkit.evaluations.speed.training_probe import TrainingPlan, bare_step, batch_of, ragkit_step
from tests.retrievers.training.tiny_text_model import make_tiny_model


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> TrainingPlan:
    model = make_tiny_model(tmp_path_factory.mktemp("tiny"))
    return TrainingPlan(str(model), "cpu", "float32", 3, 4, 16, 20)


def test_every_passage_stands_in_one_list(plan: TrainingPlan) -> None:
    batch = batch_of(plan)
    assert batch.lists.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert batch.teacher[0].tolist() == [1.0, 0.75, 0.5, 0.25]
    assert len({passage.text for passage in batch.passages}) == 12


def test_both_read_the_same_tokens(plan: TrainingPlan) -> None:
    ours, bare = ragkit_step(plan)(), bare_step(plan)()
    assert ours == bare
    # Twelve passages are longer than what they are cut to.
    assert ours > 12 * 16


def test_a_step_of_both_is_timed_in_processes_of_their_own(plan: TrainingPlan) -> None:
    from ragkit.config import parse_config
    from ragkit.evaluations.speed.training_speed import measure_training_speed

    config = parse_config({"embedder": {"name": plan.model, "device": "cpu", "dtype": "float32"}})
    report = measure_training_speed(config, repeats=1)
    (comparison,) = report.comparisons
    assert len(comparison.ours_s) == len(comparison.bare_s) == 1
    counts = str(report.facts["tokens"]).split(", ")
    assert counts[0].removesuffix(" ours") == counts[1].removesuffix(" bare")
    assert float(report.facts["ragkit peak MB"]) > 100
    assert report.to_json()["comparisons"]
