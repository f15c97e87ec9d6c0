"""manifest.json: what a corpus is and which embedder made its vectors. Written once, when it is created."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ragkit.errors import CorpusDamagedError, CorpusError, CorpusNotFoundError
from ragkit.files import atomic_write
from ragkit.protocols import Embedder, TokenEmbedder

FILE_NAME = "manifest.json"
FORMAT_VERSION = 3


@dataclass(frozen=True, slots=True)
class EmbedderFacts:
    """Who made the vectors. device and dtype tell how, and do not count when embedders are compared."""

    name: str
    fingerprint: str
    dim: int
    metric: str
    device: str = ""
    dtype: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """Who made the vectors of texts, of page pictures and of their tokens; None where there are none."""

    format_version: int
    ragkit_version: str
    created: str
    embedder: EmbedderFacts | None
    page_embedder: EmbedderFacts | None = None
    token_embedder: EmbedderFacts | None = None


def write_manifest(corpus: Path, manifest: Manifest) -> None:
    """Write it, durably, as JSON."""
    write_manifest_text(corpus, json.dumps(asdict(manifest), indent=2) + "\n")


def write_manifest_text(corpus: Path, content: str) -> None:
    """As it was written before."""
    with atomic_write(corpus / FILE_NAME) as file:
        file.write(content.encode())


def read_manifest_text(corpus: Path) -> str:
    """The file's content; what is not UTF-8 in it is replaced."""
    return (corpus / FILE_NAME).read_text("utf-8", "replace")


def read_manifest(corpus: Path, accept: int = FORMAT_VERSION) -> Manifest:
    """Of the present format version, or of version `accept`.

    Raises CorpusNotFoundError where there is none, CorpusDamagedError where it cannot be understood.
    """
    path = corpus / FILE_NAME
    if not path.exists():
        raise CorpusNotFoundError(f"there is no corpus in {corpus}; make one: ragkit index PATH --corpus {corpus}")
    try:
        raw = json.loads(path.read_text("utf-8"))
        version = raw["format_version"]
        if version not in (FORMAT_VERSION, accept):
            raise CorpusDamagedError(
                f"{path} has format version {version}; this ragkit reads {FORMAT_VERSION}. "
                "Use the ragkit that made the corpus, or index again"
            )
        for name in ("embedder", "page_embedder", "token_embedder"):
            raw[name] = EmbedderFacts(**raw[name]) if raw[name] else None
        return Manifest(**raw)
    except (ValueError, KeyError, TypeError) as error:
        raise CorpusDamagedError(
            f"{path} is damaged ({error}); run ragkit repair, or restore it from a backup"
        ) from error


def facts_of(embedder: Embedder | TokenEmbedder | None) -> EmbedderFacts | None:
    """What a manifest says of an embedder; name and placement are taken where it has them."""
    if embedder is None:
        return None
    placement = getattr(embedder, "placement", None)
    return EmbedderFacts(
        name=str(getattr(embedder, "name", type(embedder).__name__)),
        fingerprint=embedder.fingerprint,
        dim=embedder.dim,
        metric=getattr(embedder, "metric", "cosine"),
        device="" if placement is None else placement.device,
        dtype="" if placement is None else placement.dtype,
    )


def check_embedder(
    path: Path,
    what: str,
    made_with: EmbedderFacts | None,
    embedder: Embedder | TokenEmbedder | None,
    advice: str = "use the first, or make a new corpus",
) -> None:
    """Raises CorpusError where the embedder is not the one that made the corpus's vectors. what: "embedder"…"""
    offered = facts_of(embedder)
    if offered is None or made_with is None:
        if offered is not made_with:
            raise CorpusError(
                f"{path} was made {'with' if made_with else 'without'} a {what} and is opened "
                f"{'with' if offered else 'without'} one; open it as it was made, or make a new corpus"
            )
    elif (offered.fingerprint, offered.dim) != (made_with.fingerprint, made_with.dim):
        raise CorpusError(
            f"{path} was made with {what} {made_with.name!r} (fingerprint {made_with.fingerprint[:12]}, "
            f"{made_with.dim} dimensions) and is opened with {offered.name!r} ({offered.fingerprint[:12]}, "
            f"{offered.dim}); {advice}"
        )
