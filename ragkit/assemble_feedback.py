"""From the settings of feedback to retrievers that search twice. Used by `ragkit.assemble`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ragkit.errors import ConfigError
from ragkit.feedback_config import AverageFeedback, FeedbackTable, LolFeedback, Rm3Feedback, RocchioFeedback
from ragkit.protocols import Feedback, LexicalIndex, Retriever

if TYPE_CHECKING:
    from ragkit.retrievers.dense import DenseRetriever
    from ragkit.retrievers.feedback.reformulator import Reformulator


def add_feedback(
    retriever: Retriever,
    tables: Sequence[FeedbackTable],
    dense: DenseRetriever | None = None,
    lexical: LexicalIndex | None = None,
    fingerprints: Collection[str] = (),
) -> Retriever:
    """The retriever in two passes, by the feedback that it has something to revise for; as it is without any.

    Args:
        dense, lexical: what it searches vectors and terms with.
        fingerprints: of the corpus's embedders: a trained model that belongs to another route's is left to that.

    Raises:
        ConfigError: a trained model belongs to none of them, or is of the wrong kind.
    """
    from ragkit.retrievers.feedback.feedback_retriever import FeedbackRetriever
    from ragkit.retrievers.feedback.rm3 import Rm3Feedback as Rm3

    feedback: list[Feedback] = []
    for table in tables:
        if isinstance(table, Rm3Feedback):
            if lexical is not None:
                feedback.append(Rm3(lexical, table.depth, table.terms, table.original_weight))
        elif isinstance(table, LolFeedback):
            model = _load(table, fingerprints)
            if dense is not None and model.fingerprint == dense.embedder.fingerprint:
                feedback.append(_of_model(table, model, dense))
        elif table.kind != "none" and dense is not None:
            feedback.append(_of_vectors(table, dense))
    if not feedback:
        return retriever
    return FeedbackRetriever(retriever, feedback, list if dense is None else dense.with_vectors)


def _of_vectors(table: AverageFeedback | RocchioFeedback, dense: DenseRetriever) -> Feedback:
    from ragkit.retrievers.feedback.vector_feedback import LastHits, Shares, VectorFeedback, average

    revised = partial(VectorFeedback, dense.index, dense.embedder.metric)
    if isinstance(table, AverageFeedback):
        return revised(average, table.depth)
    shares = Shares(table.alpha, table.beta, table.gamma)
    last = LastHits(table.bottom, table.pool) if table.bottom else None
    return revised(lambda _: shares, table.depth, last)


def _load(table: LolFeedback, fingerprints: Collection[str]) -> Reformulator:
    from ragkit.retrievers.feedback.load_reformulator import load_reformulator

    model: Reformulator = load_reformulator(Path(table.model))
    if model.kind == "sparse":
        raise ConfigError(
            f"{table.model} is a sparse reformulator, and corpora have no index of term weights; "
            "take one of the kinds dense or vector"
        )
    if model.fingerprint not in fingerprints:
        raise ConfigError(
            f"{table.model} revises vectors of the embedder {model.fingerprint}, and this corpus has those of "
            f"{' and '.join(fingerprints)}; train one for it: ragkit train lol"
        )
    return model


def _of_model(table: LolFeedback, model: Reformulator, dense: DenseRetriever) -> Feedback:
    from ragkit.retrievers.feedback.reformulator import GuardedReformulator
    from ragkit.retrievers.feedback.reformulator_feedback import ReformulatorFeedback

    if not table.guard:
        return ReformulatorFeedback(model, dense.index, table.depth)
    if not isinstance(model, GuardedReformulator):
        raise ConfigError(f"retrieval.feedback has guard = true, and {table.model} was trained without a guard")
    return ReformulatorFeedback(model, dense.index, table.depth, model)
