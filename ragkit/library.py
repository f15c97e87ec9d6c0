"""The corpora a server answers from."""

from __future__ import annotations

from collections.abc import Sequence

from ragkit.corpus import Corpus
from ragkit.errors import ConfigError
from ragkit.protocols import ServedCorpus


class FolderLibrary:
    """A `CorpusLibrary` over opened corpora; each is called by its folder's name."""

    def __init__(self, corpora: Sequence[Corpus]) -> None:
        self._corpora: dict[str, Corpus] = {}
        for corpus in corpora:
            if corpus.name in self._corpora:
                first = self._corpora[corpus.name].path
                raise ConfigError(
                    f"{first} and {corpus.path} have the same name {corpus.name!r}; rename one folder"
                )
            self._corpora[corpus.name] = corpus

    def names(self) -> list[str]:
        """In the order the corpora were given."""
        return list(self._corpora)

    def corpus(self, name: str) -> ServedCorpus:
        """Raises KeyError where there is no corpus of that name."""
        return self._corpora[name]
