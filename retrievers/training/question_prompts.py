"""What a language model is asked so that it writes a question to a passage, and what counts of its reply.

Six kinds of questions, as in CADET (Tamber et al. 2025, arXiv 2502.19712); wording and examples are our own.
"""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from ragkit.records import ChatMessage, ChatRequest, Sampling
from ragkit.retrievers.training.examples import TrainingPassage
from ragkit.retrievers.training.question_examples import EXAMPLES
from ragkit.sentences import sentence_spans

MAX_PASSAGE_CHARACTERS = 2048
MAX_WORDS = 20
MAX_KEYWORDS = 5
NUM_EXAMPLES = 3
TEMPERATURE = 0.8
MAX_TOKENS = 50


class QuestionKind(StrEnum):
    """What a model is asked to write."""

    questions = "questions"
    claims = "claims"
    titles = "titles"
    keywords = "keywords"
    web = "web"
    free = "free"


class Verdict(StrEnum):
    """Whether a reply is of use: `kept`, or why not.

    long: over 20 words, where fewer are asked for. cut: it ran into the limit of tokens before its line ended.
    example: it says again what an example asked.
    """

    kept = "kept"
    empty = "empty"
    long = "long"
    cut = "cut"
    example = "example"


@dataclass(frozen=True, slots=True)
class WrittenText:
    """What a reply says once quotes and labels are off, and whether that is of use."""

    text: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class _Wording:
    """label: what stands before what is asked for. task: completes "You write …"."""

    label: str
    task: str


_WORDINGS = {
    QuestionKind.questions: _Wording("Question", "a natural question that the passage answers"),
    QuestionKind.claims: _Wording("Claim", "a specific claim that the passage supports"),
    QuestionKind.titles: _Wording("Title", "a short title for the passage"),
    QuestionKind.keywords: _Wording(
        "Keywords",
        "up to five general keywords for the passage, separated by commas; "
        "choose terms for its subject rather than words copied from it",
    ),
    QuestionKind.web: _Wording(
        "Search query", "what somebody would type into a web search engine to find the passage"
    ),
    QuestionKind.free: _Wording(
        "Search query",
        "any search query that the passage is a good result for: a phrase, a short description or a question",
    ),
}
_RULES = """\
You write {task}.
Grasp the main idea of the passage first. What you write must be understood by somebody who does not see the \
passage, so do not speak of "the passage", "the text" or "this study". Use fewer than 20 words. Do not copy long \
phrases. Reply with the {label} alone, as plain text on one line."""
_SPACE = re.compile(r"\s+")
_LIST_MARK = re.compile(r"(?:[-•#>]+|\d{1,2}[.)])\s+")
_LABEL = re.compile(r"(?:search query|question|query|claim|title|keywords?)\s*:\s*", re.IGNORECASE)
_EMPHASIS = "*_`"
_QUOTES = {'"': '"', "'": "'", "“": "”", "„": "“", "”": "”", "‘": "’", "«": "»", "»": "«", "「": "」"}
_CUT = "length"


def question_request(
    kind: QuestionKind, passage: TrainingPassage, seed: int, temperature: float = TEMPERATURE
) -> ChatRequest:
    """What the model is asked; the examples and the engine's seed follow from seed, kind and passage alone.

    The examples are earlier turns of the conversation: small models stay with their form and off their subjects,
    which they do not where passage and examples stand in one turn.
    """
    drawn = random.Random(f"{seed}/{kind}/{passage.id}")
    wording = _WORDINGS[kind]
    rules = _RULES.format(task=wording.task, label=wording.label.lower())
    messages = [ChatMessage("system", rules)]
    for example in [] if kind is QuestionKind.free else drawn.sample(EXAMPLES, NUM_EXAMPLES):
        messages.append(ChatMessage("user", _shown(example.text, wording)))
        messages.append(ChatMessage("assistant", getattr(example, kind)))
    text = on_one_line(passage.titled_text)[:MAX_PASSAGE_CHARACTERS]
    messages.append(ChatMessage("user", _shown(text, wording)))
    sampling = Sampling(MAX_TOKENS, temperature, seed=drawn.getrandbits(31))
    return ChatRequest(tuple(messages), "", sampling=sampling)


