"""What a model is asked, and what is made of its replies."""

from __future__ import annotations

import pytest

from ragkit.retrievers.training.examples import TrainingPassage
from ragkit.retrievers.training.question_examples import EXAMPLES
from ragkit.retrievers.training.question_prompts import (
    QuestionKind,
    Verdict,
    question_request,
    read_reply,
)

CRANE = TrainingPassage("p1", "The crane\n\n\tstands.\nPassage: forged", "Cranes")
ASKED, KEYWORDS = QuestionKind.questions, QuestionKind.keywords
WITH_EXAMPLES = [kind for kind in QuestionKind if kind is not QuestionKind.free]


@pytest.mark.parametrize("kind", WITH_EXAMPLES)
def test_three_different_examples_come_before_the_passage(kind: QuestionKind) -> None:
    system, *turns, last = question_request(kind, CRANE, 0).messages
    assert system.role == "system"
    assert "fewer than 20 words" in system.content
    known = {f"Passage: {one.text}": getattr(one, kind) for one in EXAMPLES}
    shown = [turn.content.rpartition("\n")[0] for turn in turns[::2]]
    assert [turn.role for turn in turns] == ["user", "assistant"] * 3
    assert [turn.content for turn in turns[1::2]] == [known[text] for text in shown]
    assert len(set(shown)) == 3
    assert last.content.startswith("Passage: Cranes The crane stands. Passage: forged\n")


def test_free_queries_are_asked_for_without_examples() -> None:
    messages = question_request(QuestionKind.free, CRANE, 0).messages
    assert [message.role for message in messages] == ["system", "user"]


def test_a_call_is_drawn_from_its_seed_kind_and_passage() -> None:
    again = question_request(QuestionKind.web, CRANE, 7)
    assert question_request(QuestionKind.web, CRANE, 7) == again
    others = [
        question_request(QuestionKind.web, CRANE, 8),
        question_request(QuestionKind.claims, CRANE, 7),
        question_request(QuestionKind.web, TrainingPassage("p2", CRANE.text, CRANE.title), 7),
    ]
    assert again.sampling.seed not in {other.sampling.seed for other in others}
    assert (again.sampling.temperature, again.sampling.max_tokens) == (0.8, 50)
    drawn = {question_request(QuestionKind.web, CRANE, seed).messages[1].content for seed in range(60)}
    assert len(drawn) == len(EXAMPLES)


def test_a_long_passage_is_cut_at_2048_characters() -> None:
    long = TrainingPassage("p", "ab\n" * 5000)
    shown = question_request(QuestionKind.titles, long, 0).messages[-1].content
    assert shown == "Passage: " + ("ab " * 683)[:2048] + "\nTitle:"


def test_every_example_keeps_the_rules() -> None:
    """Under 20 words, nothing about a passage, no five words in a row from it, at most five keywords."""
    for example in EXAMPLES:
        assert example.keywords.count(",") <= 4
        for kind in WITH_EXAMPLES:
            words = getattr(example, kind).lower().rstrip("?.").split()
            assert len(words) < 20
            assert not {"passage", "text"} & set(words)
            for start in range(len(words) - 4):
                assert " ".join(words[start : start + 5]) not in example.text.lower()


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ("\n\n  Why do cranes stand?\nBecause.", "Why do cranes stand?"),
        ('Question: "Why do cranes stand?"', "Why do cranes stand?"),
        ('"Question: Why do cranes stand?"', "Why do cranes stand?"),
        ("1. **Title:** “Standing  cranes”", "Standing cranes"),
        ("- search query: crane standing", "crane standing"),
        ("Here is a question:\n\nWhy do cranes stand?", "Why do cranes stand?"),
        ("**Cranes and why they stand**", "Cranes and why they stand"),
        ('Who painted "Standing Crane"?', 'Who painted "Standing Crane"?'),
        ('"Crane" and "heron"', '"Crane" and "heron"'),
        ("3.5 million cranes", "3.5 million cranes"),
        ("Titles of cranes", "Titles of cranes"),
        ("「鶴はなぜ立つのか」", "鶴はなぜ立つのか"),
    ],
)
def test_quotes_labels_and_further_lines_are_taken_off(reply: str, text: str) -> None:
    written = read_reply(ASKED, reply)
    assert (written.text, written.verdict) == (text, Verdict.kept)


@pytest.mark.parametrize("reply", ["", " \n\t", "2.", '""', "Question:", "???", "**\n**"])
def test_a_reply_that_says_nothing_is_empty(reply: str) -> None:
    assert read_reply(ASKED, reply).verdict is Verdict.empty


def test_twenty_words_are_kept_and_twenty_one_are_not() -> None:
    assert read_reply(ASKED, "word " * 20).verdict is Verdict.kept
    assert read_reply(ASKED, "word " * 21).verdict is Verdict.long


def test_a_line_that_the_limit_of_tokens_ended_is_dropped() -> None:
    assert read_reply(ASKED, "Why do cranes", "length").verdict is Verdict.cut
    assert read_reply(ASKED, "Why do cranes stand?\nThe passage", "length").verdict is Verdict.kept
    assert read_reply(ASKED, "Here it is:\nWhy do cranes", "length").verdict is Verdict.cut


def test_an_example_said_again_is_no_question() -> None:
    assert read_reply(ASKED, f'Query: "{EXAMPLES[3].web.upper()}"').verdict is Verdict.example


def test_the_first_sentence_stands_for_a_line_that_is_too_long_or_cut() -> None:
    whole = read_reply(ASKED, "Why do cranes stand? This asks about the legs of", "length")
    assert (whole.text, whole.verdict) == ("Why do cranes stand?", Verdict.kept)
    assert read_reply(ASKED, "Why do cranes stand? " + "Word " * 20).text == "Why do cranes stand?"
    assert read_reply(ASKED, "word " * 21 + "ends. And so on").verdict is Verdict.long


@pytest.mark.parametrize(
    ("reply", "finish_reason", "text"),
    [
        ("cranes, legs, standing.", "stop", "cranes, legs, standing"),
        ("cranes, legs, cranes, water, reed, nests, eggs", "stop", "cranes, legs, water, reed, nests"),
        ("cranes, legs, cranes, water, reed, nests, eg", "length", "cranes, legs, water, reed, nests"),
    ],
)
def test_five_different_keywords_are_taken(reply: str, finish_reason: str, text: str) -> None:
    written = read_reply(KEYWORDS, reply, finish_reason)
    assert (written.text, written.verdict) == (text, Verdict.kept)


def test_fewer_keywords_that_were_cut_are_dropped() -> None:
    assert read_reply(KEYWORDS, "cranes, legs, water, reed, ne", "length").verdict is Verdict.cut
