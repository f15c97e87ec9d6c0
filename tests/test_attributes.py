"""Attributes of a corpus's documents: where they come from, what changes them, and searching by them."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from ragkit import Corpus, TextRecord, attribute
from ragkit.errors import CorpusError, FilterError
from ragkit.records import AskRequest, Filter
from tests.fakes import HashEmbedder, ThumbnailEmbedder
from tests.pdf_maker import PdfPage, make_pdf

INK = {"left": b"0 0 306 792 re f", "right": b"306 0 306 792 re f"}


class CountingEmbedder(HashEmbedder):
    """Counts the passages that it embeds."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def embed_passages(self, passages):  # type: ignore[no-untyped-def]
        self.count += len(passages)
        return super().embed_passages(passages)


def write_docs(folder: Path, **attributes: object) -> None:
    folder.mkdir(exist_ok=True)
    for name in ("a", "b", "c"):
        (folder / f"{name}.md").write_text(f"The crane {name} lifts forty tonnes.", "utf-8")
    say(folder, **attributes)


def say(folder: Path, **attributes: object) -> None:
    lines = [json.dumps({"file": f"{name}.md", "attributes": value}) for name, value in attributes.items()]
    (folder / "attributes.jsonl").write_text("\n".join(lines) + "\n\n", "utf-8")


def found(corpus: Corpus, where: object) -> list[str]:
    return sorted(hit.passage.document for hit in corpus.search("crane tonnes", 10, where=where))  # type: ignore[arg-type]


def attributes_of(corpus: Corpus) -> dict[str, object]:
    return {document.id: document.attributes for document in corpus.documents()}


def test_a_changed_sidecar_alone_changes_attributes_and_embeds_nothing(tmp_path: Path):
    docs = tmp_path / "docs"
    write_docs(docs, a={"year": 2021}, b={"year": 2022, "day": "2024-05-01"})
    embedder = CountingEmbedder()
    with Corpus.open(tmp_path / "c", embedder=embedder) as corpus:
        report = corpus.add(docs)
        assert (report.added, report.skipped, report.warnings) == (["a.md", "b.md", "c.md"], [], [])
        assert attributes_of(corpus) == {
            "a.md": {"year": 2021},
            "b.md": {"year": 2022, "day": date(2024, 5, 1)},
            "c.md": {},
        }
        assert found(corpus, "year >= 2022") == ["b.md"]
        count = embedder.count
        say(docs, a={"year": 2023}, c={"dept": "hr"})
        again = corpus.add(docs)
        assert (again.unchanged, again.reattributed) == (["a.md", "b.md", "c.md"], ["a.md", "b.md", "c.md"])
        assert (again.changes, embedder.count) == (False, count)
        assert attributes_of(corpus) == {"a.md": {"year": 2023}, "b.md": {}, "c.md": {"dept": "hr"}}
        assert found(corpus, "year >= 2022 or dept in (legal, hr)") == ["a.md", "c.md"]
        generation = corpus.info().generation
        assert corpus.add(docs / "a.md").reattributed == []
        assert corpus.info().generation == generation
        (docs / "attributes.jsonl").unlink()
        assert corpus.add(docs).reattributed == ["a.md", "c.md"]
        assert attributes_of(corpus) == {"a.md": {}, "b.md": {}, "c.md": {}}
        assert corpus.verify() == []


def test_attributes_outlast_a_changed_file_and_a_sidecar_names_win(tmp_path: Path):
    docs = tmp_path / "docs"
    write_docs(docs, a={"year": 2021})
    with Corpus.open(tmp_path / "c", embedder=HashEmbedder()) as corpus:
        corpus.add(docs)
        corpus.set_attributes({"a.md": {"year": 1900, "dept": "it"}, "b.md": {"day": date(2024, 1, 2)}})
        assert found(corpus, attribute("year") == 1900) == ["a.md"]
        for name in "ab":
            (docs / f"{name}.md").write_text("Another crane, other tonnes.", "utf-8")
        assert corpus.add(docs).changed == ["a.md", "b.md"]
        assert attributes_of(corpus) == {
            "a.md": {"year": 2021, "dept": "it"},
            "b.md": {"day": date(2024, 1, 2)},
            "c.md": {},
        }
        say(docs)
        corpus.add(docs)
        assert attributes_of(corpus)["a.md"] == {"dept": "it"}


