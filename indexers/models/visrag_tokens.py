"""VisRAG-Ret's prompt as token ids, from the checkpoint's tokenizer.model and tokenizer_config.json.

sentencepiece is driven directly: transformers 5 rebuilds the tokenizer on another engine, which agrees
for some settings of a checkpoint and not for others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ragkit.errors import ConfigError
from ragkit.extras import require
from ragkit.indexers.models.visrag_slicing import Pair

IMAGE, END_OF_IMAGE = "<image>", "</image>"
_SLICES, _END_OF_SLICES = "<slice>", "</slice>"
_SPACE = "▁"  # sentencepiece's sign for a space
# Protocol buffers merge when joined: ModelProto.normalizer_spec (3) with add_dummy_prefix (3) false.
_NO_LEADING_SPACE = bytes([3 << 3 | 2, 2, 3 << 3, 0])


def page_prompt(grid: Pair | None, num_tokens: int) -> str:
    """The text of a page: `num_tokens` places to fill for the thumbnail and for each cell, rows on lines."""
    image = IMAGE + "<unk>" * num_tokens + END_OF_IMAGE
    if grid is None:
        return image + "\n"
    columns, rows = grid
    return image + _SLICES + "\n".join([image * columns] * rows) + _END_OF_SLICES + "\n"


@dataclass(frozen=True, slots=True)
class _Special:
    """strip_left, strip_right: whether spaces on that side belong to the token."""

    id: int
    strip_left: bool
    strip_right: bool


class VisragTokenizer:
    """Llama's tokenizer as transformers 4 ran it, in its legacy and its later manner ("legacy": false).

    Special tokens cut the text; each piece between them goes to sentencepiece. In the legacy manner each
    piece may get a leading space of its own, later only the first.

    Raises:
        ConfigError: a file is missing or unreadable, or the vocabulary has no image markers.
    """

    def __init__(self, folder: Path) -> None:
        settings = _read_json(folder / "tokenizer_config.json")
        self._legacy = settings.get("legacy") is not False
        self._pieces = _read_pieces(folder / "tokenizer.model", b"" if self._legacy else _NO_LEADING_SPACE)
        self._prefixed = settings.get("add_prefix_space") is not False
        self._bos = settings.get("add_bos_token") is not False
        self._eos = settings.get("add_eos_token") is True
        self._specials = _specials(settings, folder, self._pieces)
        alternatives = sorted(self._specials, key=len, reverse=True)
        self._splitter = re.compile("(" + "|".join(map(re.escape, alternatives)) + ")")
        self._unk = str(self._pieces.id_to_piece(self._pieces.unk_id()))
        self._unk_pieces = len(self._pieces.encode(self._unk))
        self.start_id, self.end_id = (self._marker(name, folder) for name in (IMAGE, END_OF_IMAGE))

    @property
    def unk_id(self) -> int:
        return int(self._pieces.unk_id())

    def encode(self, text: str) -> list[int]:
        """Token ids, with the begin-of-text token that the model was trained with."""
        ids = [int(self._pieces.bos_id())] if self._bos else []
        for part in self._parts(text):
            special = self._specials.get(part)
            ids += self._run(part) if special is None else [special.id]
        return [*ids, int(self._pieces.eos_id())] if self._eos else ids

    def image_slots(self, ids: Sequence[int], num_tokens: int) -> list[int]:
        """Positions that visual features take: the unknown tokens between each pair of image markers.

        Raises:
            ConfigError: the markers do not pair, or hold another number of places than num_tokens.
        """
        slots: list[int] = []
        for start, end in self.image_bounds(ids):
            inside = [i for i in range(start, end) if ids[i] == self.unk_id]
            if len(inside) != num_tokens:
                raise ConfigError(
                    f"the tokenizer leaves {len(inside)} places for an image of {num_tokens} tokens; "
                    "tokenizer.model and tokenizer_config.json are not those of a VisRAG-Ret checkpoint"
                )
            slots += inside
        return slots

    def image_bounds(self, ids: Sequence[int]) -> list[Pair]:
        """For each image the position after its start marker and that of its end marker."""
        starts = [i + 1 for i, token in enumerate(ids) if token == self.start_id]
        ends = [i for i, token in enumerate(ids) if token == self.end_id]
        if len(starts) != len(ends):
            raise ConfigError(f"{len(starts)} tokens {IMAGE} and {len(ends)} tokens {END_OF_IMAGE} do not pair")
        return list(zip(starts, ends, strict=True))

    def _parts(self, text: str) -> list[str]:
        if self._legacy or not text:
            return self._cut(text)
        lead = _SPACE if self._prefixed else ""
        parts = self._cut(lead + text.replace(_SPACE, " "))
        # The leading space is for text, not for a special token.
        return parts[1:] if len(parts) > 1 and parts[0] == _SPACE and parts[1] in self._specials else parts

    def _cut(self, text: str) -> list[str]:
        parts = self._splitter.split(text)
        for i in range(1, len(parts), 2):
            special = self._specials[parts[i]]
            parts[i - 1] = parts[i - 1].rstrip() if special.strip_left else parts[i - 1]
            parts[i + 1] = parts[i + 1].lstrip() if special.strip_right else parts[i + 1]
        return [part for part in parts if part]

    def _run(self, text: str) -> list[int]:
        if self._legacy or not text.startswith((_SPACE, " ")):
            return list(self._pieces.encode(text))
        # sentencepiece drops a leading space unless something stands before it.
        return list(self._pieces.encode(self._unk + text))[self._unk_pieces :]

    def _marker(self, name: str, folder: Path) -> int:
        found = self._specials[name].id if name in self._specials else int(self._pieces.piece_to_id(name))
        if found == self.unk_id:
            raise ConfigError(f"the vocabulary in {folder} has no token {name}; VisRAG-Ret's has")
        return found


def _read_pieces(path: Path, amendment: bytes) -> Any:
    sentencepiece = require("sentencepiece")
    if not path.is_file() or path.stat().st_size == 0:
        raise ConfigError(f"{path} is missing or empty; VisRAG-Ret needs the tokenizer.model of its checkpoint")
    try:
        return sentencepiece.SentencePieceProcessor(model_proto=path.read_bytes() + amendment)
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(f"{path} is no sentencepiece model: {error}") from error


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigError(f"{path} is missing; VisRAG-Ret needs the one of its checkpoint")
    try:
        settings: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path} is not valid JSON: {error}") from error
    return settings


def _specials(settings: dict[str, Any], folder: Path, pieces: Any) -> dict[str, _Special]:
    """Added tokens by their text: from the settings, and in older checkpoints from two files beside them."""
    found = {
        entry["content"]: _Special(int(id), bool(entry.get("lstrip")), bool(entry.get("rstrip")))
        for id, entry in settings.get("added_tokens_decoder", {}).items()
    }
    if found:
        return found
    added = folder / "added_tokens.json"
    ids: dict[str, int] = dict(_read_json(added)) if added.is_file() else {}
    names = [settings.get(f"{kind}_token") for kind in ("unk", "bos", "eos")]
    for name in [*names, *settings.get("additional_special_tokens", [])]:
        content = name["content"] if isinstance(name, dict) else name
        if content:
            ids.setdefault(content, int(pieces.piece_to_id(content)))
    ids = ids or {"<unk>": int(pieces.unk_id())}
    return {content: _Special(id, False, False) for content, id in ids.items()}
