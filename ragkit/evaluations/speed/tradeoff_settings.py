"""Settings of the variants of a trade-off sweep, and what cannot be swept with the given ones."""

from __future__ import annotations

from dataclasses import replace

from ragkit.config import Config
from ragkit.corpus import Corpus
from ragkit.errors import ConfigError
from ragkit.eval.speed.tradeoff import TradeoffPlan, Variant
from ragkit.indexers.vectors.index_kinds import check_kind


def with_token_vectors(plan: TradeoffPlan, config: Config) -> TradeoffPlan:
    """The settings' own type and pooling where the corpus has token vectors and no others are asked for.

    Raises:
        ConfigError: there are none, and they are asked for; or nothing searches vectors at all.
    """
    settings = config.late_interaction
    if config.retrieval.method == "bm25" and config.pages.embed in ("auto", "text"):
        raise ConfigError('retrieval.method = "bm25" searches no vectors, so there is nothing to sweep')
    if settings.name == "none":
        if plan.token_dtypes or plan.pool_factors:
            raise ConfigError(
                "--dtype and --pooling are of token vectors, and late_interaction.name is none: name a "
                "late-interaction model, or sweep kinds of index alone"
            )
        return plan
    return replace(
        plan,
        token_dtypes=plan.token_dtypes or (settings.dtype,),
        pool_factors=plan.pool_factors or (settings.pool_factor,),
    )


def settings_of(config: Config, variant: Variant) -> Config:
    """Every shard gets the variant's index, however few vectors it has."""
    index = config.index.model_copy(update={"kind": variant.kind, "min_vectors": 1})
    return with_tokens(config, variant).model_copy(update={"index": index})


def with_tokens(config: Config, variant: Variant) -> Config:
    """What the variant's corpus is copied from: its index is the settings' own."""
    if variant.token_dtype is None:
        return config
    late = {"dtype": variant.token_dtype, "pool_factor": variant.pool_factor}
    return config.model_copy(update={"late_interaction": config.late_interaction.model_copy(update=late)})


def check_kinds(corpus: Corpus, plan: TradeoffPlan) -> None:
    """Raises ConfigError where the corpus has no vectors, or a kind of index is unknown."""
    made_by = corpus.manifest.embedder or corpus.manifest.page_embedder
    if made_by is None:
        raise ConfigError('embedder.name = "none": the corpus has no vectors, so there is nothing to sweep')
    for kind in plan.kinds:
        check_kind(kind, made_by.dim)
