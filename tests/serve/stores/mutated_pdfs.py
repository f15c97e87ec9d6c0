"""PDFs that something happened to: bytes flipped, the end lost, objects exchanged."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

from tests.pdf_maker import PdfPage, make_pdf

_OBJECT = re.compile(rb"\d+ 0 obj.*?endobj", re.DOTALL)


def mutated_pdfs(folder: Path, number: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Names and contents; the same for the same seed."""
    chance = random.Random(seed)
    sources = list(_sources(folder, chance))
    changes = (_flipped, _truncated, _exchanged, _repeated)
    for count in range(number):
        change = changes[count % len(changes)]
        yield f"{count:03d}{change.__name__}.pdf", change(chance.choice(sources), chance)


def _sources(folder: Path, chance: random.Random) -> Iterator[bytes]:
    lines = "\n".join(f"Line {number} of a short page." for number in range(12))
    pixels = (40, 30, chance.randbytes(1200))
    plain: list[str | PdfPage] = [lines, "Second page."]
    drawn = [PdfPage("A picture.", pixels=pixels, rotate=90), PdfPage("Crop.", crop=(10, 10, 300, 400))]
    yield make_pdf(folder / "plain.pdf", plain).read_bytes()
    yield make_pdf(folder / "drawn.pdf", drawn).read_bytes()
    yield make_pdf(folder / "locked.pdf", plain, password="secret").read_bytes()
    yield make_pdf(folder / "mapped.pdf", plain, unicode_map={65: "Ω", 66: "\ufb01"}).read_bytes()


def _flipped(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.randint(1, 60)):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def _truncated(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(1, len(content))]


def _exchanged(content: bytes, chance: random.Random) -> bytes:
    """Two objects change places, and with them their numbers' meaning."""
    objects = list(_OBJECT.finditer(content))
    first, second = sorted(chance.sample(range(len(objects)), 2))
    one, other = objects[first], objects[second]
    return b"".join(
        (content[: one.start()], other[0], content[one.end() : other.start()], one[0], content[other.end() :])
    )


def _repeated(content: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(content))
    piece = content[start : start + chance.randint(1, 400)]
    return content[:start] + piece * chance.randint(2, 40) + content[start:]
