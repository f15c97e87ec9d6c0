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


def marked_name(name: str, file: str, number: int = 1) -> str:
    """The name of a document where another one has the file's: with the end of the file's id.

    number: from 2 on it is told too; ids are known, so that somebody may have given a file such a name.
    """
    path = PurePosixPath(name)
    mark = file[-8:] if number == 1 else f"{file[-8:]}-{number}"
    return f"{path.stem}~{mark}{path.suffix}"


def _shortened(name: str) -> str:
    """The suffix, which may say what the file is, stays."""
    if len(name) <= _LONGEST:
        return name
    suffix = PurePosixPath(name).suffix[:16]
    return name[: _LONGEST - len(suffix)] + suffix
