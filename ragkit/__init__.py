"""Question answering over document collections, from page images and text alike.

from ragkit import Corpus

with Corpus.open("papers") as corpus:
    corpus.add("docs/")
    print(corpus.ask("What does the contract say about notice?").text)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ragkit.assemble import CorpusParts as CorpusParts
    from ragkit.config import Config as Config
    from ragkit.corpus import Corpus as Corpus
    from ragkit.errors import RagkitError as RagkitError
    from ragkit.filters import attribute as attribute
    from ragkit.records import Answer as Answer
    from ragkit.records import Citation as Citation
    from ragkit.records import Hit as Hit
    from ragkit.records import Passage as Passage
    from ragkit.records import Query as Query
    from ragkit.records import Sampling as Sampling
    from ragkit.records import TextRecord as TextRecord

__version__ = "0.1.0"

# Name -> the module it lives in, imported when the name is first used: `import ragkit` stays light.
_HOME = {
    "Answer": "ragkit.records",
    "Citation": "ragkit.records",
    "Config": "ragkit.config",
    "Corpus": "ragkit.corpus",
    "CorpusParts": "ragkit.assemble",
    "Hit": "ragkit.records",
    "Passage": "ragkit.records",
    "Query": "ragkit.records",
    "RagkitError": "ragkit.errors",
    "Sampling": "ragkit.records",
    "TextRecord": "ragkit.records",
    "attribute": "ragkit.filters",
}

__all__ = [*_HOME]  # noqa: PLE0604 - the keys are the names


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'ragkit' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
