"""From the settings of feedback to retrievers that search twice. Used by `ragkit.assemble`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ragkit.config import Config
from ragkit.devices import choose_placement
from ragkit.errors import ConfigError
from ragkit.feedback_config import AverageFeedback, FeedbackTable, LolFeedback, Rm3Feedback, RocchioFeedback
from ragkit.protocols import Feedback, LexicalIndex, Retriever

if TYPE_CHECKING:
    from ragkit.retrievers.dense import DenseRetriever


def add_feedback(
    retriever: Retriever,
    config: Config,
    dense: DenseRetriever | None = None,
    lexical: LexicalIndex | None = None,
    fingerprints: Collection[str] = (),
) -> Retriever:
    """The retriever in two passes, by the feedback that it has something to revise for; as it is without any.

    Args:
        dense, lexical: what it searches vectors and terms with.
        fingerprints: of the corpus's embedders: a trained model that belongs to another route's is left to that.
            So is one of terms where texts are searched beside pictures.

    Raises:
        ConfigError: a trained model belongs to none of them, or is of the wrong kind.
    """
    from ragkit.retrievers.feedback.feedback_retriever import FeedbackRetriever
    from ragkit.retrievers.feedback.rm3 import Rm3Feedback as Rm3

    feedback: list[Feedback] = []
    tables = config.retrieval.feedback
    for table in tables:
        if isinstance(table, Rm3Feedback):
            if lexical is not None:
                feedback.append(Rm3(lexical, table.depth, table.terms, table.original_weight))
        elif isinstance(table, LolFeedback):
            feedback += _of_model(table, config, dense, lexical, fingerprints)
        elif table.kind != "none" and dense is not None:
            feedback.append(_of_vectors(table, dense))
    _check_twice(tables, feedback)
    if not feedback:
        return retriever
    return FeedbackRetriever(retriever, feedback, list if dense is None else dense.with_vectors)


def _check_twice(tables: Sequence[FeedbackTable], feedback: Sequence[Feedback]) -> None:
    """Settings alone do not say what a trained model revises."""
    from ragkit.retrievers.feedback.rm3 import Rm3Feedback as Rm3
    from ragkit.retrievers.feedback.term_feedback import TermFeedback

    num_of_terms = sum(isinstance(one, Rm3 | TermFeedback) for one in feedback)
    for number, what in ((num_of_terms, "terms"), (len(feedback) - num_of_terms, "vectors")):
        if number > 1:
            named = (table.model if isinstance(table, LolFeedback) else table.kind for table in tables)
            raise ConfigError(f"feedback by {' and '.join(named)} would revise {what} twice; keep one")


def _of_vectors(table: AverageFeedback | RocchioFeedback, dense: DenseRetriever) -> Feedback:
    from ragkit.retrievers.feedback.vector_feedback import LastHits, Shares, VectorFeedback, average

    revised = partial(VectorFeedback, dense.index, dense.embedder.metric)
    if isinstance(table, AverageFeedback):
        return revised(average, table.depth)
    shares = Shares(table.alpha, table.beta, table.gamma)
    last = LastHits(table.bottom, table.pool) if table.bottom else None
    return revised(lambda _: shares, table.depth, last)


def _of_model(
    table: LolFeedback,
    config: Config,
    dense: DenseRetriever | None,
    lexical: LexicalIndex | None,
    fingerprints: Collection[str],
) -> list[Feedback]:
    """By the trained model; none where it revises what another route searches."""
    from ragkit.retrievers.feedback.load_reformulator import load_reformulator
    from ragkit.retrievers.feedback.reformulator_feedback import ReformulatorFeedback
    from ragkit.retrievers.feedback.term_feedback import TermFeedback
    from ragkit.retrievers.feedback.term_reformulator import TermReformulator

    placed = partial(choose_placement, config.embedder.device, config.embedder.dtype)
    model = load_reformulator(Path(table.model), placed)
    if isinstance(model, TermReformulator):
        if lexical is None:
            return _without_terms(table, config)
        if lexical.language != model.language:
            raise ConfigError(
                f"{table.model} weighs terms of the language {model.language!r}, and those of this corpus are of "
                f"{lexical.language!r}; train one for it: ragkit train lol --reformulator sparse"
            )
        return [TermFeedback(model, lexical, table.depth, table.guard)]
    if dense is None and not fingerprints:
        raise ConfigError(
            f"{table.model} revises vectors and none are searched; set retrieval.method to 'dense' or 'hybrid'"
        )
    if model.fingerprint not in fingerprints:
        raise ConfigError(
            f"{table.model} revises vectors of the embedder {model.fingerprint}, and this corpus has those of "
            f"{' and '.join(fingerprints)}; train one for it: ragkit train lol"
        )
    if dense is None or model.fingerprint != dense.embedder.fingerprint:
        return []
    return [ReformulatorFeedback(model, dense.index, table.depth, table.guard)]


def _without_terms(table: LolFeedback, config: Config) -> list[Feedback]:
    """None, where it is the pictures of a corpus whose texts are searched by their terms."""
    if config.pages.embed == "image":
        raise ConfigError(
            f"{table.model} revises terms, and this corpus holds page pictures alone; take a model of their "
            "vectors: ragkit train lol --reformulator vector"
        )
    if config.retrieval.method == "dense":
        raise ConfigError(
            f"{table.model} revises terms and none are searched; set retrieval.method to 'bm25' or 'hybrid'"
        )
    return []
