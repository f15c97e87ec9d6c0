"""Where the sentences of a text stand: wrapped prose, lists and table rows, Latin and CJK scripts."""

from __future__ import annotations

import re
from collections.abc import Iterator

Span = tuple[int, int]


def _words(*lines: str) -> frozenset[str]:
    return frozenset(" ".join(lines).split())


# Never the end of a sentence: a name or a number follows.
_TITLES = _words(
    "mr mrs ms dr prof st sr jr no nos fig figs eq eqs sec secs ch vol vols ed eds cf vs approx dept gen rev",
    "hon e.g i.e resp ca viz pp p art para nr abb tab bd hrsg vgl hr fr frl z.b d.h u.a bzw s o.ä u.ä zb sog",
    "evtl ggf inkl bspw z.t i.d.r zzgl abs str tel",
)
# The end of a sentence only where a common first word follows.
_MAYBE = _words("etc inc ltd co corp al usw u.s u.k u.s.a e.u a.m p.m mio mrd bros")
_UNITS = _words("m g l h t")
_FIRST_WORDS = _words(
    "The This These Those That It Its In On At For From By As An And But However He She They We You I There",
    "When While After Before During Although If Since Our Their His Her Some Many Most Other Both Each All",
    "Der Die Das Ein Eine Es Er Sie Wir Im Am Auf Bei Mit Nach Vor Wenn Da Dies Diese Dieser Dieses Und Aber",
)
# Words after a German ordinal: "3. März", "19. Jahrhundert".
_ORDINAL_NOUNS = re.compile(
    r"(?:Jan|Feb|Mär|Apr|Mai|Jun|Jul|Aug|Sep|Okt|Nov|Dez|Jahrh|Jh|Quartal|Auflage|Platz|Tag|Woche|Monat|Mal|Klasse)"
)
# A line that ends in one of these goes on in the next one, whatever that begins with.
_OPEN_WORDS = _words(
    "a an the of and or to in on at by for with from as is are was were be that which its their his her our",
    "der die das den dem des ein eine einer eines und oder von vom zu zur zum im am mit für auf bei ist sind",
)

_LINE = re.compile(r"[^\n\r\f\v\x85\u2028\u2029]+")
_ITEM = re.compile(r"(?:[-*•‣◦▪▫·–—●○■□➢✓▶#>|]|\(?\d{1,2}(?:\.\d{1,2})*[.)]|\(?[a-zA-Z]\))(?=\s|$)|[|•●■]")
# Two numbers at the end of a line, with or without units, or dots that lead to a page number.
_ROW_END = re.compile(
    r"(?:\s(?:[$€£¥(]\s?)*[-−–—]?\(?[$€£¥]?(?:\d[\d.,/:]*[%)]*|(?<=[-–—]))(?:\s[^\s\d.,;:]{1,6})?){2,}$|\.{4,}\s*\d+$"
)
# A terminator, what closes behind it, and what belongs to the sentence: marks such as [1] or [2, 3], and the
# number of a footnote right behind a word's full stop.
_END = re.compile(
    r"(?:(?P<wide>[。！？｡．]+)|[.!?…؟।]+(?:(?<=[^\W\d_].)\d{1,2}(?=\s))?)[\"'”’»)\]」』）》*†‡]*"
    r"(?:\ ?\[\d{1,3}(?:\s?[,–-]\s?\d{1,3})*\])*(?(wide)|(?=\s))"
)
_LABEL = re.compile(
    r"(?:table|figure|fig|chart|exhibit|tabelle|abbildung|diagramm|grafik)\.?\s\d+\Z", re.IGNORECASE
)
_WORD_BEFORE = re.compile(r"[^\s(\[\"'“„«]*\Z")
_NEXT = re.compile(r"[\s\"'“”„«»‘’(\[]*([^\W_]+)?")
_ROW_END_LENGTH = 60
_LONGEST_LABEL = 20
_MIN_WRAPPED_LINE = 40
_MIN_WRAPPED_CJK_LINE = 16


def sentence_spans(text: str) -> list[Span]:
    """Start and end characters of the sentences, in order, trimmed, not overlapping.

    Every character that is not white space lies in one span. Table rows, list items and headings
    on a line of their own are sentences; lines of wrapped prose are joined. Citation marks behind a
    full stop belong to the sentence before them.
    """
    return [span for start, end in _blocks(text) for span in _split(text, start, end)]


def _blocks(text: str) -> Iterator[Span]:
    """Runs of lines that read as one piece of prose, and single lines that do not."""
    start = end = -1
    previous = ""
    for match in _LINE.finditer(text):
        line = match.group()
        body = line.strip()
        if not body:
            continue
        left = match.start() + len(line) - len(line.lstrip())
        if previous and not _continues(text[end:left], previous, body):
            yield start, end
            start = -1
        start, end, previous = (left if start < 0 else start), left + len(body), body
    if previous:
        yield start, end


def _continues(gap: str, line: str, following: str) -> bool:
    """Whether the line `following`, `gap` behind `line`, goes on with the same piece of prose."""
    if gap.count("\n") > 1 or gap.count("\r") > 1 or "\f" in gap or "\u2029" in gap:
        return False
    if _ITEM.match(following) or _is_row(line) or _is_row(following):
        return False
    last = line[-1]
    if following[0].islower() or last in ",;-–":
        return True
    if last.isalpha() and line[line.rfind(" ") + 1 :].lower() in _OPEN_WORDS:
        return True
    return last != ":" and _is_wrapped(line, following)


def _is_wrapped(line: str, following: str) -> bool:
    """Whether the lines are as long as lines of one paragraph are."""
    # A line much shorter than the next one is a heading or the end of a paragraph.
    if 5 * len(line) < 3 * len(following):
        return False
    # So is a next line that is much shorter and not the end of a sentence: a row below a caption.
    if 2 * len(following) < len(line) and not _END.search(following + " "):
        return False
    return len(line) >= (_MIN_WRAPPED_CJK_LINE if line[-1] > "\u2e7f" else _MIN_WRAPPED_LINE)


def _is_row(line: str) -> bool:
    return "\t" in line or " | " in line or _ROW_END.search(line[-_ROW_END_LENGTH:]) is not None


def _split(text: str, start: int, end: int) -> Iterator[Span]:
    for match in _END.finditer(text, start, end):
        if match["wide"] is None and not _ends_sentence(text, start, end, match):
            continue
        yield start, match.end()
        start = match.end()
        while start < end and text[start].isspace():
            start += 1
    if start < end:
        yield start, end


def _ends_sentence(text: str, start: int, end: int, match: re.Match[str]) -> bool:
    following = _NEXT.match(text, match.end(), end)
    word = following[1] if following and following[1] else ""
    if word[:1].islower() or match.group().startswith("...."):
        return False
    if match.group()[0] != ".":
        return True
    if match.start() - start < _LONGEST_LABEL and _LABEL.match(text, start, match.start()):
        return False
    found = _WORD_BEFORE.search(text, max(start, match.start() - 24), match.start())
    before = found.group() if found else ""
    return _full_stop(before, word, at_start=match.start() - len(before) <= start)


def _full_stop(before: str, word: str, *, at_start: bool) -> bool:
    """Whether the full stop between the words `before` and `word` ends a sentence."""
    if before.isdigit() and len(before) <= 2:
        return not at_start and not _ORDINAL_NOUNS.match(word)
    lowered = before.lower()
    if lowered in _TITLES:
        return False
    if before in _UNITS:
        return True
    if (len(before) == 1 and before.isalpha() and before < "\u2e80") or lowered in _MAYBE:
        return word in _FIRST_WORDS
    return True
