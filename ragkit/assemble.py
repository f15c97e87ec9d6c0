"""The one table from a name in the configuration to what it stands for, imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragkit.assemble_feedback import add_feedback
from ragkit.config import Config, EmbedderConfig, GenerationConfig, RerankConfig, RetrievalConfig
from ragkit.devices import choose_placement
from ragkit.errors import ConfigError
from ragkit.feedback_config import OF_TERMS
from ragkit.protocols import (
    Embedder,
    Engine,
    LexicalIndex,
    PassageStore,
    Reranker,
    Retriever,
    TokenEmbedder,
    VectorIndex,
)
from ragkit.records import ImageLimits

if TYPE_CHECKING:
    from ragkit.indexers.models.text_embedder import TextEmbedder
    from ragkit.protocols import OcrEngine
    from ragkit.retrievers.hybrid import Fusion
    from ragkit.serve.engines.openai_engine import OpenAIEngine

NO_EMBEDDER = "none"
_ECHO_CONTEXT = 8192


@dataclass(frozen=True, slots=True)
class CorpusParts:
    """What a retriever can be made of.

    embedder and vectors are None in a corpus without vectors of texts, page_embedder and page_vectors in
    one without page pictures. late_interaction scores page pictures anew, where the corpus has token
    vectors. page_fusion: fitted weights of texts and pictures, where there are any.
    """

    store: PassageStore
    lexical: LexicalIndex
    embedder: Embedder | None
    vectors: VectorIndex | None
    page_embedder: Embedder | None = None
    page_vectors: VectorIndex | None = None
    late_interaction: Reranker | None = None
    page_fusion: Mapping[str, Any] | None = None


RetrieverFactory = Callable[[CorpusParts], Retriever]
EmbedderFactory = Callable[[Config], Embedder | None]


def make_embedder(config: Config) -> Embedder | None:
    """The embedder of the configuration; None for `embedder.name = "none"`."""
    return None if config.embedder.name == NO_EMBEDDER else make_text_embedder(config.embedder)


def make_text_embedder(settings: EmbedderConfig) -> TextEmbedder:
    """The text embedder of these settings, which name one."""
    from ragkit.indexers.models.text_embedder import TextEmbedder

    return TextEmbedder(
        settings.name,
        choose_placement(settings.device, settings.dtype),
        batch_tokens=settings.batch_tokens,
        query_prompt=settings.query_prompt,
        passage_prompt=settings.passage_prompt,
        trust_remote_code=settings.trust_remote_code,
    )


def make_ocr(config: Config) -> OcrEngine:
    """The OCR engine, for the languages of the configuration."""
    from ragkit.indexers.readers.ocr import RapidOcrEngine

    return RapidOcrEngine(config.documents.ocr_languages)


def make_page_embedder(config: Config) -> Embedder:
    """What embeds pages as pictures.

    Raises:
        ConfigError: none is named, or it cannot be loaded.
    """
    if not config.page_embedder.name:
        raise ConfigError(
            "pages are to be embedded as pictures, but no model is named for it; name one: "
            "--embedder openbmb/VisRAG-Ret, or [page_embedder] name"
        )
    from ragkit.indexers.models.page_embedders import make_page_embedder

    return make_page_embedder(config.page_embedder)


def make_token_embedder(config: Config) -> TokenEmbedder | None:
    """The late-interaction model of the configuration; None for `late_interaction.name = "none"`."""
    settings = config.late_interaction
    if settings.name == NO_EMBEDDER:
        return None
    from ragkit.indexers.models.token_embedder import make_token_embedder

    return make_token_embedder(settings)


def make_retriever(config: Config, parts: CorpusParts) -> Retriever:
    """The retriever of the configuration: over texts, over page pictures, or over both.

    Raises:
        ConfigError: it needs vectors and the corpus has none.
    """
    routes = make_routes(config, parts)
    if len(routes) == 1:
        return next(iter(routes.values()))
    if parts.page_fusion is not None and config.retrieval.page_fusion == "auto":
        from ragkit.retrievers.page_fusion_weights import PageFusionWeights

        return PageFusionWeights.from_json(parts.page_fusion).retriever(routes)
    from ragkit.retrievers.fusion import reciprocal_rank_fusion
    from ragkit.retrievers.page_fusion import PageFusionRetriever

    return PageFusionRetriever(
        routes, partial(reciprocal_rank_fusion, k=config.retrieval.rrf_k), config.retrieval.depth
    )


def make_routes(config: Config, parts: CorpusParts) -> dict[str, Retriever]:
    """The ways to search this corpus: "text", "image", or both of them."""
    embed = config.pages.embed
    routes: dict[str, Retriever] = {}
    if embed != "image":
        routes["text"] = _text_retriever(config, parts)
    if embed in ("image", "both"):
        routes["image"] = _picture_retriever(config, parts)
    return routes


def _picture_retriever(config: Config, parts: CorpusParts) -> Retriever:
    from ragkit.retrievers.dense import DenseRetriever
    from ragkit.retrievers.reranking import RescoringRetriever

    if config.pages.embed == "image" and config.retrieval.method == "bm25":
        raise ConfigError("retrieval.method = 'bm25' needs text, and this corpus holds page pictures alone")
    if config.pages.embed == "image" and any(table.kind in OF_TERMS for table in config.retrieval.feedback):
        raise ConfigError(
            "retrieval.feedback of kind 'rm3' revises terms, and this corpus holds page pictures alone; "
            "take a kind of vectors: average, rocchio, lol"
        )
    assert parts.page_embedder is not None, "a corpus of pictures has their embedder"
    assert parts.page_vectors is not None, "a corpus of pictures has their vectors"
    dense = DenseRetriever(parts.store, parts.page_embedder, parts.page_vectors, reads_images=True)
    revised = add_feedback(dense, config, dense, None, _fingerprints(parts))
    if parts.late_interaction is None:
        return revised
    return RescoringRetriever(revised, parts.late_interaction, config.late_interaction.depth)


def _text_retriever(config: Config, parts: CorpusParts) -> Retriever:
    from ragkit.retrievers.bm25 import Bm25Retriever
    from ragkit.retrievers.dense import DenseRetriever
    from ragkit.retrievers.hybrid import HybridRetriever

    method = config.retrieval.method
    bm25 = Bm25Retriever(parts.store, parts.lexical)
    if method == "bm25":
        return add_feedback(bm25, config, None, parts.lexical)
    if parts.embedder is None or parts.vectors is None:
        raise ConfigError(
            f"retrieval.method = {method!r} needs vectors and this corpus has none (embedder.name = 'none'); "
            "set retrieval.method = 'bm25', or make a new corpus with an embedder"
        )
    dense = DenseRetriever(parts.store, parts.embedder, parts.vectors)
    if method == "dense":
        return add_feedback(dense, config, dense, None, _fingerprints(parts))
    hybrid = HybridRetriever(parts.store, [dense, bm25], _fusion(config.retrieval), config.retrieval.depth)
    return add_feedback(hybrid, config, dense, parts.lexical, _fingerprints(parts))


def _fingerprints(parts: CorpusParts) -> list[str]:
    return [embedder.fingerprint for embedder in (parts.embedder, parts.page_embedder) if embedder is not None]


def _fusion(settings: RetrievalConfig) -> Fusion:
    from ragkit.retrievers.fusion import reciprocal_rank_fusion, weighted_score_fusion

    if settings.fusion == "rrf":
        return partial(reciprocal_rank_fusion, k=settings.rrf_k)
    # BM25's scale begins at 0, what a passage without a shared term scores; cosines have no such bottom.
    weights = (settings.dense_weight, 1 - settings.dense_weight)
    return partial(weighted_score_fusion, weights=weights, floors=(None, 0.0))


def make_reranker(config: Config, engine: Callable[[], Engine]) -> Reranker | None:
    """The reranker of the configuration; None for kind "none".

    engine: of the configuration, asked for where it is what reranks.

    Raises:
        ConfigError: it lacks its model, or is given one that it does not use.
    """
    settings = config.rerank
    if settings.kind == "none":
        return None
    if settings.asks_engine:
        return _llm_reranker(settings, engine)
    if settings.kind == "remote":
        from ragkit.retrievers.remote_reranker import RemoteReranker

        return RemoteReranker(
            settings.url,
            model=settings.model,
            api_key_env=settings.api_key_env,
            timeout_s=settings.timeout_s,
        )
    return _model_reranker(config)


def rerank_weight(config: Config) -> float:
    """Of the reranker beside the retriever: the setting, or what is kept beside a model in a folder, or 1.

    Raises:
        ConfigError: what is kept there cannot be read.
    """
    from ragkit.retrievers.interpolation import stored_weight

    if config.rerank.weight is not None:
        return config.rerank.weight
    folder = weight_folder(config.rerank)
    return 1.0 if folder is None else stored_weight(folder)


def weight_folder(settings: RerankConfig) -> Path | None:
    """Where a reranker's weight is kept: with a model that runs here and is a folder."""
    runs_here = settings.kind in ("cross-encoder", "embedder") and settings.model
    return Path(settings.model) if runs_here and Path(settings.model).is_dir() else None


