"""A sentence-transformers cross-encoder while it is trained: pairs in, logits that carry gradients out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragkit.devices import Placement, computing_in, quiet_loading
from ragkit.errors import ConfigError, DataError
from ragkit.extras import require
from ragkit.indexers.models.model_files import model_folder
from ragkit.indexers.models.text_embedder import local_name
from ragkit.retrievers.training.examples import TrainingPassage

if TYPE_CHECKING:
    from torch import Tensor


class CrossEncoderStudent:
    """The model in float32, computing in bfloat16 where the device is fast at it; dropout is off.

    Args:
        name: hub name or folder of a cross-encoder with one score, or of an encoder such as a text embedder, which
            gets a new head.
        placement: its dtype is what is computed in; the weights stay in float32.
        max_tokens: of question and passage together; what is longer is cut. It is kept with the model.
        seed: of the new head.
        pictures: the folder that pictures' paths start from.
    """

    def __init__(
        self,
        name: str,
        placement: Placement,
        *,
        max_tokens: int = 256,
        seed: int = 0,
        pictures: Path = Path(),
        trust_remote_code: bool = False,
    ) -> None:
        """Raises ConfigError where there is no such model, or it gives more than one score a pair."""
        self.name = name
        self.placement = placement
        self.num_tokens = 0
        self._pictures = pictures
        self._model = _load(name, placement.device, seed, trust_remote_code)
        # Scores are logits: squeezed into 0..1 they could not be weighed against a retriever's.
        self._model.activation_fn = require("torch").nn.Identity()
        limit = int(self._model.max_seq_length or max_tokens)
        self._model.max_seq_length = min(max_tokens, limit)
        if placement.device == "cpu":
            # On CPUs torch's fused attention takes more than twice as long in its backward pass.
            self._model.transformers_model.set_attn_implementation("eager")

    @property
    def parameters(self) -> dict[str, Tensor]:
        """By name, each once."""
        return dict(self._model.named_parameters())

    def logits(self, question: str, passages: Sequence[TrainingPassage]) -> Tensor:
        """float32 (len(passages),), before any activation.

        Raises:
            DataError: a passage is a picture and the model reads none, or it cannot be read.
        """
        torch = require("torch")
        pairs = [(question, self._input(passage)) for passage in passages]
        features = self._model.preprocess(pairs)
        if "attention_mask" in features:
            self.num_tokens += int(features["attention_mask"].sum())
        device = self.placement.device
        features = {k: v.to(device) if torch.is_tensor(v) else v for k, v in features.items()}
        with computing_in(self.placement):
            scores = self._model(features)["scores"]
        return scores.float().view(-1)  # type: ignore[no-any-return]

    def save(self, folder: Path) -> None:
        """As a folder that sentence-transformers and `[rerank] model` load by its path."""
        with quiet_loading():
            self._model.save_pretrained(str(folder), create_model_card=False)

    def _input(self, passage: TrainingPassage) -> Any:
        if not passage.image:
            return passage.titled_text
        if not self._model.supports("image"):
            raise DataError(f"passage {passage.id!r} is a picture and {self.name!r} reads texts alone")
        try:
            with require("PIL.Image").open(self._pictures / passage.image) as picture:
                return picture.convert("RGB")
        except OSError as error:
            raise DataError(f"picture of passage {passage.id!r} cannot be read: {error}") from error


def _load(name: str, device: str, seed: int, trust_remote_code: bool) -> Any:
    torch = require("torch")
    folder = model_folder(local_name(name))
    try:
        with quiet_loading(), torch.random.fork_rng():
            torch.manual_seed(seed)
            model = require("sentence_transformers").CrossEncoder(
                str(folder),
                num_labels=1,
                device=device,
                trust_remote_code=trust_remote_code,
                model_kwargs={"dtype": torch.float32, "use_safetensors": True},
            )
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        raise ConfigError(f"{name!r} cannot be loaded as a cross-encoder with one score: {error}") from error
    return model.eval()
