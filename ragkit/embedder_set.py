"""The embedders of a corpus: loaded when asked for, checked against what it was made with."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from ragkit import assemble
from ragkit.assemble import EmbedderFactory
from ragkit.config import Config, EmbedderConfig
from ragkit.errors import ConfigError, CorpusError
from ragkit.indexers import kept_model
from ragkit.indexers.catalogue import Catalogue
from ragkit.indexers.embedder_record import EmbedderRecord, is_switched, text_embedders
from ragkit.indexers.embedders import Embedders
from ragkit.indexers.manifest import EmbedderFacts, Manifest, check_embedder
from ragkit.indexers.vectors.vector_shards import TEXTS, VectorSpace
from ragkit.protocols import Embedder, TokenEmbedder

_TEXTS, _PICTURES, _TOKENS = "text embedder", "page embedder", "late-interaction embedder"
_NOT_SWITCHED = "use the first, or make a new corpus"
_SWITCHED = (
    "it was switched to the first, which it finds by itself: open it without naming an embedder, or go back with "
    "ragkit train back"
)


class EmbedderSet:
    """Loads each embedder once; threads may share it. Each is None in a corpus that has no such vectors.

    Args:
        explicit: what of the configuration's table of the embedder of texts is not the corpus's own say.
        given: the user's own, in place of the configured ones.
        made_with: those that the corpus has just been made with.
        make: what makes embedders of texts.

    Asking for one raises CorpusError where it is not the one that made the corpus's vectors.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        manifest: Manifest,
        config: Config,
        explicit: Mapping[str, Any],
        given: Embedders,
        made_with: Embedders | None,
        make: EmbedderFactory | None = None,
    ) -> None:
        self.given = given
        self._make = make or assemble.make_embedder
        self._path = catalogue.folder
        self._catalogue = catalogue
        self._manifest = manifest
        self._config = config
        self._explicit = dict(explicit)
        self._lock = threading.RLock()
        self._loaded: dict[str, Any] = {}
        self._texts: dict[str, Embedder] = {}
        if made_with is not None:
            self._loaded = {_PICTURES: made_with.pictures, _TOKENS: made_with.tokens}
            if made_with.texts is not None:
                self.adopt(made_with.texts)

    @property
    def named(self) -> str:
        """The embedder of texts that the configuration names; "" where it leaves that to the corpus."""
        return str(self._explicit.get("name", ""))

    @property
    def texts(self) -> Embedder | None:
        """Of pieces of text: the one of the state that this thread's reads see, for it can be switched."""
        record = text_embedders(self._catalogue, self._manifest).current
        if record is None:
            check_embedder(self._path, _TEXTS, None, self.given.texts)
            return None
        return self._of_record(record, self.given.texts)

    @property
    def has_texts(self) -> bool:
        """Whether the one in use is loaded, and so found to be what the corpus says."""
        record = text_embedders(self._catalogue, self._manifest).current
        return record is not None and record.facts.fingerprint in self._texts

    def known(self, record: EmbedderRecord) -> Embedder:
        """The embedder of a record, whatever the configuration names: that may be the one that follows it.

        Raises:
            CorpusError: its own settings name another one, or nothing does that is not the user's own.
        """
        given = self.given.texts
        if given is not None and given.fingerprint == record.facts.fingerprint:
            return self._of_record(record, given)
        try:
            return self._of_record(record, None)
        except CorpusError:
            if not self.named or "name" not in record.settings:
                raise
            return self._of_record(record, None, by_name=False)

    def _of_record(self, record: EmbedderRecord, given: Embedder | None, *, by_name: bool = True) -> Embedder:
        with self._lock:
            held = self._texts.get(record.facts.fingerprint)
            if held is None:
                held = given or self._made(record, by_name)
                if given is not None:
                    self._check(record, held)
            self.adopt(held)
            return held

    def _made(self, record: EmbedderRecord, by_name: bool) -> Embedder:
        """What the configuration makes of a record; where that fails for damaged files of its own, it says so."""
        try:
            made = self._make(self.config_of(record, by_name=by_name))
            self._check(record, made)
        except Exception as error:
            kept_model.check_sound(self._catalogue, record.folder, error)
            raise
        assert made is not None
        return made

    def _check(self, record: EmbedderRecord, embedder: Embedder | None) -> None:
        advice = _SWITCHED if is_switched(self._catalogue) else _NOT_SWITCHED
        check_embedder(self._path, _TEXTS, record.facts, embedder, advice)

    def adopt(self, embedder: Embedder) -> None:
        """Use it wherever the corpus says that one of its fingerprint made the vectors."""
        with self._lock:
            self._texts.pop(embedder.fingerprint, None)
            self._texts[embedder.fingerprint] = embedder
            # The one in use, and the one that states before or after the switch are searched with.
            while len(self._texts) > 2:
                del self._texts[next(iter(self._texts))]

    def config_of(self, record: EmbedderRecord, *, by_name: bool = True) -> Config:
        """The configuration that makes a remembered embedder of texts.

        by_name: by the name that the configuration has for it, if any.
        """
        table = {**record.settings, **self._explicit}
        if not by_name:
            table["name"] = record.settings["name"]
        if record.folder and table["name"] == record.folder:
            table["name"] = str(self._path / record.folder)
        return self._config.model_copy(update={"embedder": EmbedderConfig(**table)})

    @property
    def pictures(self) -> Embedder | None:
        """Of page pictures."""
        facts = self._manifest.page_embedder
        if facts is not None and self.given.pictures is None and not self._config.page_embedder.name:
            raise CorpusError(
                f"{self._path} was made with page embedder {facts.name!r} and is opened without one; give it as "
                "page_embedder, or name it: [page_embedder] name"
            )
        made: Embedder | None = self._one(
            _PICTURES, self._manifest.page_embedder, self.given.pictures, assemble.make_page_embedder
        )
        return made

    @property
    def tokens(self) -> TokenEmbedder | None:
        """Of the tokens of page pictures."""
        made: TokenEmbedder | None = self._one(
            _TOKENS, self._manifest.token_embedder, self.given.tokens, assemble.make_token_embedder
        )
        return made

    @property
    def all(self) -> Embedders:
        """All of them, loaded."""
        return Embedders(self.texts, self.pictures, self.tokens, self._config.late_interaction.dtype)

    def of(self, space: VectorSpace) -> Embedder | None:
        """The one that made the vectors of a space."""
        return self.texts if space is TEXTS else self.pictures

    def _one(
        self,
        what: str,
        facts: EmbedderFacts | None,
        given: Embedder | TokenEmbedder | None,
        make: Callable[[Config], Embedder | TokenEmbedder | None],
    ) -> Any:
        with self._lock:
            if what not in self._loaded:
                found = given if given is not None or facts is None else make(self._config)
                check_embedder(self._path, what, facts, found)
                self._loaded[what] = found
            return self._loaded[what]


