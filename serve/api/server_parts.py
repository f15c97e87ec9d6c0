"""What the endpoints share."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from ragkit.protocols import CorpusLibrary, ServedCorpus
from ragkit.records import Sampling
from ragkit.serve.api.http_errors import HttpProblem
from ragkit.serve_config import ServeConfig


@dataclass(frozen=True, slots=True)
class ServerParts:
    """sampling: what holds where a request does not say otherwise. created: seconds since 1970."""

    library: CorpusLibrary
    sampling: Sampling
    settings: ServeConfig
    created: int = field(default_factory=lambda: int(time.time()))

    def corpus(self, name: str) -> ServedCorpus:
        """The corpus that a request's `model` names.

        Raises:
            HttpProblem: 404, naming the models there are.
        """
        try:
            return self.library.corpus(name)
        except KeyError as error:
            known = ", ".join(self.library.names()) or "none"
            raise HttpProblem(
                404,
                f"the model {name!r} does not exist; models here: {known}",
                param="model",
                code="model_not_found",
            ) from error
