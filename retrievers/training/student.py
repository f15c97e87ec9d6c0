"""A sentence-transformers model while it is trained: texts and pictures in, vectors that carry gradients out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragkit.devices import Placement, computing_in, quiet_loading
from ragkit.errors import DataError, DocumentError
from ragkit.extras import require
from ragkit.indexers.models.model_files import model_folder
from ragkit.indexers.models.st_vision_embedder import load_st, st_picture_sizes, st_texts
from ragkit.indexers.models.text_embedder import batches_by_length, local_name
from ragkit.indexers.models.vision_embedder import placed
from ragkit.retrievers.training.examples import TrainingPassage

if TYPE_CHECKING:
    from torch import Tensor

# A picture counts as so many tokens where inputs are cut into pieces that fit the memory.
_PICTURE_TOKENS = 1024
# Characters of a token, to guess lengths by: pieces need not be exact.
_CHARACTERS = 4


class Student:
    """The model in float32, computing in bfloat16 where the device is fast at it.

    Dropout is off: a piece that is embedded twice gives the same vectors (`gradient_cache`).

    Args:
        name: hub name or folder of a text embedder, or of one that embeds pictures too.
        placement: its dtype is what is computed in; the weights stay in float32.
        max_question_tokens, max_passage_tokens: longer texts are cut; 0 leaves the model's own limit.
        pictures: the folder that pictures' paths start from.
    """

    def __init__(
        self,
        name: str,
        placement: Placement,
        *,
        max_question_tokens: int = 64,
        max_passage_tokens: int = 0,
        query_prompt: str | None = None,
        passage_prompt: str | None = None,
        pictures: Path = Path(),
        trust_remote_code: bool = False,
    ) -> None:
        """Raises ConfigError where there is no such model."""
        self.name = name
        self.placement = placement
        self._folder = model_folder(local_name(name))
        weights = Placement(placement.device, "float32")
        self.model = load_st("SentenceTransformer", name, self._folder, weights, trust_remote_code)
        if placement.device == "cpu":
            # On CPUs torch's fused attention takes more than twice as long in its backward pass.
            self.model.transformers_model.set_attn_implementation("eager")
        own = self.model.prompts
        self._query_prompt = own.get("query", "") if query_prompt is None else query_prompt
        passage_default = own.get("document") or own.get("passage", "")
        self._passage_prompt: str = passage_default if passage_prompt is None else passage_prompt
        self._limit = int(self.model.max_seq_length or 512)
        self._max_question_tokens = min(max_question_tokens or self._limit, self._limit)
        self._max_passage_tokens = min(max_passage_tokens or self._limit, self._limit)
        self._pictures = pictures
        self.num_tokens = 0

    @property
    def parameters(self) -> dict[str, Tensor]:
        """By name, each once."""
        return dict(self.model.named_parameters())

    def questions(self, texts: Sequence[str]) -> Tensor:
        """float32 (len(texts), dim), rows of unit length."""
        return self._vectors(self._texts(texts), self._query_prompt, "query", self._max_question_tokens)

    def passages(self, passages: Sequence[TrainingPassage]) -> Tensor:
        """float32 (len(passages), dim), rows of unit length; all of them texts, or all of them pictures.

        Raises:
            DataError: a picture cannot be read, or the model reads none.
        """
        if not any(passage.image for passage in passages):
            texts = self._texts([passage.titled_text for passage in passages])
            return self._vectors(texts, self._passage_prompt, "document", self._max_passage_tokens)
        return self._vectors([self._picture(passage) for passage in passages], self._passage_prompt, "document", 0)

    def questions_at_once(self, most_tokens: int) -> int:
        """How many questions are at most so many tokens, one at least."""
        return max(1, most_tokens // self._max_question_tokens)

    def pieces(self, passages: Sequence[TrainingPassage], most_tokens: int) -> Iterator[list[int]]:
        """Indices in pieces of one kind, of about one length, and of at most about so many tokens."""
        lengths = [self._guessed_tokens(passage) for passage in passages]
        pictures = [i for i, passage in enumerate(passages) if passage.image]
        texts = [i for i, passage in enumerate(passages) if not passage.image]
        for kind in (pictures, texts):
            for piece in batches_by_length([lengths[i] for i in kind], most_tokens):
                yield [kind[i] for i in piece]

    def save(self, folder: Path) -> None:
        """As a folder that sentence-transformers and ragkit load by its path, with the prompts of the training."""
        self.model.max_seq_length = self._limit
        self.model.prompts = {**self.model.prompts, "query": self._query_prompt, "document": self._passage_prompt}
        with quiet_loading():
            self.model.save_pretrained(str(folder), create_model_card=False)

    def _guessed_tokens(self, passage: TrainingPassage) -> int:
        if passage.image:
            return _PICTURE_TOKENS
        return min(self._max_passage_tokens, len(passage.titled_text) // _CHARACTERS + 2)

    def _texts(self, texts: Sequence[str]) -> list[Any]:
        return st_texts(texts, self.model) if self.model.supports("image") else list(texts)

    def _picture(self, passage: TrainingPassage) -> Any:
        if not passage.image:
            raise DataError(f"passage {passage.id!r} is a text among pictures; train on one of them at a time")
        if not self.model.supports("image"):
            raise DataError(f"passage {passage.id!r} is a picture and {self.name!r} reads texts alone")
        try:
            with require("PIL.Image").open(self._pictures / passage.image) as picture:
                return st_picture_sizes(self.model, self._folder, 0).shrunk(picture.convert("RGB"))
        except (OSError, DocumentError) as error:
            raise DataError(f"picture of passage {passage.id!r} cannot be read: {error}") from error

    def _vectors(self, inputs: list[Any], prompt: str, task: str, max_tokens: int) -> Tensor:
        torch = require("torch")
        self.model.max_seq_length = max_tokens or self._limit
        features = self.model.preprocess(inputs, prompt=prompt or None, task=task)
        if "attention_mask" in features:
            self.num_tokens += int(features["attention_mask"].sum())
        with computing_in(self.placement):
            vectors = self.model(placed(features, self._placed_as()), task=task)["sentence_embedding"]
        return torch.nn.functional.normalize(vectors.float(), dim=1)  # type: ignore[no-any-return]

    def _placed_as(self) -> Placement:
        return Placement(self.placement.device, "float32")
