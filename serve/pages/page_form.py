"""In which form a request wants a page: of HTML for people, a picture, or JSON."""

from __future__ import annotations


def wanted_form(accept: str) -> str:
    """Browsers that open a link name HTML, those that show a picture pictures; others take anything ("")."""
    kinds = {"text/html": "html", "application/json": "json", "image/": "image"}
    found = [(accept.find(kind), form) for kind, form in kinds.items() if kind in accept]
    return min(found)[1] if found else ""
