"""What is said of a path that no route answers."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.requests import Request

_API = "/v1"
_MOST_SHOWN = 120


def no_route(request: Request) -> str:
    """Names the path, and what it may have been meant for."""
    path = request.scope["path"]
    asked = f"nothing is served at {request.method[:20]} {path[:_MOST_SHOWN]}"
    routes = [route for route in request.app.routes if hasattr(route, "path_regex")]
    methods = {method for route in routes if route.path_regex.match(path) for method in route.methods or ()}
    if methods:
        return f"{asked}; it takes {', '.join(sorted(methods))}"
    if any(route.path_regex.match(_API + path) and route.path.startswith(_API) for route in routes):
        return f"{asked}; did you mean {(_API + path)[:_MOST_SHOWN]}? The base_url of clients ends in {_API}"
    known = sorted({route.path for route in routes})
    near = difflib.get_close_matches(path[:_MOST_SHOWN], known, n=1, cutoff=0.7)
    return f"{asked}; did you mean {near[0]}?" if near else f"{asked}; /openapi.json lists what is"
