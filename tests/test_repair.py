"""Damage of every kind of file is named by verify, and repaired from what the catalogue and the documents tell."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from ragkit import Corpus, TextRecord
from ragkit.errors import CorpusDamagedError, CorpusError
from ragkit.indexers.catalogue import StoredFile
from ragkit.indexers.repair import restore_manifest
from ragkit.indexers.shards import current_vectors
from ragkit.indexers.vectors.token_shards import token_files
from ragkit.indexers.vectors.token_vectors import KINDS as TOKEN_KINDS
from ragkit.indexers.vectors.token_vectors import TokenVectors
from ragkit.indexers.vectors.vector_shards import PICTURES, TEXTS, write_shard
from ragkit.records import FloatArray, Passage
from tests.fakes import HashEmbedder, RowTokenEmbedder, ThumbnailEmbedder
from tests.pdf_maker import PdfPage, make_pdf
from tests.test_cli import run

NUM_FIRST, NUM_SECOND = 40, 12
REMOVED = ["first-03", "first-04", "second-01"]
CONFIG = {"index": {"kind": "hnsw", "min_vectors": 8}}
PAGES = {"pages": {"embed": "image", "dpi": 36, "render_processes": 1}}


class Counting(HashEmbedder):
    """Counts the passages it embeds."""

    def __init__(self, dim: int = 64) -> None:
        super().__init__(dim)
        self.count = 0

    def embed_passages(self, passages: Sequence[Passage]) -> FloatArray:
        self.count += len(passages)
        return super().embed_passages(passages)


def missing(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def flipped(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-len(raw) // 4] ^= 16
    path.write_bytes(raw)


def noise(path: Path) -> None:
    """All but the header of an SQLite file."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(100)
        file.write(np.random.default_rng(0).bytes(size - 100))


DAMAGES = {"is missing": missing, "bytes instead of": cut, "was altered": flipped}


