from __future__ import annotations

import time
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ragkit.records import Citation
from ragkit.serve.pages.page_links import LinkSigner, PageLinks, check_of
from ragkit.serve_config import ServeConfig

SIGNER = LinkSigner(b"0123456789abcdef", hours=2)
LINKS = PageLinks("http://here")


def query(link: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(link).query, strict_parsing=True).items()}


def test_a_link_says_corpus_page_document_and_words():
    citation = Citation(1, "a b/ö#1?.txt", 2, "Deep.", 0, 9, 30, 35, 0.5)
    link = LINKS.citation("my corpus", citation)
    assert link == (
        "http://here/v1/ragkit/pages/my%20corpus/2?document=a%20b/%C3%B6%231%3F.txt&spans=30-35"
        f"&check={check_of('Deep.')}#cited"
    )
    # The first twelve digits of the SHA-256 of "Deep.".
    assert len(check_of("Deep.")) == 12


def test_a_citation_without_words_leads_to_the_bare_page():
    citation = Citation(1, "scan.png", 1, "", 0, 9, 0, 0, 0.5)
    assert LINKS.citation("c", citation) == "http://here/v1/ragkit/pages/c/1?document=scan.png"


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_document_survives_the_link(document: str):
    link = LINKS.page("corpus", document, 3)
    assert query(link)["document"] == document
    assert link.isascii()
    assert not set(link) & set(" \"'<>\\")


def test_a_name_that_is_no_text_does_not_break_an_answer():
    assert LINKS.page("\ud800", "\udcff", 1, [(1, 2)], "\ud800").isascii()


def test_a_signed_link_opens_its_page_and_no_other():
    signed = query(PageLinks("", SIGNER).page("papers", "a.pdf", 3))
    assert SIGNER.accepts("papers", "a.pdf", 3, signed)
    for other in [("paper", "a.pdf", 3), ("papers", "b.pdf", 3), ("papers", "a.pdf", 4), ("paper", "sa.pdf", 3)]:
        assert not SIGNER.accepts(*other, signed)
    assert not LinkSigner(b"another secret..").accepts("papers", "a.pdf", 3, signed)
    later = str(int(signed["expires"]) + 3600)
    assert not SIGNER.accepts("papers", "a.pdf", 3, {**signed, "expires": later})


def test_a_link_ends_at_a_full_hour_behind_its_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(time, "time", lambda: 7200.5)
    signed = SIGNER.sign("papers", "a.pdf", 3)
    assert signed["expires"] == str(5 * 3600)
    monkeypatch.setattr(time, "time", lambda: 5 * 3600 - 1)
    assert SIGNER.accepts("papers", "a.pdf", 3, signed)
    monkeypatch.setattr(time, "time", lambda: 5 * 3600.0)
    assert not SIGNER.accepts("papers", "a.pdf", 3, signed)


@pytest.mark.parametrize("expires", ["", "-1", "1e9", "９９９９９９９９９９", "9" * 13, "9" * 100_000, "99 ", "²"])
def test_an_end_that_is_no_number_is_refused(expires: str):
    assert not SIGNER.accepts("papers", "a.pdf", 3, {"expires": expires, "signature": "x"})


@pytest.mark.parametrize("signature", ["", "é", "\ud800", "x" * 100_000])
def test_a_signature_of_another_form_is_refused(signature: str):
    signed = SIGNER.sign("papers", "a.pdf", 3)
    assert not SIGNER.accepts("papers", "a.pdf", 3, {**signed, "signature": signature})


def test_the_secret_is_not_printed():
    assert "0123456789abcdef" not in repr(SIGNER)


@pytest.mark.parametrize("url", ["ask.example.org", "ftp://x", "https://", "https://x/?a=1", "https://x/#y"])
def test_a_public_url_that_is_no_address_is_refused(url: str):
    with pytest.raises(ValidationError, match="public_url"):
        ServeConfig(public_url=url)
