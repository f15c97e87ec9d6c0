"""Small PDFs written by hand, so that tests know every letter and every coordinate in them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

A4 = (595, 842)
LETTER = (612, 792)
_FILE_ID = bytes(range(16))
_PADDING = bytes.fromhex("28bf4e5e4e758a4164004e56fffa01082e2e00b6d0683e802f0ca9fe6453697a")


@dataclass(frozen=True)
class PdfPage:
    """One page to write.

    text: lines in Helvetica, the first baseline at (left, top) in points from the bottom left corner.
    drawing: further operators of the content stream, as they are.
    size, crop: width and height, and (left, bottom, right, top), in points; rotate: degrees clockwise.
    pixels: a grey image of (width, height, bytes) that fills the page.
    annotations: dictionaries for the page's /Annots, as they are.
    """

    text: str = ""
    drawing: bytes = b""
    size: tuple[float, float] = LETTER
    rotate: int = 0
    crop: tuple[float, float, float, float] | None = None
    font_size: float = 12
    left: float = 72
    top: float = 720
    pixels: tuple[int, int, bytes] | None = None
    annotations: tuple[bytes, ...] = ()


def make_pdf(
    path: Path,
    pages: Sequence[str | PdfPage],
    *,
    size: tuple[float, float] = LETTER,
    rotate: int = 0,
    password: str | None = None,
    unicode_map: dict[int, str] | None = None,
) -> Path:
    """Write a PDF; a string stands for a page with that text, `size` and `rotate` for all such pages.

    unicode_map: what the font says that a byte means (its /ToUnicode table).
    """
    made = [p if isinstance(p, PdfPage) else PdfPage(p, size=size, rotate=rotate) for p in pages]
    objects = _objects(made, unicode_map or {})
    path.write_bytes(_file(objects, password))
    return path


def _objects(pages: list[PdfPage], unicode_map: dict[int, str]) -> list[tuple[bytes, bytes | None]]:
    """Dictionary and stream of each object; object 1 is the catalog, 2 the page tree, 3 the font."""
    to_unicode = b" /ToUnicode 4 0 R" if unicode_map else b""
    font = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding" + to_unicode + b" >>"
    objects: list[tuple[bytes, bytes | None]] = [
        (b"<< /Type /Catalog /Pages 2 0 R >>", None),
        (b"", None),
        (font, None),
        (b"<< >>", _cmap(unicode_map)),
    ]
    kids = []
    for page in pages:
        image = b""
        if page.pixels:
            width, height, data = page.pixels
            objects.append(
                (
                    b"<< /Type /XObject /Subtype /Image /Width %d /Height %d /ColorSpace /DeviceGray"
                    b" /BitsPerComponent 8 >>" % (width, height),
                    data,
                )
            )
            image = b" /XObject << /Im %d 0 R >>" % len(objects)
        objects.append((b"<< >>", _content(page)))
        box = b"/MediaBox [0 0 %g %g]" % page.size
        if page.crop:
            box += b" /CropBox [%g %g %g %g]" % page.crop
        objects.append(
            (
                b"<< /Type /Page /Parent 2 0 R %s /Rotate %d /Contents %d 0 R /Annots [%s]"
                b" /Resources << /Font << /F 3 0 R >>%s >> >>"
                % (box, page.rotate, len(objects), b" ".join(page.annotations), image),
                None,
            )
        )
        kids.append(b"%d 0 R" % len(objects))
    objects[1] = (b"<< /Type /Pages /Count %d /Kids [%s] >>" % (len(pages), b" ".join(kids)), None)
    return objects


def _content(page: PdfPage) -> bytes:
    parts = []
    if page.pixels:
        parts.append(b"q %g 0 0 %g 0 0 cm /Im Do Q" % page.size)
    if page.text:
        lines = [line.encode("cp1252") for line in page.text.split("\n")]
        shown = b" T* ".join(b"<%s> Tj" % line.hex().encode() for line in lines)
        leading = page.font_size * 1.2
        parts.append(b"BT /F %g Tf %g TL %g %g Td %s ET" % (page.font_size, leading, page.left, page.top, shown))
    return b"\n".join([*parts, page.drawing])


def _cmap(unicode_map: dict[int, str]) -> bytes:
    rows = b"\n".join(
        b"<%02x> <%s>" % (code, text.encode("utf-16-be").hex().encode()) for code, text in unicode_map.items()
    )
    return (
        b"/CIDInit /ProcSet findresource begin 12 dict begin begincmap\n"
        b"1 begincodespacerange <00> <ff> endcodespacerange\n%d beginbfchar\n%s\nendbfchar\n"
        b"endcmap end end" % (len(unicode_map), rows)
    )


def _file(objects: list[tuple[bytes, bytes | None]], password: str | None) -> bytes:
    output = bytearray(b"%PDF-1.4\n")
    offsets = []
    owner, user, key = _keys(password) if password is not None else (b"", b"", b"")
    for number, (dictionary, stream) in enumerate(objects, 1):
        offsets.append(len(output))
        output += b"%d 0 obj\n" % number
        if stream is None:
            output += dictionary
        else:
            data = _encrypted(stream, key, number) if key else stream
            output += dictionary[:-2] + b"/Length %d >>\nstream\n%s\nendstream" % (len(data), data)
        output += b"\nendobj\n"
    start = len(output)
    output += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    output += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    encrypt = (
        b"/Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O <%s> /U <%s> >>"
        % (
            owner.hex().encode(),
            user.hex().encode(),
        )
        if key
        else b""
    )
    file_id = _FILE_ID.hex().encode()
    output += b"trailer\n<< /Size %d /Root 1 0 R /ID [<%s> <%s>] %s >>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1,
        file_id,
        file_id,
        encrypt,
        start,
    )
    return bytes(output)


def _keys(password: str) -> tuple[bytes, bytes, bytes]:
    """The /O and /U entries and the file key of the standard handler, revision 2 (ISO 32000-1, 7.6.3)."""
    padded = (password.encode("latin-1") + _PADDING)[:32]
    owner = _rc4(hashlib.md5(padded).digest()[:5], padded)
    permissions = (-4).to_bytes(4, "little", signed=True)
    key = hashlib.md5(padded + owner + permissions + _FILE_ID).digest()[:5]
    return owner, _rc4(key, _PADDING), key


def _encrypted(data: bytes, key: bytes, number: int) -> bytes:
    return _rc4(hashlib.md5(key + number.to_bytes(3, "little") + b"\0\0").digest()[:10], data)


def _rc4(key: bytes, data: bytes) -> bytes:
    state = list(range(256))
    j = 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    i = j = 0
    output = bytearray()
    for byte in data:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        output.append(byte ^ state[(state[i] + state[j]) % 256])
    return bytes(output)
