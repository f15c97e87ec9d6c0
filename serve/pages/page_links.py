"""Links to pages with words marked: what the citations of an answer lead to."""

from __future__ import annotations

import hashlib
import hmac
import math
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from ragkit.records import Citation

if TYPE_CHECKING:
    from starlette.requests import Request

PATH = "/v1/ragkit/pages"
# Of HMAC-SHA256: 128 bits.
_SIGNATURE_BYTES = 16
_HOUR = 3600
# Of SHA-256, in hexadecimal digits: enough to notice that a page says something else by now.
_CHECK_DIGITS = 12

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class LinkSigner:
    """Signs links to pages, so that whoever has one sees that page, and no other, until it expires.

    secret: at least 16 random bytes. Ends of links fall on full hours, so that caches meet the same link again.
    """

    secret: bytes = field(repr=False)
    hours: float = 168.0

    def sign(self, corpus: str, document: str, page: int) -> dict[str, str]:
        """The parameters `expires` (seconds since 1970) and `signature` of a link."""
        expires = math.ceil((time.time() + self.hours * _HOUR) / _HOUR) * _HOUR
        return {"expires": str(expires), "signature": self._signature(corpus, document, page, expires)}

    def accepts(self, corpus: str, document: str, page: int, parameters: Mapping[str, str]) -> bool:
        """Whether the parameters were signed here for this page and have not expired."""
        expires = parameters.get("expires", "")
        # int() takes any script's digits, and no end of them.
        if not (expires.isascii() and expires.isdigit() and len(expires) <= 12):
            return False
        expected = self._signature(corpus, document, page, int(expires))
        given = parameters.get("signature", "").encode("utf-8", "replace")
        return hmac.compare_digest(expected.encode(), given) and time.time() < int(expires)

    def _signature(self, corpus: str, document: str, page: int, expires: int) -> str:
        parts = [_bytes(corpus), _bytes(document), str(page).encode(), str(expires).encode()]
        # Lengths first: no two different pages make the same message.
        message = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
        digest = hmac.digest(self.secret, message, hashlib.sha256)[:_SIGNATURE_BYTES]
        return urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


@dataclass(frozen=True, slots=True)
class PageLinks:
    """Makes links to pages. base: the server's address, no slash behind it. signer: None without API keys."""

    base: str
    signer: LinkSigner | None = None

    def page(self, corpus: str, document: str, page: int, spans: Sequence[Span] = (), words: str = "") -> str:
        """An absolute link to a page; `spans` of its text are marked while it still says `words` there.

        The document is a parameter: on their way, paths lose dots, empty parts and encoded slashes.
        """
        parameters = {"document": document}
        if spans:
            parameters["spans"] = ",".join(f"{start}-{end}" for start, end in spans)
            parameters["check"] = check_of(words)
        if self.signer is not None:
            parameters |= self.signer.sign(corpus, document, page)
        encoded = urlencode(parameters, quote_via=quote, safe="/,", errors="replace")
        return f"{self.base}{PATH}/{quote(corpus, safe='', errors='replace')}/{page}?{encoded}"

    def citation(self, corpus: str, citation: Citation) -> str:
        """A link to the page with the cited words marked; to the bare page where no words of it are known."""
        spans = [(citation.page_start, citation.page_end)] if citation.quote else []
        link = self.page(corpus, citation.document, citation.page, spans, citation.quote)
        # Browsers go to where the words are.
        return f"{link}#cited" if spans else link


def base_url(request: Request, public_url: str) -> str:
    """Where clients reach the server: as the settings say, else as the request came."""
    return (public_url or str(request.base_url)).rstrip("/")


def check_of(words: str) -> str:
    """What a link holds of the words that it marks."""
    return hashlib.sha256(_bytes(words)).hexdigest()[:_CHECK_DIGITS]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")
