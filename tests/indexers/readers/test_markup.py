from __future__ import annotations

from pathlib import Path

import pytest

from ragkit.errors import DocumentError
from ragkit.indexers.readers.markup import text_of_html, without_front_matter
from tests.read_document import read_document


def test_front_matter_is_dropped() -> None:
    assert without_front_matter("---\ntitle: x\n---\n# Head\n") == "# Head\n"
    assert without_front_matter("+++\ntitle = 1\n+++\nBody") == "Body"
    assert without_front_matter("Intro\n---\nrest\n---\n") == "Intro\n---\nrest\n---\n"
    assert without_front_matter("---\nno end\n") == "---\nno end\n"


@pytest.mark.parametrize(
    "markdown",
    [
        "---\n\n# Safety\n\nNever open valve seven under load.\n\n---\n\nOther matters.\n",
        "---\nNever open valve seven: it leaks.\n---\nOther matters.\n",
        "---\nNote: the valve leaks.\n\nNever open it under load.\n---\nOther matters.\n",
        "---\n- one\n- two\n---\nOther matters.\n",
        "+++\n\nNever open valve seven.\n+++\nOther matters.\n",
    ],
)
def test_text_between_rules_is_kept(markdown: str) -> None:
    assert without_front_matter(markdown) == markdown


@pytest.mark.parametrize(
    "settings",
    [
        '---\ntitle: x\n\n# by hand\ntags:\n- a\n- b\nsummary: >\n  two\n  lines\n"a key": [\n  1\n]\n---\n',
        "---\ntitle: a --- b\nurl: http://x\n...\n",
        '+++\n[menu]\ntitle = """a\nb: c"""\n+++\n',
    ],
)
def test_settings_of_several_lines_are_dropped(settings: str) -> None:
    assert without_front_matter(f"{settings}# Head\n\n---\n\nBody\n") == "# Head\n\n---\n\nBody\n"


def test_markdown_is_kept_as_written(tmp_path: Path) -> None:
    path = tmp_path / "a_note.md"
    path.write_text("---\na: 1\n---\n# Head\r\n\n| a | b |\n")
    document = read_document(path)
    assert (document.media_type, document.title, document.num_pages) == ("text/markdown", "a note", 1)
    assert [page.text for page in document.pages] == ["# Head\n\n| a | b |\n"]
    assert document.pages[0].number == 1
    assert document.pages[0].words.spans.shape == (0, 2)


def test_html_shows_what_a_browser_shows() -> None:
    html = """<!DOCTYPE html><html><head><title>Annual  report</title><style>p {color: red}</style>
    <script>var x = "hidden";</script></head><body><!-- a comment --><h1>Sales</h1><p>They <b>rose</b> by
    12&nbsp;%.</p><noscript>no script</noscript><template>not shown</template>
    <ul><li>one<li>two</ul><table><tr><th>Year<th>Sum<tr><td>2023<td>17</table></body></html>"""
    text = text_of_html(html)
    assert text.split("\n")[0] == "Annual report"
    assert "They rose by 12" in text
    for hidden in ("hidden", "color", "comment", "no script", "not shown"):
        assert hidden not in text
    lines = [line.split() for line in text.split("\n")]
    assert ["Year", "Sum"] in lines
    assert ["2023", "17"] in lines
    assert ["*", "one"] in lines


def test_title_that_the_body_has_is_not_repeated() -> None:
    assert text_of_html("<title>Sales</title><h1>Sales</h1><p>up</p>").count("Sales") == 1


def test_fragments_and_empty_html() -> None:
    assert text_of_html("plain &amp; simple") == "plain & simple"
    assert text_of_html("<p>one<p>two") == "one\n\ntwo"
    assert text_of_html("") == ""
    assert text_of_html("<!doctype html>\n<!-- nothing -->") == ""
    assert text_of_html("<?xml version='1.0' encoding='utf-8'?>\n<html><body>x</body></html>") == "x"


def test_padding_of_table_columns_is_bounded() -> None:
    wide = f"<table><tr><td>a<td>b</tr><tr><td>{'w' * 300}<td>c</tr></table>"
    assert text_of_html(wide).split("\n")[0] == "a  b"


@pytest.mark.parametrize("depth", [1500, 20_000])
def test_nested_too_deep_is_an_error_and_never_half_a_text(depth: int) -> None:
    with pytest.raises(DocumentError, match="cannot be read"):
        text_of_html("<div>" * depth + "deep" + "</div>" * depth + "<p>after</p>")
    assert text_of_html("<div>" * 300 + "deep" + "</div>" * 300 + "<p>after</p>").split() == ["deep", "after"]


@pytest.mark.parametrize(
    "head",
    [
        '<meta charset="windows-1251">',
        "<meta http-equiv='Content-Type' content='text/html; charset=windows-1251'>",
    ],
)
def test_declared_encoding_is_honoured(tmp_path: Path, head: str) -> None:
    path = tmp_path / "a.html"
    path.write_bytes(f"<html><head>{head}</head><body>Привет</body></html>".encode("cp1251"))
    assert read_document(path).pages[0].text == "Привет"


def test_xml_declaration_is_honoured(tmp_path: Path) -> None:
    path = tmp_path / "a.xhtml"
    path.write_bytes(
        '<?xml version="1.0" encoding="iso-8859-1"?><html><body>zwölf</body></html>'.encode("latin-1")
    )
    assert read_document(path).pages[0].text == "zwölf"


def test_charset_in_a_comment_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    path.write_text('<html><!-- <meta charset="windows-1251"> --><body>zwölf</body></html>', "utf-8")
    assert read_document(path).pages[0].text == "zwölf"


def test_utf16_html_is_known_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "page.txt"
    path.write_text("<!doctype html><body>zwölf</body>", "utf-16")
    document = read_document(path)
    assert (document.media_type, document.pages[0].text) == ("text/html", "zwölf")
    assert "text/plain" in document.warnings[0]


def test_file_without_text_is_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(" \n ")
    assert read_document(path).warnings == ["the file holds no text"]
