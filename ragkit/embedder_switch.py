"""Switching a corpus to a trained embedder of texts, and back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ragkit import assemble
from ragkit.config import Config
from ragkit.corpus_settings import remembered_embedder
from ragkit.embedder_set import EmbedderSet
from ragkit.errors import ConfigError, CorpusError
from ragkit.feedback_config import LolFeedback
from ragkit.indexers import kept_model
from ragkit.indexers.catalogue import Catalogue
from ragkit.indexers.embedder_record import EmbedderRecord, text_embedders
from ragkit.indexers.manifest import EmbedderFacts, Manifest, facts_of
from ragkit.indexers.reembed import Reembedding
from ragkit.indexers.shards import sweep
from ragkit.indexers.split import WordTokenizer
from ragkit.indexers.unfinished_vectors import drop_unfinished_vectors
from ragkit.indexers.vectors.index_kinds import choose_index
from ragkit.protocols import Embedder, Tokenizer

Tell = Callable[[int, int], None]


@dataclass(slots=True)
class SwitchReport:
    """embedder: in use now. former: in use before; None where nothing was switched, for that was so already.

    num_passages: of text. num_embedded: those of them that had no vectors of this embedder yet.
    """

    embedder: EmbedderFacts
    former: EmbedderFacts | None
    num_passages: int = 0
    num_embedded: int = 0
    generation: int = 0
    seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)


class EmbedderSwitch:
    """One switch of a corpus. The caller holds the writer's lock, and brings the indexes up to date afterwards.

    made: what manifest.json says. tell: called with how many passages are embedded, of how many.
    """

    def __init__(
        self, catalogue: Catalogue, made: Manifest, config: Config, embedders: EmbedderSet, tell: Tell
    ) -> None:
        self._corpus = catalogue.folder
        self._catalogue = catalogue
        self._made = made
        self._config = config
        self._embedders = embedders
        self._tell = tell
        self._started = time.monotonic()

    def to(self, model: Path | Embedder) -> SwitchReport:
        """Embed all texts by the model in a folder, or by a user's own embedder, and use it from then on.

        Raises:
            DataError: there is no such folder, or its weights are no safetensors.
            ConfigError: the model cannot be loaded, or reads more or fewer tokens than passages were split to.
            CorpusError: the corpus has no vectors of texts, or the embedder in use cannot be had.
        """
        before = text_embedders(self._catalogue, self._made)
        if before.current is None:
            raise CorpusError(
                f"{self._corpus} was made without an embedder of texts; make a new corpus with this one"
            )
        sweep(self._corpus, self._catalogue)
        embedder = self._load(model, before.current) if isinstance(model, Path) else model
        facts = facts_of(embedder)
        assert facts is not None
        if facts.fingerprint == before.current.facts.fingerprint:
            return self._already(before.current, model)
        self._check_fits(self._embedders.known(before.current), embedder)
        former = before.former
        if former is not None and former.facts.fingerprint == facts.fingerprint:
            self._restore(former, model)
            record = former
        else:
            record = self._record(model, facts, before.current)
        report = self._switch(record, lambda: embedder, before.current, model)
        self._embedders.adopt(embedder)
        return report

    def back(self) -> SwitchReport:
        """Use the former embedder again; the one in use becomes the former one.

        Raises:
            CorpusError: there is none, or it cannot be had and passages are to be embedded by it.
        """
        before = text_embedders(self._catalogue, self._made)
        if before.former is None or before.current is None:
            raise CorpusError(
                f"{self._corpus} has no former embedder to go back to; switch to one: ragkit train accept MODEL"
            )
        sweep(self._corpus, self._catalogue)
        former = before.former
        return self._switch(former, lambda: self._embedders.known(former), before.current)

    def _load(self, folder: Path, current: EmbedderRecord) -> Embedder:
        """With the prompts of the embedder in use, where the corpus's settings say some."""
        kept_model.check_keepable(folder)
        config = self._embedders.config_of(current)
        named = config.embedder.model_copy(update={"name": str(folder)})
        made = assemble.make_embedder(config.model_copy(update={"embedder": named}))
        assert made is not None
        return made

    def _record(self, model: Path | Embedder, facts: EmbedderFacts, current: EmbedderRecord) -> EmbedderRecord:
        """How the corpus remembers an embedder that is new to it; a model's files are copied into it."""
        if not isinstance(model, Path):
            return EmbedderRecord(facts, {})
        folder = kept_model.keep_model(self._corpus, model, facts.fingerprint)
        said = EmbedderFacts(folder, facts.fingerprint, facts.dim, facts.metric, facts.device, facts.dtype)
        settings = {**remembered_embedder(self._embedders.config_of(current)), "name": folder}
        return EmbedderRecord(said, settings, folder)

    def _already(self, current: EmbedderRecord, model: Path | Embedder) -> SwitchReport:
        self._restore(current, model)
        drop_unfinished_vectors(self._corpus)
        return SwitchReport(current.facts, None, generation=self._catalogue.generation)

    def _restore(self, known: EmbedderRecord, model: Path | Embedder) -> None:
        """Files of a kept model that are lost or damaged are had again from where it came from."""
        if not (known.folder and isinstance(model, Path)):
            return
        files = kept_model.files_of(self._catalogue, known.folder)
        changed = kept_model.restore_model(self._corpus, model, known.folder, files)
        if changed:
            paths = {file.path for file in changed}
            with self._catalogue.transaction():
                self._catalogue.drop_files([file for file in files if file.path in paths])
                for file in changed:
                    self._catalogue.add_file(file)

    def _check_fits(self, current: Embedder, embedder: Embedder) -> None:
        """Before any work: whether the index can be had, and passages are as long as the embedder reads."""
        choose_index(self._config.index, 0, embedder.dim, 0)
        wanted = self._config.passages.max_tokens
        old, new = (min(wanted or own, own) for own in (_tokens_read(current), _tokens_read(embedder)))
        if old != new:
            raise ConfigError(
                f"passages of {self._corpus} have up to {old} tokens, and with this embedder they would have "
                f"up to {new}; take one that reads as many, or index into a new corpus with it"
            )

    def _switch(
        self,
        target: EmbedderRecord,
        load: Callable[[], Embedder],
        old: EmbedderRecord,
        model: Path | Embedder | None = None,
    ) -> SwitchReport:
        index = self._config.index
        done = Reembedding(self._catalogue, self._made, index, target, load, self._tell).run()
        return SwitchReport(
            target.facts,
            old.facts,
            done.num_passages,
            done.num_embedded,
            self._catalogue.generation,
            round(time.monotonic() - self._started, 2),
            [*done.problems, *self._warnings(target, model)],
        )

    def _warnings(self, target: EmbedderRecord, model: Path | Embedder | None) -> Iterator[str]:
        """What of the settings was made for the former embedder."""
        if self._catalogue.settings.get("page_fusion") is not None:
            yield (
                "the weights of texts and pictures were fitted with the former embedder: fit them again by ragkit "
                "train fusion"
            )
        named, own = self._embedders.named, target.settings.get("name")
        if named and own and named != own and Path(named).resolve() != Path(str(model)).resolve():
            yield (
                f"the configuration names the embedder {named!r}, so that searches with it are refused from now "
                "on: take embedder.name out of it, for the corpus finds its own"
            )
        for table in self._config.retrieval.feedback:
            if isinstance(table, LolFeedback):
                yield (
                    f"retrieval.feedback has the model {table.model!r}: was it trained for the former embedder, "
                    "searches with it are refused from now on; train one for the new: ragkit train lol"
                )


def _tokens_read(embedder: Embedder | None) -> int:
    return (embedder if isinstance(embedder, Tokenizer) else WordTokenizer()).max_tokens
