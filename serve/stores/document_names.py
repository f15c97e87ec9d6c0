"""What an uploaded file is called: in replies, and as a document of a corpus."""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePosixPath

_LONGEST = 200
_UNNAMED = "upload"


def safe_name(given: str) -> str:
    """The last part of a name that a client gave, without control characters, of at most 200 characters.

    It is shown and stored and never becomes part of a path.
    """
    last = re.split(r"[/\\]", given.replace("\0", ""))[-1]
    # Categories: control, format, surrogate, private use, unassigned; and the separators of lines and paragraphs.
    plain = "".join(" " if unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp") else one for one in last)
    name = " ".join(plain.split())
    if name.strip(". ") == "":
        return _UNNAMED
    return _shortened(name)


def marked_name(name: str, file: str) -> str:
    """The name of a document where another one has the file's: with the end of the file's id."""
    path = PurePosixPath(name)
    return f"{path.stem}~{file[-8:]}{path.suffix}"


def _shortened(name: str) -> str:
    """The suffix, which may say what the file is, stays."""
    if len(name) <= _LONGEST:
        return name
    suffix = PurePosixPath(name).suffix[:16]
    return name[: _LONGEST - len(suffix)] + suffix