def test_bad_lines_are_named_and_change_nothing(tmp_path: Path):
    docs = tmp_path / "docs"
    write_docs(docs, a={"year": 2021}, b={"year": 2022})
    with Corpus.open(tmp_path / "c", embedder=HashEmbedder()) as corpus:
        corpus.add(docs)
        lines = [
            '{"file": "a.md", "attributes": {"year": 2020}}',
            '{"file": "b.md", "attributes": {"year": [1]}}',
            "{oops",
            '{"file": "a.md", "attributes": {"year": 1}}',
            '{"file": "../x.md", "attributes": {}}',
            '{"file": "gone.md", "attributes": {}}',
            '{"name": "a.md"}',
        ]
        (docs / "attributes.jsonl").write_text("\n".join(lines), "utf-8")
        report = corpus.add(docs)
        place = f"{docs / 'attributes.jsonl'}, line "
        assert [problem.path for problem in report.failed] == [f"{place}{n}" for n in (2, 3, 4, 5, 7)]
        reasons = [problem.reason for problem in report.failed]
        for part, reason in zip(
            [r"year is [1] (list)", "no JSON", "has a line above", "same folder", "expected"], reasons, strict=True
        ):
            assert part in reason
        assert [(p.path, p.reason) for p in report.warnings] == [
            (f"{place}6", "there is no file 'gone.md' in this folder")
        ]
        assert attributes_of(corpus) == {"a.md": {"year": 2020}, "b.md": {"year": 2022}, "c.md": {}}
        (docs / "attributes.jsonl").write_bytes(b"\xff\xfe")
        [failed] = corpus.add(docs).failed
        assert "cannot be read" in failed.reason
        assert attributes_of(corpus)["a.md"] == {"year": 2020}
        [failed] = corpus.add(docs / "attributes.jsonl").failed
        assert "beside it" in failed.reason


def test_a_folders_sidecar_is_its_own(tmp_path: Path):
    docs = tmp_path / "docs"
    write_docs(docs, a={"year": 1})
    write_docs(docs / "sub", a={"year": 2})
    with Corpus.open(tmp_path / "c", embedder=HashEmbedder()) as corpus:
        corpus.add([docs / "sub", docs])
        assert sorted(str(d.attributes.get("year")) for d in corpus.documents()) == ["1", "2"] + ["None"] * 4
        assert corpus.info().attributes == {"year": {"number": 2}}


def test_records_bring_their_own_and_bad_ones_fail(tmp_path: Path):
    embedder = CountingEmbedder()
    text = "The crane lifts tonnes."
    with Corpus.open(tmp_path / "c", embedder=embedder) as corpus:
        report = corpus.add(
            [
                TextRecord("a", text, attributes={"day": date(2024, 1, 1), "draft": True}),
                TextRecord("b", text, attributes={"day": "2024-06-01"}),
                TextRecord("bad", text, attributes={"tags": ["x"]}),  # type: ignore[dict-item]
            ]
        )
        assert report.added == ["a", "b"]
        assert "attributes: tags is ['x']" in report.failed[0].reason
        assert found(corpus, "day > 2024-03-01") == ["b"]
        assert found(corpus, attribute("day") <= date(2024, 1, 1)) == ["a"]
        assert found(corpus, {"type": "ne", "key": "draft", "value": True}) == ["b"]
        count = embedder.count
        again = corpus.add(TextRecord("a", text, attributes={"draft": False}))
        assert (again.reattributed, embedder.count) == (["a"], count)
        assert corpus.info().attributes == {"day": {"date": 1}, "draft": {"boolean": 1}}


def test_where_there_is_no_document_yet_no_filter_is_a_mistake(tmp_path: Path):
    with Corpus.open(tmp_path / "c", embedder=HashEmbedder()) as corpus:
        assert corpus.search("crane", where="n > 2") == []
        with pytest.raises(FilterError, match="300 comparisons; 256"):
            corpus.search("crane", where=" or ".join(f"n = {n}" for n in range(300)))
        corpus.add(TextRecord("d", "The crane lifts tonnes."))
        with pytest.raises(FilterError, match="no document has the attribute 'n'"):
            corpus.search("crane", where="n > 2")


