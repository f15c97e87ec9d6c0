"""What stands between the network and the routes, from the outside in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ragkit.extras import require
from ragkit.protocols import CorpusLibrary
from ragkit.serve.api.openapi_document import describe_errors
from ragkit.serve.api.server_parts import ServerParts
from ragkit.serve.chat.image_fetch import ImageFetcher, ImageFetchMiddleware
from ragkit.serve.guards.admission import Admission, AdmissionMiddleware
from ragkit.serve.guards.api_keys import ApiKeys
from ragkit.serve.guards.body_limit import BodyLimitMiddleware
from ragkit.serve.guards.caller import CallersLibrary
from ragkit.serve.guards.key_check import KeyCheckMiddleware
from ragkit.serve.guards.metrics import ServerMetrics
from ragkit.serve.guards.metrics_routes import add_metrics_routes
from ragkit.serve.guards.observation import ObservationMiddleware
from ragkit.serve.guards.observed_library import ObservedLibrary
from ragkit.serve.guards.request_id import RequestIdMiddleware
from ragkit.serve.guards.security_headers import SecurityHeadersMiddleware
from ragkit.serve.guards.server_end import ServerEnd
from ragkit.serve.guards.site_check import SiteCheckMiddleware
from ragkit.serve.guards.time_limit import TimeLimitMiddleware
from ragkit.serve.guards.tracing import make_tracer
from ragkit.serve.pages.link_secret import link_secret
from ragkit.serve.pages.page_links import LinkSigner
from ragkit.serve_config import ServeConfig

if TYPE_CHECKING:
    from fastapi import FastAPI

# Bodies of files: their route writes them to the disk as they come, and limits them.
_UPLOADS = ("/v1/files",)
_READABLE_ELSEWHERE = ("x-request-id", "retry-after")


class Guards:
    """Keys, limits and figures of one application.

    end: when its server is told to end. any_host: whether it is asked by whatever name, also without API keys.
    signer: of links to pages; None without API keys.

    Raises:
        ConfigError: the file of API keys, or that of the links' secret, cannot be read.
        MissingExtraError: traces are wanted, and the extra `otel` is not installed.
    """

    def __init__(self, settings: ServeConfig, end: ServerEnd, any_host: bool) -> None:
        self._settings, self._end, self._any_host = settings, end, any_host
        self._keys = ApiKeys(Path(settings.api_keys_file)) if settings.api_keys_file else None
        self.signer = (
            LinkSigner(link_secret(settings.link_secret_file), settings.link_hours) if self._keys else None
        )
        self.admission = Admission(settings.max_concurrent, settings.max_queue, settings.queue_timeout_s)
        self.metrics = ServerMetrics(self.admission)
        self._tracer = make_tracer()

    def library(self, library: CorpusLibrary) -> CorpusLibrary:
        """What each request sees of the corpora, its cost noted."""
        return CallersLibrary(ObservedLibrary(library, self._settings.log_questions))

    def protect(self, app: FastAPI, parts: ServerParts) -> None:
        """Add the route of the metrics and, innermost first, the middleware."""
        settings = self._settings
        describe_errors(app, with_keys=self._keys is not None)
        add_metrics_routes(app, parts, self.metrics)
        if settings.image_hosts:
            app.add_middleware(ImageFetchMiddleware, fetcher=ImageFetcher(settings.image_hosts))
        app.add_middleware(AdmissionMiddleware, admission=self.admission)
        app.add_middleware(BodyLimitMiddleware, max_mb=settings.max_body_mb, uploads=_UPLOADS)
        app.add_middleware(
            TimeLimitMiddleware, seconds=settings.request_timeout_s, uploads=_UPLOADS, end=self._end
        )
        if self._keys is not None and self.signer is not None:
            app.add_middleware(
                KeyCheckMiddleware, keys=self._keys, signer=self.signer, open_metrics=settings.open_metrics
            )
        else:
            app.add_middleware(SiteCheckMiddleware, settings=settings, any_host=self._any_host)
        if settings.cors_origins:
            # Outside of the keys: a browser's preflight has none.
            app.add_middleware(
                require("starlette.middleware.cors").CORSMiddleware,
                allow_origins=settings.cors_origins,
                allow_methods=["*"],
                allow_headers=["*"],
                expose_headers=_READABLE_ELSEWHERE,
            )
        app.add_middleware(ObservationMiddleware, metrics=self.metrics, tracer=self._tracer)
        app.add_middleware(SecurityHeadersMiddleware)
        app.add_middleware(RequestIdMiddleware)