def with_choices(config: Config, embed: str | None, model: str | None) -> Config:
    """The configuration with what the command line says: what of a page is embedded, and by which model.

    Raises:
        ConfigError: pictures alone are to be embedded, and the model reads none.
    """
    tables: dict[str, dict[str, object]] = {}
    if embed is not None:
        tables["pages"] = {"embed": embed}
    if model is not None:
        from ragkit.indexers.models.page_embedders import reads_images

        sees = model != assemble.NO_EMBEDDER and embed != "text" and reads_images(model)
        if embed == "image" and not sees:
            raise ConfigError(f"--pages image needs a model that reads images, and {model!r} reads text alone")
        tables["page_embedder" if sees else "embedder"] = {"name": model}
    changes = {name: getattr(config, name).model_copy(update=table) for name, table in tables.items()}
    return config.model_copy(update=changes)


def with_pages_decided(config: Config, given: Embedders) -> Config:
    """The configuration with `pages.embed` as "text", "image" or "both"."""
    if config.pages.embed != "auto":
        return config
    embed = "image" if config.page_embedder.name or given.pictures is not None else "text"
    return config.model_copy(update={"pages": config.pages.model_copy(update={"embed": embed})})


def make_embedders(config: Config, given: Embedders, make: EmbedderFactory | None = None) -> Embedders:
    """What a new corpus is made with; the user's own ones come first. make: as of `EmbedderSet`.

    Raises:
        ConfigError: pictures are to be embedded and nothing says by what, or an embedder is given
            that the corpus would not use.
    """
    embed = config.pages.embed
    if embed == "image" and given.texts is not None:
        raise ConfigError(
            "pages.embed = 'image' embeds no text, but an embedder of texts was given; "
            "one that reads page pictures is given as page_embedder"
        )
    if embed == "text" and (given.pictures is not None or given.tokens is not None):
        raise ConfigError("pages.embed = 'text' embeds no pictures, but a page embedder was given")
    texts = None if embed == "image" else given.texts or (make or assemble.make_embedder)(config)
    if embed == "text":
        return Embedders(texts)
    pictures = given.pictures or assemble.make_page_embedder(config)
    return Embedders(texts, pictures, given.tokens or assemble.make_token_embedder(config))
