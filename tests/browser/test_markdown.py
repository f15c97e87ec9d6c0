"""What the web page makes of an answer's text."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from ragkit.serve.api.app import create_app
from tests.browser.chromium import axe_violations, chromium, why_not
from tests.serve.house import FakeLibrary, running

pytestmark = [pytest.mark.browser, pytest.mark.skipif(why_not() != "", reason=why_not())]

RENDER = """async (text) => {
    const { render } = await import("/web/markdown.js");
    const mark = (number, place) => {
        if (number > 9) return null;
        const node = document.createElement("i");
        node.textContent = number + "@" + place;
        return node;
    };
    const box = document.createElement("div");
    box.append(render(text, mark));
    return box.innerHTML.replaceAll(' dir="auto"', "").replaceAll(' tabindex="0"', "");
}"""


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    with running(create_app(FakeLibrary())) as address, chromium() as browser:
        page = browser.new_page()
        page.goto(address)
        yield page


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("", ""),
        ("\n\n  \n", ""),
        ("one\ntwo\n\nthree", "<p>one<br>two</p><p>three</p>"),
        (
            "**bold** and *italic* and `code`",
            "<p><strong>bold</strong> and <em>italic</em> and <code>code</code></p>",
        ),
        ("2 * 3 * 4 and ** and a*", "<p>2 * 3 * 4 and ** and a*</p>"),
        ("snake_case_name and __init__", "<p>snake_case_name and __init__</p>"),
        ("``a ` b`` and `**x**`", "<p><code>a ` b</code> and <code>**x**</code></p>"),
        ("**a *b* [1]**", "<p><strong>a <em>b</em>&nbsp;<i>1@8</i></strong></p>"),
        ("- one\n- two\n  more\n\n- three", "<ul><li>one</li><li>two<br>  more</li><li>three</li></ul>"),
        ("3. three\n4) four", '<ol start="3"><li>three</li><li>four</li></ol>'),
        ("1874. It opened.", '<ol start="1874"><li>It opened.</li></ol>'),
        ("1.5 is no list", "<p>1.5 is no list</p>"),
        ("# Title\ntext", "<h3>Title</h3><p>text</p>"),
        ("#hashtag", "<p>#hashtag</p>"),
        ("> said [2]\n> more\nnot", "<blockquote>said&nbsp;<i>2@7</i><br>more</blockquote><p>not</p>"),
        (
            "```py\nif a < b:\n    **x** [1]\n```\nend",
            "<pre><code>if a &lt; b:\n    **x** [1]</code></pre><p>end</p>",
        ),
        ("```\nnever closed", "<pre><code>never closed</code></pre>"),
        (
            "It is deep [1][2]. No [10] [1234] [x]",
            "<p>It is deep&nbsp;<i>1@11</i><i>2@14</i>. No [10] [1234] [x]</p>",
        ),
        ("🦆 [1]", "<p>🦆&nbsp;<i>1@3</i></p>"),
        ("<b>&amp;</b> <!-- -->", "<p>&lt;b&gt;&amp;amp;&lt;/b&gt; &lt;!-- --&gt;</p>"),
        ("[link](javascript:alert(1))", "<p>[link](javascript:alert(1))</p>"),
        ("**<img src=x onerror=alert(1)>**", "<p><strong>&lt;img src=x onerror=alert(1)&gt;</strong></p>"),
    ],
)
def test_markdown(page: Any, text: str, html: str):
    assert page.evaluate(RENDER, text) == html


def table(*rows: str) -> str:
    whole = "".join(f"<tr>{row}</tr>" for row in rows)
    return f'<div class="table" role="group" aria-label="Table"><table>{whole}</table></div>'


def head(*cells: str) -> str:
    return "".join(f'<th scope="col">{cell}</th>' for cell in cells)


def body(*cells: str) -> str:
    return "".join(f"<td>{cell}</td>" for cell in cells)


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("| a | b |\n|---|---|\n| 1 | 2 |", table(head("a", "b"), body("1", "2"))),
        ("a|b\n-|-\n1|\n1|2|3\n|", table(head("a", "b"), body("1"), body("1", "2"), "")),
        ("Text:\n| a |\n|-|\n| x |\nEnd", "<p>Text:</p>" + table(head("a"), body("x")) + "<p>End</p>"),
        ("- one\n| a |\n|-|\n- two | x", "<ul><li>one</li></ul>" + table(head("a")) + "<ul><li>two | x</li></ul>"),
        (
            "| l | c | r |\n|:-|:--:|-:|\n| 1 | 2 | 3 |",
            table(
                '<th class="left" scope="col">l</th><th class="center" scope="col">c</th>'
                '<th class="right" scope="col">r</th>',
                '<td class="left">1</td><td class="center">2</td><td class="right">3</td>',
            ),
        ),
        (
            "| a | b |\n|-|-|\n| **x** [1] | `p\\|q` [2] [10] |",
            table(
                head("a", "b"),
                body("<strong>x</strong>&nbsp;<i>1@24</i>", "<code>p|q</code>&nbsp;<i>2@37</i> [10]"),
            ),
        ),
        (
            "| <b> | b |\n|-|-|\n| <img src=x onerror=alert(1)> |",
            table(head("&lt;b&gt;", "b"), body("&lt;img src=x onerror=alert(1)&gt;")),
        ),
        ("a | b\nc | d", "<p>a | b<br>c | d</p>"),
        ("| a | b |\n|---|", "<p>| a | b |<br>|---|</p>"),
        ("|\n|", "<p>|<br>|</p>"),
        ("a\n---", "<p>a<br>---</p>"),
    ],
)
def test_tables(page: Any, text: str, html: str):
    assert page.evaluate(RENDER, text) == html


def test_a_wide_table_is_scrolled_by_its_reader(page: Any):
    # In Chromium an element is reached by the keyboard where its tabIndex says so.
    wide = f"| {' | '.join(['Wide-as-it-is'] * 12)} |"
    text = "\n".join([wide, "|-" * 12 + "|", wide])
    page.set_viewport_size({"width": 320, "height": 740})
    found = page.evaluate(
        """async (text) => {
            const { render } = await import("/web/markdown.js");
            const box = document.createElement("div");
            box.className = "answer";
            box.append(render(text, () => null));
            document.querySelector("main").append(box);
            const frame = box.querySelector(".table");
            const { scrollWidth } = document.documentElement;
            return [frame.tabIndex, frame.scrollWidth > frame.clientWidth, scrollWidth <= window.innerWidth];
        }""",
        text,
    )
    assert found == [0, True, True]
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert axe_violations(page) == []


@pytest.mark.parametrize(
    "piece",
    [
        "`",
        "**a ",
        "*a ",
        "[1",
        "``a` ",
        "> ",
        "- ",
        "\n",
        "*a* **b** `c` [1] ",
        "|",
        "|-\n",
        "|a\\|[1]\n|-\n",
        "| [1] \\|",
    ],
)
def test_no_text_takes_long(page: Any, piece: str):
    text = piece * (20_000 // len(piece))
    started = time.monotonic()
    page.evaluate(RENDER, text)
    assert time.monotonic() - started < 5
