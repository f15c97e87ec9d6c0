"""What the endpoints share."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ragkit.protocols import CorpusLibrary, ServedCorpus, Upstream
from ragkit.records import Sampling
from ragkit.serve.api.http_errors import HttpProblem
from ragkit.serve.chat.pixel_budget import PixelBudget
from ragkit.serve.pages.page_links import LinkSigner, PageLinks, base_url
from ragkit.serve.stores.server_stores import ServerStores
from ragkit.serve.stores.state import ServerState
from ragkit.serve.stores.store_shelf import SeveralStoresError
from ragkit.serve_config import ServeConfig

if TYPE_CHECKING:
    from starlette.requests import Request

_MOST_NAMES = 20


@dataclass(frozen=True, slots=True)
class ServerParts:
    """sampling: what holds where a request does not say otherwise. created: seconds since 1970.

    signer: signs links to pages; None where there are no API keys. upstreams: what /ready asks after.
    stores: files and vector stores; None for a server without a folder of its own. decoding: of clients' images.
    """

    library: CorpusLibrary
    sampling: Sampling
    settings: ServeConfig
    created: int = field(default_factory=lambda: int(time.time()))
    signer: LinkSigner | None = None
    upstreams: Sequence[Upstream] = ()
    stores: ServerStores | None = None
    decoding: PixelBudget = field(default_factory=PixelBudget)

    @property
    def state(self) -> ServerState | None:
        """Of files and vector stores."""
        return None if self.stores is None else self.stores.state

    def title(self, corpus: str) -> str:
        """What people call it: the name of a vector store that has one, else what clients call it."""
        name = None if self.stores is None else self.stores.stores.name_of(corpus)
        return name or corpus

    def links(self, request: Request) -> PageLinks:
        """Makes the links of the reply to a request."""
        return PageLinks(base_url(request, self.settings.public_url), self.signer)

    def corpus(self, name: str) -> ServedCorpus:
        """The corpus that a request's `model` names.

        Raises:
            HttpProblem: 404, naming the models there are; 400, several vector stores have the name.
        """
        try:
            return self.library.corpus(name)
        except SeveralStoresError as error:
            raise several_stores(error, name, self.library.names(), "model") from error
        except KeyError as error:
            known = listed(self.library.names())
            raise HttpProblem(
                404,
                f"the model {name!r} does not exist; models here: {known}",
                param="model",
                code="model_not_found",
            ) from error


def several_stores(error: SeveralStoresError, name: str, shown: Sequence[str], param: str) -> HttpProblem:
    """shown: what the caller may see."""
    ids = [id_ for id_ in error.ids if id_ in set(shown)]
    return HttpProblem(
        400,
        f"several vector stores have the name {name!r:.120}; name one by its id: {listed(ids)}",
        param=param,
        code="ambiguous_name",
    )


def listed(names: Sequence[str]) -> str:
    """The first names, and how many there are beside them: vector stores may be thousands."""
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more or "none"
