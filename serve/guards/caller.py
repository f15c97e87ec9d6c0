"""Who asks, and which corpora that key may see."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

from ragkit.protocols import CorpusLibrary, ServedCorpus


@dataclass(frozen=True, slots=True)
class Caller:
    """name: of the API key; "" where the server has none. corpora: what it may see; None stands for everything."""

    name: str = ""
    corpora: frozenset[str] | None = None

    def sees(self, corpus: str) -> bool:
        """Whether the key may ask and search the corpus or vector store of that name or id."""
        return self.corpora is None or corpus in self.corpora

    @property
    def sees_all(self) -> bool:
        """Whether nothing is kept from the key; only such keys change files and vector stores."""
        return self.corpora is None


# Where the server has no keys, and where it works for itself.
ANYONE = Caller()
# Whoever has no key and asks for what needs none.
NOBODY = Caller(corpora=frozenset())
_current: ContextVar[Caller | None] = ContextVar("ragkit_caller", default=None)


def current_caller() -> Caller:
    """Who sent the request that is worked on; threads that asyncio starts for it know it too."""
    return _current.get() or ANYONE


def become(caller: Caller) -> None:
    """From here on the running task, and what it starts, works for this caller."""
    _current.set(caller)


class CallersLibrary:
    """A `CorpusLibrary` of which every request sees what its key allows: the rest is not there for it."""

    def __init__(self, library: CorpusLibrary) -> None:
        self._library = library

    def names(self) -> list[str]:
        """In the library's order."""
        caller = current_caller()
        return [name for name in self._library.names() if caller.sees(name)]

    def corpus(self, name: str) -> ServedCorpus:
        """Raises KeyError where there is no such corpus, and likewise where the key may not see it."""
        if not current_caller().sees(name):
            raise KeyError(name)
        return self._library.corpus(name)

    def at_hand(self, name: str) -> ServedCorpus | None:
        """As the library's, within what the key may see."""
        return self._library.at_hand(name) if current_caller().sees(name) else None