def test_where_and_documents_hold_together_and_mistakes_are_refused(tmp_path: Path):
    with Corpus.open(tmp_path / "c", embedder=HashEmbedder()) as corpus:
        corpus.add([TextRecord(f"d{i}", "The crane lifts tonnes.", attributes={"n": i}) for i in range(6)])
        hits = corpus.search("crane", 10, documents=["d1", "d4"], where="n > 2")
        assert [hit.passage.document for hit in hits] == ["d4"]
        whole = Filter(frozenset({"d4", "d5"}), attribute("n") < 5)
        assert found(corpus, whole) == ["d4"]
        assert {hit.passage.document for hit in corpus.ask("What lifts tonnes?", where="n = 3").hits} == {"d3"}
        for where, message in (
            ("n >", "character 4"),
            ("m > 1", "character 1 .*'m'.*known attributes: n .number."),
            ('n > "abc"', "n is compared with the string 'abc'"),
            (7, "7 is no filter"),
        ):
            with pytest.raises(FilterError, match=message):
                corpus.search("crane", where=where)  # type: ignore[arg-type]
        with pytest.raises(FilterError, match="'m'"):
            corpus._submit(AskRequest("crane?", where=Filter(condition=attribute("m") == 1)), list).result(20)
        with pytest.raises(CorpusError, match="no document 'x'"):
            corpus.set_attributes({"d1": {"n": 99}, "x": {}})
        with pytest.raises(CorpusError, match=r"attributes of 'd1': n is None"):
            corpus.set_attributes({"d1": {"n": None}})  # type: ignore[dict-item]
        assert found(corpus, "n > 5 or n < 0") == []
        corpus.set_attributes({"d1": {"m": "x"}})
        assert found(corpus, "m = x") == ["d1"]


@pytest.mark.parametrize("embed", ["image", "both"])
def test_filters_hold_for_pictures_and_for_pages_of_both(tmp_path: Path, embed: str):
    docs = tmp_path / "docs"
    docs.mkdir()
    for name, place in (("a", "left"), ("b", "right"), ("c", "left")):
        make_pdf(docs / f"{name}.pdf", [PdfPage(text=f"left crane {name}", drawing=INK[place])])
    lines = [
        json.dumps({"file": f"{name}.pdf", "attributes": {"year": year}}) for name, year in (("a", 1), ("b", 2))
    ]
    (docs / "attributes.jsonl").write_text("\n".join(lines), "utf-8")
    settings = {"pages": {"embed": embed, "dpi": 36}}
    embedders = {"page_embedder": ThumbnailEmbedder()}
    if embed == "both":
        embedders["embedder"] = HashEmbedder()  # type: ignore[assignment]
    with Corpus.open(tmp_path / "c", config=settings, **embedders) as corpus:  # type: ignore[arg-type]
        assert corpus.add(docs).failed == []
        for where, wanted in (("year = 2", ["b.pdf"]), ("year != 2", ["a.pdf", "c.pdf"]), ("year > 2", [])):
            for level in ("passage", "page"):
                hits = corpus.search("left", 10, level=level, where=where)  # type: ignore[arg-type]
                assert sorted({hit.passage.document for hit in hits}) == wanted


def test_a_sidecar_may_end_its_lines_as_windows_does_and_names_may_be_in_any_script(tmp_path: Path):
    docs = tmp_path / "docs"
    write_docs(docs)
    lines = (
        '\ufeff{"file": "a.md", "attributes": {"größe": 1.5}}\r\n{"file": "b.md", "attributes": {"größe": 2}}\r\n'
    )
    (docs / "attributes.jsonl").write_text(lines, "utf-8", newline="")
    with Corpus.open(tmp_path / "c", embedder=HashEmbedder()) as corpus:
        assert corpus.add(f"{docs}/*.md").failed == []
        assert found(corpus, "größe < 2") == ["a.md"]
        assert found(corpus, "größe > 1 and not größe = 2") == ["a.md"]
