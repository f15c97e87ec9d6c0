"""What GET /openapi.json says of errors: their true shape, in the place of FastAPI's own."""

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

if TYPE_CHECKING:
    from fastapi import FastAPI

_FASTAPIS_OWN = "422"
_FASTAPIS_SCHEMAS = ("HTTPValidationError", "ValidationError")


class ErrorDetail(BaseModel):
    """What was wrong. param: the field of the request; code: of the kind of error."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorReply(BaseModel):
    """Every reply whose status is 400 or more."""

    error: ErrorDetail


def describe_errors(app: "FastAPI", with_keys: bool) -> None:
    """with_keys: whether requests need an API key, which the document then says."""
    describe = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _described(describe(), with_keys)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _described(made: dict[str, Any], with_keys: bool) -> dict[str, Any]:
    parts = made.setdefault("components", {})
    schemas = parts.setdefault("schemas", {})
    for name in _FASTAPIS_SCHEMAS:
        schemas.pop(name, None)
    schemas["ErrorDetail"] = ErrorDetail.model_json_schema()
    schemas["ErrorReply"] = ErrorReply.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas["ErrorReply"].pop("$defs", None)
    error = {
        "description": "An error",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorReply"}}},
    }
    for path in made["paths"].values():
        for operation in path.values():
            operation["responses"].pop(_FASTAPIS_OWN, None)
            operation["responses"]["default"] = error
    if with_keys:
        parts["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        made["security"] = [{"key": []}]
    return made
