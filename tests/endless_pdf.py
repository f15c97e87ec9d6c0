"""A PDF of two kilobytes whose page takes as long, and as much memory, as one likes: forms of ten forms."""

from __future__ import annotations

from pathlib import Path

_WIDTH = 10
# Of ten to this power rectangles: with PDFium minutes, and more memory than there is.
ENDLESS = 9


def make_forms_pdf(path: Path, depth: int, times: int = 1) -> Path:
    """Write a PDF of one page that draws times * 10 ** (depth - 1) rectangles over one another."""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 100] /Contents 4 0 R"
        b" /Resources << /XObject << /F 5 0 R >> >> >>",
        _stream(b"", b"0.2 0.4 0.8 rg" + b" /F Do" * times),
    ]
    form = b"/Type /XObject /Subtype /Form /BBox [0 0 200 100]"
    for number in range(6, 5 + depth):
        inner = b" /Resources << /XObject << /F %d 0 R >> >>" % number
        objects.append(_stream(form + inner, b"/F Do " * _WIDTH))
    objects.append(_stream(form, b"10 20 30 40 re f"))
    content, offsets = b"%PDF-1.4\n", []
    for number, item in enumerate(objects, 1):
        offsets.append(len(content))
        content += b"%d 0 obj\n%s\nendobj\n" % (number, item)
    rows = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    table = b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(objects) + 1, rows)
    trailer = b"trailer << /Root 1 0 R /Size %d >>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, len(content))
    path.write_bytes(content + table + trailer)
    return path


def _stream(entries: bytes, content: bytes) -> bytes:
    return b"<< %s /Length %d >>\nstream\n%s\nendstream" % (entries, len(content), content)
