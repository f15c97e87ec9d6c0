"""A process that draws pages for a server: pages come as lines of JSON on stdin, pictures go to stdout.

It opens files that nobody can vouch for, so whoever started it watches its time and memory and may kill it at any
moment. It ends when stdin does, on Linux also in the middle of a page. Messages, the ones out each a line of JSON:

    in:  {"documents": {…}, "dpi": …, "password": …, "path": …, "media_type": …, "content_hash": …, "page": …}
    out: {"ready": true}                  once, when the libraries are loaded
         {"width": …, "height": …}        and behind the line width * height * 3 bytes: RGB, row by row
         {"problem": …}                   the page cannot be drawn
"""

from __future__ import annotations

import logging
import signal
from pathlib import Path

from ragkit.config import DocumentsConfig
from ragkit.errors import DocumentError
from ragkit.hosting.child_process import Message, messages_of, own_channels, tell
from ragkit.indexers.page_images import Drawing

_log = logging.getLogger("ragkit.hosting.drawing_worker")


def request_of(drawing: Drawing, path: Path, media_type: str, content_hash: str, page: int) -> Message:
    """The message that asks for a page; the arguments are those of `Drawing.draw_again`."""
    return {
        "documents": drawing.documents.model_dump(mode="json"),
        "dpi": drawing.dpi,
        "password": drawing.password,
        "path": str(path),
        "media_type": media_type,
        "content_hash": content_hash,
        "page": page,
    }


def reply_to(request: Message) -> tuple[Message, bytes]:
    """A line for stdout, and the pixels behind it."""
    drawing = Drawing(DocumentsConfig.model_validate(request["documents"]), request["dpi"], request["password"])
    path, page = Path(request["path"]), request["page"]
    try:
        picture = drawing.draw_again(path, request["media_type"], request["content_hash"], page)
        return {"width": picture.width, "height": picture.height}, picture.tobytes()
    except DocumentError as error:
        return {"problem": str(error)}, b""
    except Exception as error:
        # Of every class: libraries meet bytes that nobody has seen before.
        _log.exception("page %s of %s cannot be drawn", page, path)
        return {"problem": f"{type(error).__name__}: {error}"}, b""


def main() -> None:
    """Draw until stdin ends."""
    incoming, outgoing = own_channels()
    # Ctrl-C reaches the server, which ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    # What drawing needs is loaded now: it is no part of a page's time and memory.
    import pypdfium2  # noqa: F401
    from PIL import Image  # noqa: F401

    requests = messages_of(incoming)
    tell(outgoing, {"ready": True})
    for request in requests:
        tell(outgoing, *reply_to(request))


if __name__ == "__main__":
    main()
