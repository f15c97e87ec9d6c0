"""What a corpus remembers of the settings it was made with, and how they join those it is opened with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ragkit import assemble
from ragkit.config import Config, load_config, parse_config
from ragkit.errors import ConfigError, CorpusDamagedError, CorpusError
from ragkit.indexers import manifest
from ragkit.indexers.embedders import Embedders

# Tables of the configuration that decide what is in a corpus: remembered by it, and used again.
_REMEMBERED = (
    "documents", "passages", "embedder", "pages", "page_embedder", "late_interaction", "lexical", "index",
)  # fmt: skip
# Of these tables, what depends on the machine or changes nothing that is stored.
_NOT_REMEMBERED = {
    "embedder": {"device", "dtype", "batch_tokens"},
    "pages": {"render_processes"},
    "page_embedder": {"device", "dtype", "batch_pages"},
    "late_interaction": {"device", "depth"},
    "index": {"device", "memory_mb"},
}


def remembered(config: Config, made: manifest.Manifest, given: Embedders) -> dict[str, Any]:
    """Tables to write down. given: the user's own embedders, which no name stands for."""
    tables = {name: getattr(config, name).model_dump(mode="json") for name in _REMEMBERED}
    tables = {name: _without(table, _NOT_REMEMBERED.get(name, set())) for name, table in tables.items()}
    for name, facts, own in (
        ("embedder", made.embedder, given.texts),
        ("page_embedder", made.page_embedder, given.pictures),
        ("late_interaction", made.token_embedder, given.tokens),
    ):
        if own is not None or (facts is None and name == "page_embedder"):
            tables[name] = {key: value for key, value in tables[name].items() if key == "dtype"}
        elif facts is None:
            tables[name] = {"name": assemble.NO_EMBEDDER}
    return tables


def remembered_embedder(config: Config) -> dict[str, Any]:
    """The table of the embedder of texts to write down."""
    return _without(config.embedder.model_dump(mode="json"), _NOT_REMEMBERED["embedder"])


def as_config(config: Config | dict[str, Any] | str | Path | None) -> Config:
    """A `Config`, its tables as a dict, or the path of a TOML file; None gives the defaults."""
    if isinstance(config, Config):
        return config
    return parse_config(config) if isinstance(config, dict) else load_config(Path(config) if config else None)


def _without(table: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if key not in names}


def with_remembered(path: Path, config: Config, stored: dict[str, Any], made: manifest.Manifest) -> Config:
    """The configuration with the corpus's own settings wherever it does not say otherwise."""
    try:
        parse_config({name: stored[name] for name in _REMEMBERED if name in stored})
    except ConfigError as error:
        raise CorpusDamagedError(
            f"the settings that {path} remembers are damaged ({error}); restore it from a backup, or index into a "
            "new corpus"
        ) from error
    given = config.model_dump(exclude_unset=True)
    if config.pages.embed == "auto":
        given["pages"] = _without(given.get("pages", {}), {"embed"})
    _refuse_other_contents(path, given, stored, made)
    embed = stored.get("pages", {}).get("embed", config.pages.embed)
    if made.embedder is None and embed != "image":
        given["retrieval"] = {"method": "bm25", **given.get("retrieval", {})}
    tables = {name: {**stored.get(name, {}), **given.get(name, {})} for name in _REMEMBERED}
    return parse_config({**given, **tables})


def _refuse_other_contents(
    path: Path, given: dict[str, Any], stored: dict[str, Any], made: manifest.Manifest
) -> None:
    """Raises CorpusError where the configuration asks for what this corpus was not made to hold."""
    for table, name in (("pages", "embed"), ("late_interaction", "dtype")):
        wanted, found = given.get(table, {}).get(name), stored.get(table, {}).get(name)
        if None not in (wanted, found) and wanted != found:
            raise CorpusError(
                f"{path} was made with {table}.{name} = {found!r} and is opened with {wanted!r}; "
                "open it as it was made, or make a new corpus"
            )
    for table, facts in (("page_embedder", made.page_embedder), ("late_interaction", made.token_embedder)):
        named = given.get(table, {}).get("name", "")
        if stored and facts is None and named not in ("", assemble.NO_EMBEDDER):
            raise CorpusError(
                f"{path} was made without {table.replace('_', ' ')}, and the settings name {named!r}; "
                "make a new corpus for it"
            )
