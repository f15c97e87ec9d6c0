"""Whether an answer to a question about a picture is right, as VisRAG scores it (arXiv 2410.10594).

The normalisation is that of the VQA evaluation (Antol et al., ICCV 2015), with which VisRAG compares answers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Literal

Rule = Literal["exact", "number", "letter"]

_ARTICLES = frozenset({"a", "an", "the"})
_NUMBER_WORDS = {
    word: str(number)
    for number, word in enumerate("zero one two three four five six seven eight nine ten".split())
} | {"none": "0"}
# Only those that spell no other word without their apostrophe ("well", "its", "were" and "id" are words).
_CONTRACTIONS = {
    word.replace("'", ""): word
    for word in (
        "ain't aren't can't couldn't could've didn't doesn't don't hadn't hasn't haven't he'd he's how'd how'll "
        "how's i'm i've isn't it'd it'll ma'am mightn't might've mustn't must've needn't o'clock oughtn't shan't "
        "she's shouldn't should've that'd that's there'd there're there's they'd they'll they're they've wasn't "
        "we've weren't what'll what're what's what've when's where'd where's where've who'd who'll who's who've "
        "why'll why're why's won't wouldn't would've y'all you'd you'll you're you've"
    ).split()
}
_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_GROUPED_DIGITS = re.compile(r"\d,\d")
# A full stop that no digit follows; the point of a decimal fraction stays.
_STOP = re.compile(r"\.(?!\d)")
_TOLERANCE = 0.05


def normalize_answer(text: str) -> str:
    """Lower case, without punctuation and articles, number words up to ten as digits.

    As in the VQA evaluation, a mark is taken out where a space touches it or digits with a comma between
    them stand anywhere in the text, and is made a space elsewhere.
    """
    line = text.replace("\n", " ").replace("\t", " ").strip()
    is_grouped = _GROUPED_DIGITS.search(line) is not None
    kept = line
    for mark in _PUNCTUATION:
        joins = is_grouped or f"{mark} " in line or f" {mark}" in line
        kept = kept.replace(mark, "" if joins else " ")
    words = [_NUMBER_WORDS.get(word, word) for word in _STOP.sub("", kept).lower().split()]
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def is_number(text: str) -> bool:
    """Whether `float` reads it; so "nan" and "inf" are numbers and "1,000" and "5%" are none."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def is_within_5_percent(predicted: float, gold: float) -> bool:
    """Whether the prediction is off by at most 5 % of the gold value; a gold value of 0 must be met exactly."""
    if gold == 0 or not math.isfinite(gold):
        return predicted == gold
    return abs(predicted - gold) / abs(gold) <= _TOLERANCE


def is_correct(predicted: str, golds: Sequence[str], rule: Rule = "exact") -> bool:
    """Whether a prediction equals any of the right answers.

    rule: "exact", equal after normalisation and without per cent signs (SlideVQA, MP-DocVQA, InfoVQA); "number",
    or both are numbers and at most 5 % apart (ChartQA, PlotQA); "letter", the same first character (ArxivQA), so
    that "(B)" and "**B**" are wrong for "B", as the authors have it. An empty prediction is wrong.
    """
    if not predicted.strip():
        return False
    if rule == "letter":
        return any(_first(predicted) == _first(gold) for gold in golds)
    said = _comparable(predicted)
    rights = [_comparable(gold) for gold in golds]
    if said in rights:
        return True
    numbers = (
        [float(right) for right in rights if is_number(right)] if rule == "number" and is_number(said) else []
    )
    return any(is_within_5_percent(float(said), number) for number in numbers)


def _comparable(text: str) -> str:
    return normalize_answer(text).replace("%", "").strip()


def _first(text: str) -> str:
    return text.strip()[:1].upper()