def _model_reranker(config: Config) -> Reranker:
    settings = config.rerank
    if not settings.model:
        raise ConfigError(f"rerank.kind = {settings.kind!r} needs rerank.model: a hub name or a folder")
    if settings.kind == "embedder":
        from ragkit.retrievers.embedder_reranker import EmbedderReranker

        return EmbedderReranker(settings.model, make_other_embedder(settings.model, config.embedder))
    from ragkit.retrievers.cross_encoder import CrossEncoderReranker

    placement = choose_placement(config.embedder.device, config.embedder.dtype)
    return CrossEncoderReranker(settings.model, placement)


def make_other_embedder(name: str, own: EmbedderConfig) -> Embedder:
    """Run as the configuration's own, with the prompts that the model brings, and without code of its own."""
    if name != own.name:
        foreign = {"name": name, "query_prompt": None, "passage_prompt": None, "trust_remote_code": False}
        own = own.model_copy(update=foreign)
    return make_text_embedder(own)


def _llm_reranker(settings: RerankConfig, engine: Callable[[], Engine]) -> Reranker:
    if settings.model or settings.url:
        raise ConfigError(
            f"rerank.kind = {settings.kind!r} asks the engine of [generation]; clear rerank.model "
            f"({settings.model!r}) and rerank.url ({settings.url!r})"
        )
    if settings.kind == "llm-listwise":
        from ragkit.retrievers.listwise_reranker import ListwiseReranker

        return ListwiseReranker(engine())
    from ragkit.retrievers.yes_reranker import YesReranker

    return YesReranker(engine())


