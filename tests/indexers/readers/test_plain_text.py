from __future__ import annotations

import codecs

import pytest

from ragkit.errors import ConfigError, DocumentError
from ragkit.indexers.readers.plain_text import clean_text, decode


def test_utf8_with_and_without_byte_order_mark() -> None:
    assert decode("zwölf €".encode(), "utf-8") == "zwölf €"
    assert decode("zwölf €".encode("utf-8-sig"), "utf-8") == "zwölf €"


@pytest.mark.parametrize(
    ("codec", "mark"),
    [
        ("utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-16-be", codecs.BOM_UTF16_BE),
        ("utf-32-le", codecs.BOM_UTF32_LE),
        ("utf-32-be", codecs.BOM_UTF32_BE),
    ],
)
def test_byte_order_mark_wins_over_the_configuration(codec: str, mark: bytes) -> None:
    assert decode(mark + "zwölf 日".encode(codec), "latin-1", declared="latin-1") == "zwölf 日"


def test_wrong_byte_is_named_with_its_place_and_the_next_step() -> None:
    with pytest.raises(DocumentError, match=r"0xf6 at byte 2 .*documents\.encoding"):
        decode("zwölf".encode("latin-1"), "utf-8")
    assert decode("zwölf".encode("latin-1"), "latin-1") == "zwölf"


def test_zero_bytes_are_binary() -> None:
    with pytest.raises(DocumentError, match="binary data"):
        decode(b"abc\0def", "utf-8")


def test_declared_encoding() -> None:
    assert decode("“ё”".encode("cp1251"), "utf-8", declared="windows-1251") == "“ё”"
    # Browsers take Latin-1 for Windows-1252, where 0x93 is a quotation mark.
    assert decode(b"\x93x\x94", "utf-8", declared="ISO-8859-1") == "“x”"


def test_declaration_that_does_not_hold_gives_way_with_a_warning() -> None:
    warnings: list[str] = []
    assert decode("zwölf".encode("latin-1"), "latin-1", "utf-8", warnings) == "zwölf"
    assert "0xf6 at byte 2" in warnings[0]
    warnings.clear()
    assert decode(b"abc", "utf-8", "no-such-code", warnings) == "abc"
    assert "no-such-code" in warnings[0]
    with pytest.raises(DocumentError, match="the file declares"):
        decode("zwölf".encode("latin-1"), "utf-8", "utf-8")


@pytest.mark.parametrize("name", ["utf8x", "base64", ""])
def test_unknown_encoding_in_the_configuration(name: str) -> None:
    with pytest.raises(ConfigError, match=r"documents\.encoding"):
        decode(b"abc", name)


def test_clean_text() -> None:
    assert clean_text("a\r\nb\rc\x0cd\u2028e") == "a\nb\nc\nd\ne"
    assert clean_text("co\xadoperate\u200b\x07\ufeff") == "cooperate"
    assert clean_text("u\u0308ber") == "\xfcber"
    assert clean_text("tab\tstays") == "tab\tstays"
