"""Whether an answer gives the right number, within ±5 %.

The tolerance is that of ChartQA's relaxed accuracy (Masry et al., ACL Findings 2022, arXiv 2203.10244). What
counts as the answer's number is a rule of ours, for answers are sentences:

- A gold answer counts where it is one number and at most three words ("$1.2 billion", "47 new stores"). Others
  have no number to be met, and `number_match` is None.
- Of the answer the first number of the gold's kind counts, so that listing many numbers does not pay. Kinds are
  years, percentages and others.
- Years (whole numbers from 1500 to 2100 without sign, comma, currency, per cent or scale) must be equal: 1903 is
  not 1901. They count as another number only where the answer has none, and then too they must be equal.
- Where an answer has no percentage and the gold is one, or the other way round, they compare as they stand
  (16.5 % and 16.5) or as a share (0.165).
- Parentheses around a number alone make it negative, as in accounts: (3.4). The sign counts.
- Scale words count (thousand, million, mn, billion, bn, trillion, tn; k, m and b after an amount of money). A
  number without one also stands for millions where the question says "in millions", and so on.
- Numbers are written in the English way; digits that belong to a word (10-K, Q2, 3M) are none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ragkit.eval.measures.vqa_scoring import is_within_5_percent

_CURRENCY = r"(?:US\$|USD|EUR|GBP|[$€£¥₹])"
_SCALES = {
    **dict.fromkeys(("thousand", "k"), 1e3),
    **dict.fromkeys(("million", "mn", "m"), 1e6),
    **dict.fromkeys(("billion", "bn", "b"), 1e9),
    **dict.fromkeys(("trillion", "tn"), 1e12),
}
_NUMBER = re.compile(
    rf"""(?<![\w.,])(?P<open>\()?(?P<sign>(?<![\w)])[-−–])?(?P<currency>{_CURRENCY}\s?)?(?P<inner>\()?(?P<late>[-−–])?
    (?P<digits>(?:\d{{1,3}}(?:,\d{{3}})+|\d+)(?:\.\d+)?|\.\d+)
    (?:\s?(?P<word>thousand|million|mn|billion|bn|trillion|tn)s?\b|(?P<letter>[kmb])\b)?
    (?P<inside>\s?(?:%|per\s?cent(?:age\spoints?)?\b))?(?P<close>\))?(?P<behind>\s?(?:%|per\s?cent(?:age\spoints?)?\b))?
    (?!\w|-[a-z]|[.,]?\d)""",
    re.VERBOSE | re.IGNORECASE,
)
_WORD = re.compile(r"[^\W\d_]+")
_IMPLIED = re.compile(
    rf"\bin\s+(?:{_CURRENCY}\s?|U\.?S\.?\s(?:dollars?\s)?)?(thousand|million|billion|trillion)s?\b", re.IGNORECASE
)
_YEARS = range(1500, 2101)
_MOST_UNIT_WORDS = 3


@dataclass(frozen=True, slots=True)
class ReadNumber:
    """A number as a text gives it. value: with its sign and scale word; is_scaled: whether it had such a word."""

    value: float
    is_percent: bool = False
    is_scaled: bool = False
    is_year: bool = False


def read_numbers(text: str) -> list[ReadNumber]:
    """The numbers of a text, in its order."""
    return [_number(match) for match in _NUMBER.finditer(text) if not _is_name(match)]


def gold_number(gold: str) -> ReadNumber | None:
    """The number that a gold answer is; None where it is none, several, or a sentence."""
    numbers, rest = read_numbers(gold), _NUMBER.sub(" ", gold)
    if len(numbers) != 1 or any(letter.isdigit() for letter in rest):
        return None
    return numbers[0] if len(_WORD.findall(rest)) <= _MOST_UNIT_WORDS else None


def number_match(answer: str, golds: Sequence[str], question: str = "") -> float | None:
    """1.0 where the answer's number is at most 5 % off a gold number, else 0.0; None without a gold number.

    question: says in which scale numbers are that name none ("in USD millions").
    """
    wanted = [number for gold in golds if (number := gold_number(gold)) is not None]
    if not wanted:
        return None
    implied = _SCALES[found[1].lower()] if (found := _IMPLIED.search(question)) else 1.0
    said = read_numbers(answer)
    return float(any(_is_met(said, number, implied) for number in wanted))


def _is_met(said: Sequence[ReadNumber], gold: ReadNumber, implied: float) -> bool:
    alike = [number for number in said if number.is_year == gold.is_year] or said
    if not alike:
        return False
    first = next((number for number in alike if number.is_percent == gold.is_percent), alike[0])
    readings = _readings(first, gold, implied)
    if first.is_year or gold.is_year:
        return any(one == other for one, other in readings)
    return any(is_within_5_percent(one, other) for one, other in readings)


def _readings(first: ReadNumber, gold: ReadNumber, implied: float) -> list[tuple[float, float]]:
    """Values to compare: as they stand, and where one leaves per cent or scale unsaid, with the other's."""
    pairs = [(first.value, gold.value)]
    if first.is_percent != gold.is_percent:
        pairs.append((first.value / 100, gold.value) if first.is_percent else (first.value, gold.value / 100))
    elif not gold.is_percent and first.is_scaled != gold.is_scaled:
        pairs.append(
            (first.value, gold.value * implied) if first.is_scaled else (first.value * implied, gold.value)
        )
    return pairs


def _is_name(match: re.Match[str]) -> bool:
    """Such as 3M, and the 10k of a form: a letter is a scale behind an amount of money alone."""
    return bool(match["letter"]) and not match["currency"]


def _number(match: re.Match[str]) -> ReadNumber:
    digits, scale = match["digits"], (match["word"] or match["letter"] or "").lower()
    value, is_percent = float(digits.replace(",", "")), bool(match["inside"] or match["behind"])
    is_signed = bool(match["sign"] or match["late"])
    if digits.isdigit() and int(digits) in _YEARS and not (match["currency"] or is_percent or scale or is_signed):
        return ReadNumber(value, is_year=True)
    enclosed = bool(match["open"] or match["inner"]) and bool(match["close"])
    value *= _SCALES.get(scale, 1.0)
    return ReadNumber(-value if enclosed or is_signed else value, is_percent, bool(scale))
