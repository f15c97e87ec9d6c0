"""TREC's topics: queries in ``<top>`` blocks with ``<num>`` and ``<title>``, or as lines of ``id<TAB>text``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from ragkit.errors import DataError
from ragkit.eval.trec import numbered_lines

_TAG = re.compile(r"<(/?)([A-Za-z]+)[^<>]*>")
_NUMBER = re.compile(r"(?:Number|Topic)\s*:", re.IGNORECASE)
_TOPIC = re.compile(r"Topic\s*:", re.IGNORECASE)


def read_topics(path: Path) -> dict[str, str]:
    """Texts of queries by id, in the order of the file; of a ``<top>`` block the title is the text.

    Raises:
        DataError: the file has neither form, a topic lacks its number or title, or an id appears twice.
    """
    lines = list(numbered_lines(path))
    if not lines:
        raise DataError(f"{path} holds no topic")
    topics: dict[str, str] = {}
    found = _blocks(path, lines) if lines[0][1].lstrip().startswith("<") else _columns(path, lines)
    for place, identifier, text in found:
        if identifier in topics:
            raise DataError(f"{place}: the topic {identifier!r} has appeared before")
        topics[identifier] = text
    return topics


def _columns(path: Path, lines: list[tuple[int, str]]) -> Iterator[tuple[str, str, str]]:
    for number, line in lines:
        fields = [field.strip() for field in line.split("\t")]
        if len(fields) != 2 or not all(fields):
            raise DataError(
                f"{path}:{number}: {line[:60]!r}, expected an id, a tab and the query's text (or <top> blocks)"
            )
        yield f"{path}:{number}", fields[0], fields[1]


def _blocks(path: Path, lines: list[tuple[int, str]]) -> Iterator[tuple[str, str, str]]:
    """Place, id and title of each block."""
    begin, block = 0, ""
    for number, line in lines:
        place = f"{path}:{number}"
        tags = [(slash, name.lower()) for slash, name in _TAG.findall(line)]
        if ("", "top") in tags:
            if begin:
                raise DataError(f"{place}: <top> inside the topic that begins in line {begin}; </top> is missing")
            begin, block = number, ""
        elif not begin:
            raise DataError(f"{place}: {line[:60]!r} stands outside of <top> ... </top>")
        block += line + "\n"
        if ("/", "top") in tags:
            yield f"{path}:{begin}", *_number_and_title(block, f"{path}:{begin}")
            begin = 0
    if begin:
        raise DataError(f"{path}:{begin}: the topic that begins here has no </top>")


def _number_and_title(block: str, place: str) -> tuple[str, str]:
    """The two fields that count; a field reaches to the next tag, as SGML lets closing tags be left out."""
    fields: dict[str, str] = {}
    tags = list(_TAG.finditer(block))
    for tag, following in pairwise(tags):
        if not tag[1]:
            fields.setdefault(tag[2].lower(), " ".join(block[tag.end() : following.start()].split()))
    number = _NUMBER.sub("", fields.get("num", ""), count=1).strip()
    title = _TOPIC.sub("", fields.get("title", ""), count=1).strip()
    for name, text in (("num", number), ("title", title)):
        if not text:
            raise DataError(f"{place}: the topic has no <{name}>, or an empty one")
    return number, title
