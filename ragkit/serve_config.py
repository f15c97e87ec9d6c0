"""Settings of the HTTP server: the table [serve] of the configuration."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class ServeConfig(BaseModel):
    """public_url: the address under which clients reach the server, such as "https://ask.example.org/rag", which
    the links in citations begin with; "" takes it from each request.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    public_url: str = ""