def make_engine(config: Config, embedder: Embedder | None) -> Engine:
    """The engine of the configuration.

    Raises:
        ConfigError: an engine lacks its model or url.
    """
    settings = config.generation
    if settings.engine == "extractive":
        from ragkit.serve.engines.extractive_engine import ExtractiveEngine

        return ExtractiveEngine(embedder)
    if settings.engine == "echo":
        from ragkit.serve.engines.echo_engine import EchoEngine

        return EchoEngine(context_tokens=settings.context_tokens or _ECHO_CONTEXT)
    if settings.engine == "openai":
        return make_openai_engine(settings)
    if settings.engine == "vllm":
        return _vllm_engine(settings)
    placement = choose_placement(config.embedder.device, config.embedder.dtype)
    if settings.engine == "smollm2":
        from ragkit.serve.engines.smollm2 import load_smollm2

        return load_smollm2(placement=placement)
    from ragkit.serve.engines.transformers_engine import DEFAULT_LIMITS, TransformersEngine

    if not settings.model:
        raise ConfigError("generation.engine = 'transformers' needs generation.model: a hub name or a folder")
    limits = ImageLimits(settings.max_images or DEFAULT_LIMITS.max_images, settings.max_pixels)
    return TransformersEngine(settings.model, placement, image_limits=limits)


def make_openai_engine(settings: GenerationConfig, api_key: str = "") -> OpenAIEngine:
    """An engine that asks the server at the settings' url. api_key: in place of the environment's."""
    from ragkit.serve.engines.circuit_breaker import CircuitBreaker
    from ragkit.serve.engines.openai_engine import OpenAIEngine

    if not settings.url or not settings.model:
        raise ConfigError(
            f"generation.engine = 'openai' needs generation.url (now {settings.url!r}) "
            f"and generation.model (now {settings.model!r})"
        )
    return OpenAIEngine(
        settings.url,
        settings.model,
        api_key_env=settings.api_key_env,
        api_key=api_key,
        context_tokens=settings.context_tokens,
        timeout_s=settings.timeout_s,
        connect_timeout_s=settings.connect_timeout_s,
        retries=settings.retries,
        breaker=CircuitBreaker(settings.breaker_failures, settings.breaker_s),
        image_limits=ImageLimits(settings.max_images, settings.max_pixels) if settings.max_images else None,
    )


def _vllm_engine(settings: GenerationConfig) -> Engine:
    from ragkit.serve.engines.vllm_engine import VllmEngine

    if not settings.model:
        raise ConfigError("generation.engine = 'vllm' needs generation.model: a hub name or a folder")
    limits = ImageLimits(settings.max_images, settings.max_pixels) if settings.max_images else None
    return VllmEngine(settings.model, settings.vllm_args, image_limits=limits)
