"""Teachers by the names that commands take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ragkit import assemble
from ragkit.config import Config, RerankConfig
from ragkit.errors import ConfigError
from ragkit.protocols import Engine
from ragkit.retrievers.training.teachers import EmbedderTeacher, RerankerTeacher, Teacher

RETRIEVER, RERANKER = "retriever", "reranker"
_KNOWN = "retriever, cross-encoder:NAME, embedder:NAME or reranker"


def make_teachers(names: Sequence[str], config: Config, pictures: Path) -> list[Teacher]:
    """Those that are models: all but "retriever", which stands for the scores of the ranking.

    Args:
        pictures: the folder that pictures' paths start from.

    Raises:
        ConfigError: a name is not known, stands twice, or its model cannot be loaded.
    """
    if len(set(names)) < len(names):
        raise ConfigError(f"a teacher is named twice: {', '.join(names)}")
    return [_teacher(name, config, pictures) for name in names if name != RETRIEVER]


def _teacher(name: str, config: Config, pictures: Path) -> Teacher:
    kind, _, model = name.partition(":")

    def engine() -> Engine:
        return assemble.make_engine(config, None)

    if name == RERANKER:
        reranker = assemble.make_reranker(config, engine)
        if reranker is None:
            raise ConfigError('teacher "reranker" is the one of the settings, and [rerank] kind is "none"')
        return RerankerTeacher(name, reranker, pictures)
    if kind == "embedder" and model:
        return EmbedderTeacher(name, assemble.make_other_embedder(model, config.embedder), pictures)
    if kind == "cross-encoder" and model:
        named = RerankConfig(kind="cross-encoder", model=model)
        reranker = assemble.make_reranker(config.model_copy(update={"rerank": named}), engine)
        assert reranker is not None, "a kind is named"
        return RerankerTeacher(name, reranker, pictures)
    raise ConfigError(f"teacher {name!r}; give {_KNOWN}")