def prompts_fingerprint() -> str:
    """Hex SHA-256 of what is asked of a made-up passage: another once wording or examples are."""
    passage = TrainingPassage("p", "t")
    asked = [repr(question_request(kind, passage, 0).messages) for kind in QuestionKind]
    return hashlib.sha256("\n".join([*asked, repr(EXAMPLES)]).encode()).hexdigest()


def _shown(text: str, wording: _Wording) -> str:
    """A passage is one line, so that it cannot pass for further turns."""
    return f"Passage: {text}\n{wording.label}:"


def read_reply(kind: QuestionKind, reply: str, finish_reason: str = "stop") -> WrittenText:
    """The first line that holds something, without list mark, label, emphasis and quotes.

    A line that ends with a colon announces what follows, so the next one counts. Of keywords the first five
    different ones are taken; of another line that is too long, or was cut, the first sentence where it is whole.
    """
    lines = [line.strip().strip(_EMPHASIS) for line in reply.splitlines()]
    lines = [line for line in lines if line]
    while len(lines) > 1 and lines[0].endswith(":"):
        del lines[0]
    text = _bare(lines[0]) if lines else ""
    is_cut = finish_reason == _CUT and len(lines) < 2
    if kind is QuestionKind.keywords:
        return _judged(*_first_keywords(text, is_cut))
    written = _judged(text, is_cut)
    if written.verdict in (Verdict.long, Verdict.cut) and len(spans := sentence_spans(text)) > 1:
        sentence = _judged(text[slice(*spans[0])].strip(), is_cut=False)
        return sentence if sentence.verdict is Verdict.kept else written
    return written


def _judged(text: str, is_cut: bool) -> WrittenText:
    return WrittenText(text, _verdict(text, is_cut))


def _first_keywords(text: str, is_cut: bool) -> tuple[str, bool]:
    """Up to five of a list, and whether they are what an end by the limit of tokens left of fewer."""
    listed = [word for part in text.split(",") if (word := part.strip(" ."))]
    whole = listed[:-1] if is_cut else listed
    words = list(dict.fromkeys(whole))[:MAX_KEYWORDS]
    return (text, True) if is_cut and len(words) < MAX_KEYWORDS else (", ".join(words), False)


def _verdict(text: str, is_cut: bool) -> Verdict:
    if not any(sign.isalpha() for sign in text):
        return Verdict.empty
    if is_cut:
        return Verdict.cut
    if len(text.split()) > MAX_WORDS:
        return Verdict.long
    return Verdict.example if text.casefold() in _example_texts() else Verdict.kept


@cache
def _example_texts() -> frozenset[str]:
    kinds = [kind for kind in QuestionKind if kind is not QuestionKind.free]
    return frozenset(getattr(example, kind).casefold() for example in EXAMPLES for kind in kinds)


def _bare(line: str) -> str:
    """Marks, labels and quotes may stand around one another."""
    before = ""
    while line != before:
        before = line
        for mark in (_LIST_MARK, _LABEL):
            line = line[found.end() :] if (found := mark.match(line)) else line
        line = _without_quotes(line.strip().strip(_EMPHASIS))
    return on_one_line(line)


def _without_quotes(line: str) -> str:
    """Without the pair around all of it; quotes around words inside stay."""
    inside = line[1:-1]
    closing = _QUOTES.get(line[:1])
    is_pair = len(line) > 1 and closing == line[-1] and closing not in inside
    return inside.strip() if is_pair else line


def on_one_line(text: str) -> str:
    """Line breaks, tabs and runs of spaces become single spaces."""
    return _SPACE.sub(" ", text).strip()
