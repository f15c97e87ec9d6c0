"""What an uploaded file is called: in replies, and as a document of a corpus."""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePosixPath

_LONGEST = 200
_UNNAMED = "upload"
# What scripts and emoji join and part letters by.
_JOINERS = "\u200c\u200d"
# Of the format characters these alone are seen: signs that stand around numbers and verses.
_SEEN = re.compile("[\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd]")


def safe_name(given: str) -> str:
    """The last part of a name that a client gave, without control characters, of at most 200 characters.

    Nor has it what turns the direction of writing, or is not seen at all: by those a name can look like that of
    another file. It is shown and stored and never becomes part of a path.
    """
    last = re.split(r"[/\\]", given.replace("\0", ""))[-1]
    name = " ".join("".join(map(_plain, last)).split())
    if name.strip(f". {_JOINERS}") == "":
        return _UNNAMED
    return _shortened(name)


def marked_name(name: str, file: str, number: int = 1) -> str:
    """The name of a document where another one has the file's: with the end of the file's id.

    number: from 2 on it is told too; ids are known, so that somebody may have given a file such a name.
    """
    path = PurePosixPath(name)
    mark = file[-8:] if number == 1 else f"{file[-8:]}-{number}"
    return f"{path.stem}~{mark}{path.suffix}"


def _plain(one: str) -> str:
    kind = unicodedata.category(one)
    if kind == "Cf" and one not in _JOINERS and not _SEEN.fullmatch(one):
        return ""
    # Controls, surrogates, and the separators of lines and paragraphs.
    return " " if kind in ("Cc", "Cs", "Zl", "Zp") else one


def _shortened(name: str) -> str:
    """The suffix, which may say what the file is, stays."""
    if len(name) <= _LONGEST:
        return name
    suffix = PurePosixPath(name).suffix[:16]
    return name[: _LONGEST - len(suffix)] + suffix
