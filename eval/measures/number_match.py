"""Whether an answer gives the right number, within ±5 %.

The tolerance is that of ChartQA's relaxed accuracy (Masry et al., ACL Findings 2022, arXiv 2203.10244). What
counts as the answer's number is a rule of ours, for answers are sentences:

- A gold answer counts where it is one number and at most three words ("$1.2 billion", "47 new stores"). Others
  have no number to be met, and `number_match` is None.
- Of the answer the first number of the gold's kind counts, so that listing many numbers does not pay. Kinds are
  years, percentages and others.
- What looks like a year is a whole number from 1500 to 2100 without sign, comma, currency, per cent, scale or
  attached unit. A gold answer that looks like one and has no word behind it ("1901", "in 1901") is a year and must
  be met exactly: 1903 is not 1901. Another gold number ("1,590 tons", "1600 tons") is met within 5 % by a number
  that looks like a year too, where the answer has none that does not.
- Where an answer has no percentage and the gold is one, or the other way round, they compare as they stand
  (16.5 % and 16.5) or as a share (0.165).
- Parentheses around a number alone make it negative, as in accounts: with currency, "($3.4)"; with per cent
  behind, "(3.4)%"; before the next number of a row, "(3.4) 2.1"; else "(3.4)" where the text ends with it
  or at most three words stand beside it, and "(16.5%)" where no word does. Others are asides in a sentence:
  "sales rose (16.5%)", "the stores (47) are old". The sign counts.
- Scale words count (thousand, million, mn, billion, bn, trillion, tn). So do k, m and b attached to an amount of
  money ("$3M", "3M dollars"), and all but a small m where the number has a decimal point or a comma ("1.2B"). A
  number without scale also stands for millions where the question says "in millions", and so on.
- Units may be attached ("500m", "1.5x", "5,000km"); they are not converted, nor compared.
- Numbers are written in the English way, or in groups of three parted by narrow or fixed spaces ("12 345"). Plain
  spaces part groups only where the last is 000 ("1 000 000"): "84 132" may be two numbers of a table's row.
- Digits that belong to a word (10-K, Q2, 3M, FY2020) are none; behind a full stop (No.5) they are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ragkit.eval.measures.vqa_scoring import is_within_5_percent

_CURRENCY = r"(?:US\$|USD|EUR|GBP|[$€£¥₹])"
_MONEY_BEHIND = re.compile(r"\s?(?:dollars?|euros?|pounds?|yen|USD|EUR|GBP)\b", re.IGNORECASE)
_SCALES = {
    **dict.fromkeys(("thousand", "k"), 1e3),
    **dict.fromkeys(("million", "mn", "m"), 1e6),
    **dict.fromkeys(("billion", "bn", "b"), 1e9),
    **dict.fromkeys(("trillion", "tn"), 1e12),
}
# Of one letter only small ones: 3M is a company, 5G a network. Seconds are left out: 1980s and 30s are decades.
_UNIT = (
    r"(?:(?-i:[mglthx])|×|[kcdm]m|[µn]m|in|ft|yds?|mi|miles?|kg|mg|lbs?|oz|ml|cl|ha|acres?|hrs?|mins?|secs?|ms|"
    r"mph|kph|kmh|[kmg]?hz|[kmgtp]i?b|[kmgt]wh?|kwh|bps|bp|pp|pts?|px)[²³]?"
)
_PER_CENT = r"\s?(?:%|per\s?cent(?:age\spoints?)?\b)"
_THIN = "[\\u00a0\\u2009\\u202f]"
_NUMBER = re.compile(
    rf"""(?:(?<![\w.,])|(?<=[^\W\d_]\.)(?=\d))
    (?P<open>\()?(?P<sign>(?<![\w)])[-−–])?(?P<currency>{_CURRENCY}\s?)?(?P<inner>\()?(?P<late>[-−–])?
    (?P<digits>
        (?:\d{{1,3}}(?:,\d{{3}})+|\d{{1,3}}(?:{_THIN}\d{{3}})+|\d{{1,3}}(?:\ \d{{3}}){{0,3}}\ 000|\d+)(?:\.\d+)?
        |\.\d+)
    (?:\s?(?P<word>thousand|million|mn|billion|bn|trillion|tn)s?\b|(?P<letter>[kmb])\b|(?P<unit>{_UNIT})(?!\w))?
    (?P<inside>{_PER_CENT})?(?P<close>\))?(?P<behind>{_PER_CENT})?
    (?!\w|-[a-z]|[.,]?\d)""",
    re.VERBOSE | re.IGNORECASE,
)
_NEXT_OF_ROW = re.compile(rf"\s+[-−–(]?{_CURRENCY}?\s?\(?\.?\d", re.IGNORECASE)
_TEXT_END = re.compile(r"\s*\Z")
_WORD = re.compile(r"[^\W\d_]+")
_IMPLIED = re.compile(
    rf"\bin\s+(?:{_CURRENCY}\s?|U\.?S\.?\s(?:dollars?\s)?)?(thousand|million|billion|trillion)s?\b", re.IGNORECASE
)
_YEARS = range(1500, 2101)
# "2018 fiscal year" is a year still.
_WORDS_OF_YEARS = frozenset({"ad", "ce", "fiscal", "financial", "year"})
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
    num_words = len(_WORD.findall(_NUMBER.sub(" ", text)))
    return [_number(match, num_words) for match in _NUMBER.finditer(text) if not _is_name(match)]


def gold_number(gold: str) -> ReadNumber | None:
    """The number that a gold answer is; None where it is none, several, or a sentence."""
    matches = [match for match in _NUMBER.finditer(gold) if not _is_name(match)]
    rest = _NUMBER.sub(" ", gold)
    if len(matches) != 1 or any(letter.isdigit() for letter in rest):
        return None
    num_words = len(_WORD.findall(rest))
    if num_words > _MOST_UNIT_WORDS:
        return None
    number = _number(matches[0], num_words)
    counted = {word.lower() for word in _WORD.findall(gold[matches[0].end() :])} - _WORDS_OF_YEARS
    return replace(number, is_year=number.is_year and not counted)


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
    if gold.is_year:
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
    """Such as 3M, and the 10k of a form."""
    return bool(match["letter"]) and not _is_metres(match) and not _scale(match)


def _is_metres(match: re.Match[str]) -> bool:
    return match["letter"] == "m" and not _is_money(match)


def _is_money(match: re.Match[str]) -> bool:
    return bool(match["currency"] or _MONEY_BEHIND.match(match.string, match.end()))


def _scale(match: re.Match[str]) -> float | None:
    """Of a scale word, or of a letter that stands for one; None without one."""
    if match["word"]:
        return _SCALES[match["word"].lower()]
    is_amount = _is_money(match) or any(mark in match["digits"] for mark in ".,")
    return _SCALES[match["letter"].lower()] if match["letter"] and is_amount and not _is_metres(match) else None


def _number(match: re.Match[str], num_words: int) -> ReadNumber:
    """num_words: that stand beside the numbers of its text."""
    digits, scale = match["digits"], _scale(match)
    value, is_percent = float(re.sub(r"[\s,]", "", digits)), bool(match["inside"] or match["behind"])
    is_signed = bool(match["sign"] or match["late"])
    is_bare = not (match["currency"] or match["letter"] or match["unit"] or is_percent or scale or is_signed)
    if is_bare and digits.isdigit() and int(digits) in _YEARS:
        return ReadNumber(value, is_year=True)
    value *= scale or 1.0
    is_negative = is_signed or _is_negative_in_accounts(match, num_words)
    return ReadNumber(-value if is_negative else value, is_percent, scale is not None)


def _is_negative_in_accounts(match: re.Match[str], num_words: int) -> bool:
    """Parentheses around a number alone, where they are no aside in a sentence."""
    if not ((match["open"] or match["inner"]) and match["close"]):
        return False
    if match["currency"] or match["behind"] or _NEXT_OF_ROW.match(match.string, match.end()):
        return True
    if match["inside"]:
        return not num_words
    return num_words <= _MOST_UNIT_WORDS or _TEXT_END.match(match.string, match.end()) is not None
