"""A page as a small HTML document: its picture with boxes over it, the quoted words, its text.

Everything that comes from documents goes through `escape`; there is no script, and by `HEADERS` none would run.
"""

from __future__ import annotations

from html import escape

from ragkit.records import Box
from ragkit.serve.pages.page_view import PageView

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; img-src 'self'; style-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
# Around the words, in shares of the page.
_PADDING = 0.004


def page_html(view: PageView, root: str, picture_url: str, corpus: str) -> str:
    """The whole document. root: what leads from it to the server's address, such as "../../".

    corpus: what people call it.
    """
    title, of = escape(f"{view.document}, page {view.page.number}"), escape(corpus)
    body = f"""<header lang="en"><p class="corpus" dir="auto">{of}</p><h1 dir="auto">{title}</h1></header>
<main>
{_quote(view)}
{_picture(view, picture_url)}
{_text(view)}
</main>"""
    return html_document(title, body, root)


def html_document(title: str, body: str, root: str) -> str:
    """What every page of a link has around its body. title, body: escaped already."""
    return f"""<!doctype html>
<html lang="und">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{title}</title>
<link rel="icon" href="{root}web/icon.svg">
<link rel="stylesheet" href="{root}web/colours.css">
<link rel="stylesheet" href="{root}web/page.css">
</head>
<body>
{body}
</body>
</html>
"""


def _quote(view: PageView) -> str:
    if view.changed:
        return '<p class="changed" lang="en" role="note">This page has changed since it was cited.</p>'
    return f'<blockquote dir="auto">{escape(view.quote)}</blockquote>' if view.quote else ""


def _picture(view: PageView, url: str) -> str:
    if view.picture is None:
        return ""
    boxes = "".join(_rectangle(box, is_first=number == 0) for number, box in enumerate(view.boxes))
    alt = f"Picture of page {view.page.number}; its text stands below."
    return (
        f'<figure><img src="{escape(url)}" alt="{alt}">'
        f'<svg viewBox="0 0 1 1" preserveAspectRatio="none" aria-hidden="true">{boxes}</svg></figure>'
    )


def _rectangle(box: Box, is_first: bool) -> str:
    left, top = max(0.0, box.left - _PADDING), max(0.0, box.top - _PADDING)
    width, height = min(1.0, box.right + _PADDING) - left, min(1.0, box.bottom + _PADDING) - top
    anchor = ' id="cited"' if is_first else ""
    return f'<rect{anchor} x="{left:.5f}" y="{top:.5f}" width="{width:.5f}" height="{height:.5f}"/>'


def _text(view: PageView) -> str:
    pieces = view.pieces()
    if not pieces:
        return "" if view.picture is not None else '<p lang="en">This page has no text.</p>'
    # Of a page with a picture the anchor is there.
    anchors = iter(() if view.boxes and view.picture is not None else (' id="cited"',))
    text = "".join(
        f"<mark{next(anchors, '')}>{escape(piece)}</mark>" if marked else escape(piece) for piece, marked in pieces
    )
    start, end = view.shown
    before = "… " if start else ""
    behind = " …" if end < len(view.page.text) else ""
    shown = f'<pre dir="auto">\n{before}{text}{behind}</pre>'
    if view.picture is None:
        return shown
    return f'<details><summary lang="en">Text of the page</summary>{shown}</details>'
