"""A process that embeds texts for a server, whose own Python then has its time for requests.

It ends when stdin does, on Linux also in the middle of texts. Messages, each a line of JSON:

    in:  the settings of the embedder                        the first line
         {"ask": "queries" or "passages", "texts": […]}
    out: {"facts": {…}}                                      once, when the model is loaded
         {"shape": [n, dim]}                                 and behind the line n * dim numbers, float32
         {"problem": …, "is_setting": …}                     instead of either
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Sequence

import numpy as np

from ragkit.assemble import make_text_embedder
from ragkit.config import EmbedderConfig
from ragkit.devices import share_cores
from ragkit.errors import ConfigError, RagkitError
from ragkit.hosting.child_process import Message, messages_of, own_channels, tell
from ragkit.hosting.search_batches import NUM_WORKERS
from ragkit.indexers.models.text_embedder import TextEmbedder
from ragkit.records import Passage

_log = logging.getLogger("ragkit.hosting.embedding_worker")


def facts_of(embedder: TextEmbedder) -> Message:
    """What the server says of the embedder without asking again."""
    return {
        "name": embedder.name,
        "dim": embedder.dim,
        "fingerprint": embedder.fingerprint,
        "max_tokens": embedder.max_tokens,
        "placement": [embedder.placement.device, embedder.placement.dtype],
        "tokenizer": embedder.tokenizer_json,
    }


def reply_to(embedder: TextEmbedder, asked: str, texts: Sequence[str]) -> tuple[Message, bytes]:
    """A line for stdout, and the numbers behind it."""
    if asked == "queries":
        vectors = embedder.embed_queries(texts)
    else:
        vectors = embedder.embed_passages([Passage(-1, "", 1, 0, len(text), text) for text in texts])
    return {"shape": vectors.shape}, vectors.astype(np.float32, copy=False).tobytes()


def main() -> None:
    """Embed until stdin ends."""
    incoming, outgoing = own_channels()
    # The server ends this process, by the end of stdin: what ends both would take it from whom is answered still.
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.SIG_IGN)
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    requests = messages_of(incoming)
    try:
        embedder = make_text_embedder(EmbedderConfig.model_validate(next(requests)))
        facts = facts_of(embedder)
    except Exception as error:
        # Of every class: libraries have their own for what is wrong with a model or a device.
        _log.exception("the embedder is not loaded")
        told = str(error) if isinstance(error, RagkitError) else f"{type(error).__name__}: {error}"
        tell(outgoing, {"problem": told, "is_setting": isinstance(error, ConfigError)})
        return
    # The other cores are the server's.
    share_cores(NUM_WORKERS)
    tell(outgoing, {"facts": facts})
    for request in requests:
        try:
            reply = reply_to(embedder, request["ask"], request["texts"])
        except Exception as error:
            # A model that runs out of memory with these texts may embed the next ones.
            _log.exception("%d %s were not embedded", len(request["texts"]), request["ask"])
            reply = {"problem": f"{type(error).__name__}: {error}", "is_setting": False}, b""
        tell(outgoing, *reply)


if __name__ == "__main__":
    main()