def records(name: str, count: int) -> list[TextRecord]:
    return [
        TextRecord(f"{name}-{i:02d}", f"Entry {i * 37 % 101} of {name}: crane {i}, tide {i % 7}.")
        for i in range(count)
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards of texts, each with an index and dead rows."""
    path = tmp_path_factory.mktemp("texts") / "corpus"
    with Corpus.open(path, embedder=HashEmbedder(), config=CONFIG) as corpus:
        corpus.add(records("first", NUM_FIRST))
        corpus.add(records("second", NUM_SECOND))
        corpus.remove(REMOVED)
        assert corpus.verify() == []
        kinds = [file.kind for file in corpus._catalogue.files()]
        assert (kinds.count("keys"), kinds.count("vectors"), kinds.count("index")) == (2, 2, 2)
    return path


@pytest.fixture
def corpus_path(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "corpus")


def open_texts(path: Path, embedder: HashEmbedder | None = None) -> Corpus:
    return Corpus.open(path, embedder=embedder or HashEmbedder(), create=False)


def contents(corpus: Corpus) -> tuple[list[object], FloatArray, list[list[tuple[str, float]]]]:
    """Documents, vectors by key, and what a few searches find."""
    vectors = current_vectors(corpus._catalogue, TEXTS, 64)[1]
    hits = corpus.search_many(["crane 7", "tide second", "Entry 37 of first"], 8)
    found = [[(hit.passage.document, round(hit.score, 4)) for hit in some] for some in hits]
    return corpus.documents(), vectors, found


def assert_as_before(path: Path, before: tuple[list[object], FloatArray, list[list[tuple[str, float]]]]) -> None:
    with open_texts(path) as corpus:
        documents, vectors, found = contents(corpus)
        assert (documents, found) == (before[0], before[2])
        np.testing.assert_array_equal(vectors, before[1])
        named = {file.path for file in corpus._catalogue.files()}
        there = {
            p.relative_to(path).as_posix() for part in ("vectors", "lexical") for p in (path / part).iterdir()
        }
        assert there == named


@pytest.mark.parametrize("kind", ["keys", "vectors", "index", "lexical_shard"])
@pytest.mark.parametrize("said", DAMAGES)
def test_a_damaged_file_is_named_and_made_again(corpus_path: Path, kind: str, said: str):
    embedder = Counting()
    with open_texts(corpus_path, embedder) as corpus:
        before = contents(corpus)
        file = corpus._catalogue.files(kind)[-1]
        DAMAGES[said](corpus_path / file.path)
        assert [file.path in problem and said in problem for problem in corpus.verify()] == [True]
        report = corpus.repair()
        assert (len(report.done), report.left) == (1, [])
        assert corpus.verify() == []
    # Only what the lost shard held, and keys cost no embedding.
    assert embedder.count == (NUM_SECOND - 1 if kind == "vectors" else 0)
    assert_as_before(corpus_path, before)


def test_everything_at_once(corpus_path: Path):
    embedder = Counting()
    with open_texts(corpus_path, embedder) as corpus:
        before = contents(corpus)
        files = corpus._catalogue.files()
        for i, file in enumerate(files):
            list(DAMAGES.values())[i % 3](corpus_path / file.path)
        assert len(corpus.verify()) == len(files)
        with pytest.raises(CorpusDamagedError, match="ragkit"):
            corpus.add(records("third", 1))
        embedder.count = 0
        assert corpus.repair().left == []
    assert embedder.count == NUM_FIRST + NUM_SECOND - len(REMOVED)
    assert_as_before(corpus_path, before)


def test_a_shard_between_two_others_is_made_again_between_them(tmp_path: Path):
    embedder = Counting()
    with Corpus.open(tmp_path / "corpus", embedder=embedder, config=CONFIG) as corpus:
        for name, count in (("first", 100), ("second", 25), ("third", 9)):
            corpus.add(records(name, count))
        before = contents(corpus)
        shards = corpus._catalogue.files("vectors")
        assert len(shards) == 3
        (tmp_path / "corpus" / shards[1].path).unlink()
        embedder.count = 0
        assert corpus.repair().left == []
        assert embedder.count == 25
    assert_as_before(tmp_path / "corpus", before)


def test_another_embedder_repairs_nothing(corpus_path: Path):
    with open_texts(corpus_path) as corpus:
        file = corpus._catalogue.files("vectors")[0]
    (corpus_path / file.path).unlink()
    with open_texts(corpus_path, HashEmbedder(32)) as corpus, pytest.raises(CorpusError, match="32"):
        corpus.repair()
    with open_texts(corpus_path) as corpus:
        assert [file.path in problem for problem in corpus.verify()] == [True]
        assert corpus.repair().left == []


def change(corpus_path: Path, sql: str, *values: object) -> None:
    connection = sqlite3.connect(corpus_path / "catalogue.sqlite")
    with connection:
        connection.execute(sql, values)
    connection.close()


def test_rows_of_no_passage_are_named_and_buried(corpus_path: Path):
    with open_texts(corpus_path) as corpus:
        before = contents(corpus)
    change(corpus_path, "DELETE FROM dead_passages")
    with open_texts(corpus_path) as corpus:
        problems = corpus.verify()
        assert [problem.split("/")[0] for problem in problems] == ["vectors", "lexical"]
        assert all("3 passages that there are not (first: 3)" in problem for problem in problems)
        assert corpus.repair().left == []
        assert corpus.verify() == []
    assert_as_before(corpus_path, before)


def test_dead_keys_of_living_passages_are_named_and_revived(corpus_path: Path):
    with open_texts(corpus_path) as corpus:
        before = contents(corpus)
    change(corpus_path, "INSERT INTO dead_passages VALUES (7), (8)")
    with open_texts(corpus_path) as corpus:
        assert corpus.verify() == ["2 passages are noted as removed (first: passage 7)"]
        report = corpus.repair()
        assert (report.done, report.left) == (["2 passages are no longer noted as removed"], [])
    assert_as_before(corpus_path, before)


@pytest.mark.parametrize("facts", ["swapped", "none", "gone"])
def test_an_index_of_another_shard_is_named_and_built_again(corpus_path: Path, facts: str):
    with open_texts(corpus_path) as corpus:
        before = contents(corpus)
        stored = corpus._catalogue.file_facts()
        first, second = sorted(stored)
    if facts == "swapped":
        change(corpus_path, "UPDATE file_facts SET facts = ? WHERE path = ?", json.dumps(stored[first]), second)
    elif facts == "none":
        change(corpus_path, "DELETE FROM file_facts WHERE path = ?", second)
    else:
        gone = json.dumps({**stored[second], "shard": 999})
        change(corpus_path, "UPDATE file_facts SET facts = ? WHERE path = ?", gone, second)
    with open_texts(corpus_path) as corpus:
        assert [second in problem for problem in corpus.verify()] == [True]
        assert corpus.repair().left == []
    assert_as_before(corpus_path, before)


@pytest.mark.parametrize("kind", ["ivf-flat", "HNSW4"])
def test_an_index_of_other_vectors_of_the_same_number_is_named(tmp_path: Path, kind: str):
    config = {"index": {"kind": kind, "min_vectors": 8}}
    with Corpus.open(tmp_path / "corpus", embedder=HashEmbedder(), config=config) as corpus:
        corpus.add(records("first", 300))
        [file] = corpus._catalogue.files("index")
        keys, vectors = current_vectors(corpus._catalogue, TEXTS, 64)
        # The same rows in another order, written as a shard would be.
        order = np.random.default_rng(0).permutation(len(keys))
        with corpus._catalogue.transaction() as generation:
            old = [f for f in corpus._catalogue.files() if f.kind in ("keys", "vectors")]
            corpus._catalogue.drop_files(old)
            for new in write_shard(corpus.path, TEXTS, generation, keys, [vectors[order]]):
                corpus._catalogue.add_file(new)
            facts = corpus._catalogue.file_facts()[file.path]
            corpus._catalogue.set_file_facts(file.path, {**facts, "shard": generation})
        assert [file.path in problem and "other vectors" in problem for problem in corpus.verify()] == [True]
        assert corpus.repair().left == []
        assert corpus.verify() == []


def other_number(path: Path) -> None:
    path.write_text(path.read_text().replace("64", "65"))


@pytest.mark.parametrize("damage", [missing, cut, other_number])
def test_the_manifest_is_written_again(corpus_path: Path, damage: Callable[[Path], None]):
    path = corpus_path / "manifest.json"
    content = path.read_bytes()
    damage(path)
    try:
        with open_texts(corpus_path) as corpus:
            said = " ".join(corpus.verify())
    except CorpusError as error:
        said = str(error)
    assert "manifest.json" in said or "there is no corpus" in said
    assert restore_manifest(corpus_path) == ["manifest.json was written again from the catalogue"]
    assert path.read_bytes() == content
    with open_texts(corpus_path) as corpus:
        assert corpus.verify() == []


def test_the_command_names_what_it_did_and_what_is_left(corpus_path: Path):
    other_number(corpus_path / "manifest.json")
    connection = sqlite3.connect(corpus_path / "catalogue.sqlite")
    [lexical, *_] = connection.execute("SELECT path FROM files WHERE kind = 'lexical_shard'").fetchall()
    connection.close()
    (corpus_path / lexical[0]).unlink()
    done = run("repair", "--corpus", corpus_path, "--json", cwd=corpus_path.parent)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "corpus": str(corpus_path),
        "sound": True,
        "done": [
            "manifest.json was written again from the catalogue",
            "the BM25 index was made again from the texts",
        ],
        "left": [],
    }
    change(corpus_path, "UPDATE documents SET num_pages = 2 WHERE id = 'first-00'")
    with open_texts(corpus_path) as corpus:
        report = corpus.repair()
    assert report.done == []
    assert report.left[0] == "document 'first-00' has 1 of its 2 pages"
    assert report.left[1].endswith("document 'first-00' is not as it was stored")
    assert "restore it from a backup, or index into a new corpus" in report.left[2]


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def shortened(path: Path) -> None:
    os.truncate(path, 20_000)


@pytest.mark.parametrize("damage", [missing, emptied, shortened, noise])
def test_a_damaged_catalogue_is_named_with_what_to_do(corpus_path: Path, damage: Callable[[Path], None]):
    damage(corpus_path / "catalogue.sqlite")
    with pytest.raises(CorpusDamagedError, match=r"catalogue.sqlite .*restore it from a backup"):  # noqa: SIM117
        with open_texts(corpus_path) as corpus:
            assert len(corpus.verify()) > 0
            raise CorpusDamagedError(" ".join(corpus.repair().left))


def test_left_overs_are_swept(corpus_path: Path):
    left = [corpus_path / "vectors" / "99999999.keys.npy", corpus_path / "lexical" / ".00000099.lexical.7.tmp"]
    left += [corpus_path / ".manifest.json.7.tmp", corpus_path / "pages" / "ab" / "abcd.jpg"]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"left over")
    with open_texts(corpus_path) as corpus:
        assert corpus.verify() == []
        report = corpus.repair()
        assert (report.done, report.left) == ([], [])
    assert not any(path.exists() for path in left)


# Pictures


def open_pictures(path: Path) -> Corpus:
    parts = {"page_embedder": ThumbnailEmbedder(), "token_embedder": RowTokenEmbedder()}
    return Corpus.open(path / "corpus", config=PAGES, **parts)


@pytest.fixture(scope="module")
def whole_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures")
    (path / "docs").mkdir()
    with open_pictures(path) as corpus:
        for name, count in (("a", 7), ("b", 2)):
            drawings = [b"%d %d 40 40 re f" % (20 * i + 10, 30 * i + len(name)) for i in range(1, count + 1)]
            pages = [PdfPage(f"{name}{i}", drawing=d) for i, d in enumerate(drawings)]
            make_pdf(path / "docs" / f"{name}.pdf", pages)
            assert not corpus.add(path / "docs" / f"{name}.pdf").failed
        assert corpus.verify() == []
        assert len(corpus._catalogue.files("page_keys")) == 2
    return path


@pytest.fixture
def pictures(whole_pictures: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole_pictures / "corpus", tmp_path / "corpus")
    # The documents' paths stand in the catalogue.
    change(
        tmp_path / "corpus",
        "UPDATE documents SET source = replace(source, ?, ?)",
        str(whole_pictures),
        str(tmp_path),
    )
    shutil.copytree(whole_pictures / "docs", tmp_path / "docs")
    return tmp_path


def picture_contents(corpus: Corpus) -> tuple[FloatArray, list[FloatArray], set[str]]:
    vectors = current_vectors(corpus._catalogue, PICTURES, 64)[1]
    tokens = TokenVectors.open(corpus.path, token_files(corpus._catalogue))
    kept = {path.name for path in (corpus.path / "pages").glob("*/*")}
    return vectors, [tokens.rows(int(key)) for key in tokens.keys], kept


@pytest.mark.parametrize(
    ("kind", "said"),
    [*zip(["page_keys", "page_vectors", *TOKEN_KINDS[:3]], [*DAMAGES, *DAMAGES], strict=False)],
)
def test_damaged_files_of_pictures_are_made_again(pictures: Path, kind: str, said: str):
    with open_pictures(pictures) as corpus:
        before = picture_contents(corpus)
        file: StoredFile = corpus._catalogue.files(kind)[0]
        DAMAGES[said](corpus.path / file.path)
        assert [file.path in problem and said in problem for problem in corpus.verify()] == [True]
        report = corpus.repair()
        assert (len(report.done), report.left) == (1, [])
        after = picture_contents(corpus)
    np.testing.assert_array_equal(after[0], before[0])
    for rows, expected in zip(after[1], before[1], strict=True):
        np.testing.assert_array_equal(rows, expected)
    assert after[2] == before[2]


@pytest.mark.parametrize("damage", DAMAGES.values())
def test_damaged_page_pictures_are_drawn_again(pictures: Path, damage: Callable[[Path], None]):
    with open_pictures(pictures) as corpus:
        kept = {path: path.read_bytes() for path in (corpus.path / "pages").glob("*/*")}
        for path in list(kept)[:2]:
            damage(path)
        assert len(corpus.verify()) == 2
        report = corpus.repair()
        assert (report.done, report.left) == (["2 page pictures were drawn again"], [])
    assert {path: path.read_bytes() for path in kept} == kept


def test_what_a_document_that_is_gone_leaves_is_named(pictures: Path):
    with open_pictures(pictures) as corpus:
        document = pictures / "docs" / "b.pdf"
        content = document.read_bytes()
        document.unlink()
        for number in (1, 2):
            image = corpus.store.page_image("b.pdf", number)
            assert image is not None
            Path(image.path).unlink()
        (corpus.path / corpus._catalogue.files("page_vectors")[-1].path).unlink()
        left = corpus.repair().left
        assert left[0].startswith("page 1 of 'b.pdf': ")
        assert left[0].endswith("index its file again, or remove the document")
        assert "page_vectors/ has no rows of 2 of 9 passages (first: 7)" in left[-1]
        assert len([problem for problem in left if "page picture" in problem and "missing" in problem]) == 2
        document.write_bytes(content)
        assert corpus.add(pictures / "docs").changed == ["b.pdf"]
        assert corpus.verify() == []


def test_a_changed_document_is_not_drawn_again_and_can_be_removed(pictures: Path):
    with open_pictures(pictures) as corpus:
        image = corpus.store.page_image("b.pdf", 1)
        assert image is not None
        Path(image.path).unlink()
        make_pdf(pictures / "docs" / "b.pdf", ["other"])
        left = corpus.repair().left
        assert "b.pdf changed since it was indexed" in left[0]
        assert corpus.remove(["b.pdf"]) == ["b.pdf"]
        assert corpus.repair().left == []


def test_an_index_that_cannot_be_trained_is_named_and_loses_nothing(tmp_path: Path):
    config = {"index": {"kind": "IVF64,PQ16x8", "min_vectors": 8}}
    with Corpus.open(tmp_path / "corpus", embedder=HashEmbedder(), config=config) as corpus:
        report = corpus.add(records("first", 12))
        assert len(report.added) == 12
        [warning] = report.warnings
        assert warning.reason.startswith("FAISS cannot build 'IVF64,PQ16x8' over 12 vectors: ")
        assert warning.reason.endswith("Until then these vectors are searched exactly")
        assert corpus.verify() == []
        assert len(corpus.search("crane", 20)) == 12
        assert corpus.info().searched_exactly == ["12 vectors of vectors: its IVF64,PQ16x8 is not built"]
        assert corpus.remove("first-03") == ["first-03"]
    with Corpus.open(tmp_path / "corpus", embedder=HashEmbedder(), config={"index": {"kind": "ivf-pq"}}) as corpus:
        corpus.add(records("first", 13))
        assert len(corpus.search("crane", 20)) == 13
        assert corpus.info().searched_exactly[0] == "12 vectors of vectors: 12 vectors, too few for ivf-pq"


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("UPDATE pages SET text = replace(text, 'a', 'e')", "document 'first-00' is not as it was stored"),
        ("UPDATE passages SET kind = 'txet' WHERE key = 20", "is not as it was stored"),
        (
            "UPDATE documents SET title = 'other' WHERE id = 'first-07'",
            "document 'first-07' is not as it was stored",
        ),
        ("DELETE FROM document_digests WHERE document = 2", "document 'first-01' is not as it was stored"),
    ],
)
def test_altered_rows_of_the_catalogue_are_named(corpus_path: Path, sql: str, said: str):
    change(corpus_path, sql)
    with open_texts(corpus_path) as corpus:
        assert any(said in problem for problem in corpus.verify())


def test_altered_attributes_are_named(tmp_path: Path):
    with Corpus.open(tmp_path / "c", embedder=HashEmbedder()) as corpus:
        corpus.add([TextRecord("a", "tide", attributes={"dept": "legal"}), TextRecord("b", "tide")])
        corpus.set_attributes({"b": {"dept": "sales", "year": 2024}})
        assert corpus.verify() == []
    change(tmp_path / "c", "UPDATE attribute_values SET value = 'megal' WHERE value = 'legal'")
    with open_texts(tmp_path / "c") as corpus:
        assert corpus.verify() == ["the catalogue was altered: document 'a' is not as it was stored"]


def test_damaged_settings_are_named(corpus_path: Path):
    for value, said in (
        ("{", "is no readable catalogue"),
        ('{"documents": {"encoeing": "x"}}', "remembers are damaged"),
    ):
        change(corpus_path, "UPDATE facts SET value = ? WHERE name = 'settings'", value)
        with pytest.raises(CorpusDamagedError, match=said):
            open_texts(corpus_path)
