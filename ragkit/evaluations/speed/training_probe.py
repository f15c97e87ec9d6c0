"""A process of its own that trains an embedder on one batch over and over: as ragkit does, or as a bare loop does.

It is asked for a step by a line, and answers with one; when nobody asks any more it tells its peak of memory.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ragkit.devices import Placement, quiet_loading
from ragkit.eval.speed.synthetic import synthetic_texts
from ragkit.extras import require
from ragkit.indexers.models.text_embedder import local_name
from ragkit.indexers.models.vision_embedder import placed
from ragkit.retrievers.training.encoder_batches import Batch, make_batch
from ragkit.retrievers.training.examples import TrainingList, TrainingPassage, TrainingQuestion, TrainingSet
from ragkit.retrievers.training.gradient_cache import batch_gradients
from ragkit.retrievers.training.losses import LossSettings
from ragkit.retrievers.training.student import Student

if TYPE_CHECKING:
    from torch import Tensor

_RATE = 2e-5
_CLIP = 1.0
_QUESTION_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """One batch, the same for both: questions, passages of each, and the tokens that passages are cut to."""

    model: str
    device: str
    dtype: str
    num_questions: int
    list_length: int
    max_passage_tokens: int
    piece_tokens: int

    @property
    def placement(self) -> Placement:
        return Placement(self.device, self.dtype)


def batch_of(plan: TrainingPlan) -> Batch:
    """Made-up texts; every passage stands in one list."""
    texts = synthetic_texts(plan.num_questions * plan.list_length)
    passages = {str(place): TrainingPassage(str(place), text) for place, text in enumerate(texts)}
    questions, lists = {}, []
    for place in range(plan.num_questions):
        names = tuple(str(place * plan.list_length + other) for other in range(plan.list_length))
        questions[str(place)] = TrainingQuestion(str(place), passages[names[0]].text[:_QUESTION_CHARACTERS])
        scores = tuple(1 - other / plan.list_length for other in range(plan.list_length))
        lists.append(TrainingList(str(place), names, scores))
    return make_batch(TrainingSet(passages, questions, tuple(lists)), lists)


def ragkit_step(plan: TrainingPlan) -> Callable[[], int]:
    """A step as `ragkit train encoder` takes it; gives the tokens of the batch."""
    torch = require("torch")
    student = Student(plan.model, plan.placement, max_passage_tokens=plan.max_passage_tokens)
    parameters = list(student.parameters.values())
    optimiser, batch = torch.optim.AdamW(parameters, lr=_RATE), batch_of(plan)

    def step() -> int:
        optimiser.zero_grad()
        before = student.num_tokens
        batch_gradients(student, batch, LossSettings(), plan.piece_tokens)
        torch.nn.utils.clip_grad_norm_(parameters, _CLIP)
        optimiser.step()
        # Each text is embedded twice, once to find the gradient of its vector.
        return (student.num_tokens - before) // 2

    return step


def bare_step(plan: TrainingPlan) -> Callable[[], int]:
    """The batch at once through the model as it is loaded, cross-entropy over all passages, one backward pass."""
    torch = require("torch")
    with quiet_loading():
        loaded = require("sentence_transformers").SentenceTransformer(local_name(plan.model), device=plan.device)
    model = loaded.eval()
    optimiser, batch = torch.optim.AdamW(model.parameters(), lr=_RATE), batch_of(plan)
    limit = int(model.max_seq_length)

    def vectors(texts: list[str], most: int) -> tuple[Tensor, int]:
        model.max_seq_length = min(most or limit, limit)
        features = placed(model.preprocess(texts), Placement(plan.device, "float32"))
        with _autocast(plan):
            found = model(features)["sentence_embedding"]
        return torch.nn.functional.normalize(found.float(), dim=1), int(features["attention_mask"].sum())

    def step() -> int:
        optimiser.zero_grad()
        asked, of_questions = vectors(list(batch.questions), 64)
        texts = [passage.titled_text for passage in batch.passages]
        found, of_passages = vectors(texts, plan.max_passage_tokens)
        positives = torch.from_numpy(batch.lists[:, 0]).to(plan.device)
        torch.nn.functional.cross_entropy(asked @ found.T / 0.01, positives).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), _CLIP)
        optimiser.step()
        return of_questions + of_passages

    return step


def _autocast(plan: TrainingPlan) -> AbstractContextManager[None]:
    torch = require("torch")
    enabled = plan.dtype != "float32"
    kind = plan.device.partition(":")[0]
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=enabled)  # type: ignore[no-any-return]


def main() -> None:
    side, facts = sys.argv[1:]
    plan = TrainingPlan(**json.loads(facts))
    step = ragkit_step(plan) if side == "ours" else bare_step(plan)
    _tell({"ready": True})
    for _ in sys.stdin:
        _tell({"tokens": step()})
    _tell({"peak_bytes": _peak_bytes(plan)})


def _peak_bytes(plan: TrainingPlan) -> int:
    """Of the process; of the device's memory where that is a GPU."""
    if plan.device.startswith("cuda"):
        return int(require("torch").cuda.max_memory_allocated(plan.device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _tell(facts: dict[str, Any]) -> None:
    print(json.dumps(facts), flush=True)  # noqa: T201


def command_of(side: str, plan: TrainingPlan) -> list[str]:
    return [sys.executable, "-m", "ragkit.evaluations.speed.training_probe", side, json.dumps(asdict(plan))]


if __name__ == "__main__":
    main()
