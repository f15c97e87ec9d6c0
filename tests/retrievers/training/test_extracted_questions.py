"""Questions taken from passages, worked out by hand."""

from __future__ import annotations

from ragkit.retrievers.training.examples import TrainingPassage
from ragkit.retrievers.training.extracted_questions import ExtractedKind, QuestionExtractor

CRANES = TrainingPassage(
    "p1",
    "Nobody knows who was here first. The cranes of the marsh stand on one leg at night. Cranes that stand in the "
    "marsh sleep well there.",
    "Cranes",
)
OTHER = TrainingPassage("p2", "The night was here and nobody stood there.")


def extract(kind: ExtractedKind, passage: TrainingPassage, *others: TrainingPassage) -> str:
    return QuestionExtractor([passage, *others]).extract(kind, passage)


def test_the_sentence_whose_words_come_back_is_taken() -> None:
    """Cranes, marsh, stand weigh log 2 each and are in the last two sentences, which have 11 and 9 words."""
    found = extract(ExtractedKind.sentences, CRANES, OTHER)
    assert found == "Cranes that stand in the marsh sleep well there."


def test_terms_are_the_words_of_greatest_weight_in_the_order_of_the_passage() -> None:
    """Twice or more: cranes, marsh, stand. Once, and in no other: the first two of them that stand there."""
    assert extract(ExtractedKind.terms, CRANES, OTHER) == "cranes knows who marsh stand"


def test_words_that_every_passage_has_are_no_terms() -> None:
    assert (
        extract(ExtractedKind.terms, TrainingPassage("a", "ice and snow"), TrainingPassage("b", "and"))
        == "ice snow"
    )


def test_of_texts_without_spaces_pairs_of_characters_are_words() -> None:
    """In the second sentence 丹頂 and 湿原 come back; both are among the five terms of greatest weight."""
    passage = TrainingPassage("a", "丹頂は湿原で眠る。夜の湿原では丹頂が一本足で立つ。誰も知らない。")
    other = TrainingPassage("b", "夜は誰も立っていない。")
    assert extract(ExtractedKind.sentences, passage, other) == "夜の湿原では丹頂が一本足で立つ。"
    terms = extract(ExtractedKind.terms, passage, other).split()
    assert len(terms) == 5
    assert {"丹頂", "湿原"} <= set(terms)


def test_words_of_both_kinds_count_in_one_sentence() -> None:
    """An English sentence does not become one of a single word by a name in Chinese, nor a long one short."""
    named = TrainingPassage("a", "The cranes of the marsh follow 李明 at night. Cranes sleep.")
    assert extract(ExtractedKind.sentences, named, OTHER) == "The cranes of the marsh follow 李明 at night."
    long = TrainingPassage("a", "Ice " * 32 + "丹頂は湿原で眠る ice. Ice.")
    assert extract(ExtractedKind.sentences, long, OTHER) == ""


def test_a_passage_of_one_short_line_has_no_sentence() -> None:
    assert extract(ExtractedKind.sentences, TrainingPassage("a", "Ice. Snow."), OTHER) == ""


def test_a_sentence_of_33_words_is_too_long() -> None:
    long = "Ice " * 32 + "ice."
    fits = TrainingPassage("a", long.replace("Ice ", "", 1) + " Ice.")
    assert extract(ExtractedKind.sentences, fits, OTHER) != ""
    assert extract(ExtractedKind.sentences, TrainingPassage("a", long + " Ice."), OTHER) == ""
