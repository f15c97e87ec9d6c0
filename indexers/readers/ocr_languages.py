"""Which letters a language is written with, for the recognition of lines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# First and last code point of the blocks that each script adds to what all of them share:
# basic Latin, and the signs of U+2000 to U+2BFF (dashes, quotes, currencies, arrows, bullets).
_SHARED = (("\u0020", "\u024f"), ("\u1e00", "\u1eff"), ("\u2000", "\u2bff"))
_BLOCKS: dict[str, tuple[tuple[str, str], ...]] = {
    "latin": (),
    "greek": (("\u0370", "\u03ff"),),
    "chinese": (
        ("\u3000", "\u303f"),
        ("\u3400", "\u9fff"),
        ("\uf900", "\ufaff"),
        ("\uff00", "\uffef"),
        ("\U00020000", "\U0003ffff"),
    ),
    "japanese": (("\u3000", "\u30ff"), ("\u3400", "\u9fff"), ("\uf900", "\ufaff"), ("\uff00", "\uffef")),
}
_SCRIPT_OF = {"el": "greek", "zh": "chinese", "ja": "japanese"}


def classes_of(languages: Sequence[str], characters: Sequence[str]) -> NDArray[np.int64]:
    """Indices of the characters that these languages are written with; Latin letters are always among them.

    languages: ISO 639-1 codes. characters: of the model, the empty one for "no letter here".
    """
    blocks = list(_SHARED)
    for language in languages:
        blocks += _BLOCKS[_SCRIPT_OF.get(language, "latin")]
    kept = [
        index
        for index, character in enumerate(characters)
        if not character or any(first <= character[0] <= last for first, last in blocks)
    ]
    return np.array(kept, np.int64)
