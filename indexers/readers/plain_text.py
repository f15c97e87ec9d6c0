"""Bytes of a text file to clean Unicode text."""

from __future__ import annotations

import codecs
import re
import unicodedata
from pathlib import Path

from ragkit.errors import ConfigError, DocumentError

# A text file is one page that is held in memory several times over while it is split and embedded.
_MOST_BYTES = 256 * 2**20

_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}

# What browsers take these names for, because pages have always used them so (WHATWG Encoding, 4.2).
_AS_BROWSERS_DO = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
}

# Control characters but tab and line feed, the soft hyphen, zero-width marks without meaning for
# search (space, byte order mark, word joiner), and code points that are no characters.
_DROPPED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u200b\u2060\ufeff\ufffe\uffff]")
_LINE_END = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")


def without_controls(text: str) -> str:
    """The text in Unicode's composed form (NFC), without characters that show and mean nothing."""
    return unicodedata.normalize("NFC", _DROPPED.sub("", text))


def clean_text(text: str) -> str:
    """`without_controls`, with every line end made a line feed."""
    return without_controls(_LINE_END.sub("\n", text))


def read_bytes(path: Path) -> bytes:
    """The whole of a text file. Raises DocumentError where it is too large to be one page."""
    size = path.stat().st_size
    if size > _MOST_BYTES:
        most = _MOST_BYTES // 2**20
        raise DocumentError(f"{size / 2**20:.0f} MiB of text, more than {most}; split the file")
    return path.read_bytes()


def decode(data: bytes, encoding: str, declared: str | None = None, warnings: list[str] | None = None) -> str:
    """Text of a file: by its byte order mark, else as the file declares, else in `encoding`.

    A declaration that does not hold gives way to `encoding`, with a warning.

    Raises:
        DocumentError: the bytes are not text in that encoding, or hold zero bytes as binary files do.
        ConfigError: Python does not know `encoding`.
    """
    configured = _codec_of(encoding)
    if configured is None:
        raise ConfigError(f"documents.encoding = {encoding!r} is not a text encoding that Python knows")
    for mark, name in _BYTE_ORDER_MARKS.items():
        if data.startswith(mark):
            return _checked(data, name, "its byte order mark says").removeprefix("\ufeff")
    if declared:
        try:
            return _checked(data, _declared_codec(declared), "the file declares")
        except DocumentError as error:
            if configured == _codec_of(declared):
                raise
            text = _checked(data, configured, "documents.encoding says")
            if warnings is not None:
                warnings.append(f"read as {encoding}: {error}")
            return text
    return _checked(data, configured, "documents.encoding says")


def _declared_codec(name: str) -> str:
    codec = _codec_of(name)
    if codec is None:
        raise DocumentError(f"the file declares an unknown encoding, {name!r}")
    return _AS_BROWSERS_DO.get(codec, codec)


def _codec_of(name: str) -> str | None:
    try:
        b"a".decode(name)  # some codecs, such as base64, are not for text
    except UnicodeError:
        pass  # one byte is no character in UTF-16
    except (LookupError, ValueError):
        return None
    return codecs.lookup(name).name


def _checked(data: bytes, codec: str, why: str) -> str:
    try:
        text = data.decode(codec)
    except UnicodeDecodeError as error:
        value = f"0x{data[error.start]:02x}" if error.start < len(data) else "the end of the file"
        raise DocumentError(
            f"not {codec} text, as {why}: {value} at byte {error.start} ({error.reason}); "
            "set documents.encoding in the configuration, or convert the file"
        ) from error
    zero = text.find("\0")
    if zero >= 0:
        raise DocumentError(f"binary data, not text: a zero at character {zero}")
    return text
