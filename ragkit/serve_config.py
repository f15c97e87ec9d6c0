"""Settings of the HTTP server: the table [serve] of the configuration."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator


class ServeConfig(BaseModel):
    """public_url: the address under which clients reach the server, such as "https://ask.example.org/rag", which
    the links in citations begin with; "" takes it from each request.
    link_hours: how long a link to a page opens it without an API key, where the server has keys.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    public_url: str = ""
    link_hours: float = Field(default=168.0, gt=0, le=87_600)

    @field_validator("public_url")
    @classmethod
    def _check_public_url(cls, url: str) -> str:
        parts = urlsplit(url)
        if url and (parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment):
            raise ValueError(f"public_url = {url!r} is no address such as 'https://ask.example.org/rag'")
        return url
