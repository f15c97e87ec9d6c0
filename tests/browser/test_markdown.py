"""What the web page makes of an answer's text."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from ragkit.serve.api.app import create_app
from tests.browser.chromium import chromium, why_not
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


@pytest.mark.parametrize("piece", ["`", "**a ", "*a ", "[1", "``a` ", "> ", "- ", "\n", "*a* **b** `c` [1] "])
def test_no_text_takes_long(page: Any, piece: str):
    text = piece * (20_000 // len(piece))
    started = time.monotonic()
    page.evaluate(RENDER, text)
    assert time.monotonic() - started < 5
