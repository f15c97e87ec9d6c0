"""Settings of the HTTP server: the table [serve] of the configuration."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator


class ServeConfig(BaseModel):
    """public_url: the address under which clients reach the server, such as "https://ask.example.org/rag", which
    the links in citations begin with; "" takes it from each request.
    link_hours: how long a link to a page opens it without an API key, where the server has keys.
    link_secret_file: keeps the secret of these links over restarts, and for several servers; made where it is
    missing. "": links end with the process.
    api_keys_file: TOML file of API keys (`ragkit key` writes it); "" lets everybody in.
    open_metrics: whether /metrics is shown without a key.
    max_concurrent: asking requests that are worked on at a time; max_queue: that wait, each at most
    queue_timeout_s; whoever comes beyond that is told to come back later.
    request_timeout_s: from a request to the end of its reply.
    shutdown_timeout_s: how long the requests under way have to be answered once the server is told to end.
    max_body_mb: of a request that is no upload, in millions of bytes.
    cors_origins: pages of these origins may call the server from a browser; "*" stands for all.
    image_hosts: image_url may name images on these hosts ("img.example.org", or with a port), which must have
    public addresses; otherwise images come as data URIs alone.
    log_questions: whether the log holds what is asked.
    max_upload_mb: of one file; store_max_mb: of all files together, 0 for no limit; in millions of bytes.
    max_pages: of a file that is indexed; 0 for no limit.
    index_timeout_s: how long indexing one file may take. index_memory_mb: how much memory it may take beyond the
    models, in millions of bytes; 0 for no limit.
    draw_timeout_s, draw_memory_mb: likewise for drawing one page whose picture the corpus does not keep.
    max_stored_responses, stored_responses_mb: how many responses are kept in memory to be gone on from, and in how
    many millions of bytes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    public_url: str = ""
    link_hours: float = Field(default=168.0, gt=0, le=87_600)
    link_secret_file: str = ""
    api_keys_file: str = ""
    open_metrics: bool = False
    max_concurrent: int = Field(default=64, ge=1)
    max_queue: int = Field(default=64, ge=0)
    queue_timeout_s: float = Field(default=30, gt=0)
    request_timeout_s: float = Field(default=600, gt=0)
    shutdown_timeout_s: float = Field(default=30, ge=0)
    max_body_mb: float = Field(default=64, gt=0)
    cors_origins: tuple[str, ...] = ()
    image_hosts: tuple[str, ...] = ()
    log_questions: bool = False
    max_upload_mb: float = Field(default=512, gt=0)
    store_max_mb: float = Field(default=0, ge=0)
    max_pages: int = Field(default=5000, ge=0)
    index_timeout_s: float = Field(default=1800, gt=0)
    index_memory_mb: int = Field(default=4000, ge=0)
    draw_timeout_s: float = Field(default=30, gt=0)
    draw_memory_mb: int = Field(default=2000, ge=0)
    max_stored_responses: int = Field(default=1000, ge=0)
    stored_responses_mb: float = Field(default=256, ge=0)

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in map(str.lower, origins):
            parts = urlsplit(origin)
            if origin not in ("*", "null") and not (parts.netloc and origin == f"{parts.scheme}://{parts.netloc}"):
                raise ValueError(f"{origin!r} is no origin such as 'https://chat.example.org', which ends in no /")
        # As browsers send them.
        return tuple(map(str.lower, origins))

    @field_validator("public_url")
    @classmethod
    def _check_public_url(cls, url: str) -> str:
        parts = urlsplit(url)
        if url and (parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment):
            raise ValueError("this is no address such as 'https://ask.example.org/rag'")
        return url
