"""TREC's topics: queries in ``<top>`` blocks, XML with ``<topic number="...">``, or lines of ``id<TAB>text``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

from ragkit.errors import DataError
from ragkit.eval.sets.trec import numbered_lines

_TAG = re.compile(r"<(/?)([A-Za-z]+)[^<>]*>")
_NUMBER = re.compile(r"(?:Number|Topic)\s*:", re.IGNORECASE)
_TOPIC = re.compile(r"Topic\s*:", re.IGNORECASE)


def read_topics(path: Path) -> dict[str, str]:
    """Texts of queries by id, in the order of the file.

    The text is the title of a ``<top>`` block; in XML the query, else the title, else all that the topic says.

    Raises:
        DataError: the file has neither form, a topic lacks its number or title, or an id appears twice.
    """
    lines = list(numbered_lines(path))
    if not lines:
        raise DataError(f"{path} holds no topic")
    topics: dict[str, str] = {}
    first = lines[0][1].lstrip().lower()
    if first.startswith("<") and not first.startswith("<top>"):
        found = _elements(path, lines)
    else:
        found = _blocks(path, lines) if first.startswith("<") else _columns(path, lines)
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


def _elements(path: Path, lines: list[tuple[int, str]]) -> Iterator[tuple[str, str, str]]:
    """Of XML as the Web, COVID and clinical trials tracks wrote it."""
    try:
        root = ElementTree.fromstring("".join(f"{line}\n" for _, line in lines))
    except ElementTree.ParseError as error:
        number = lines[min(error.position[0], len(lines)) - 1][0]
        raise DataError(f"{path}:{number}: neither XML nor <top> blocks ({error.msg})") from error
    topics = list(root.iter("topic"))
    if not topics:
        raise DataError(f"{path}: XML without a <topic>")
    for place, topic in enumerate(topics, 1):
        named = topic.find("query") if topic.find("query") is not None else topic.find("title")
        text = " ".join("".join((topic if named is None else named).itertext()).split())
        identifier = (topic.get("number") or topic.findtext("number") or "").strip()
        if not identifier or not text:
            raise DataError(f"{path}: topic {place} of the file has no {'text' if identifier else 'number'}")
        yield f"{path}, topic {place}", identifier, text


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
