"""ViDoRe's layouts, as the hub and the datasets library leave them in a folder."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from ragkit.errors import DataError
from ragkit.eval.sets.visual_sets import Picture, is_visual_set, read_visual_set


def png(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (4, 3), shade).save(file, "PNG")
    return file.getvalue()


PICTURES = [png(0), png(100), png(200)]
TEXTS = {"7": "dark", "8": "light", "9": "unjudged"}
QRELS = {"7": {"0": 1}, "8": {"1": 1, "2": 2}}


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.Table.from_pylist(rows), path)


def write_three_tables(folder: Path, mark: str = "-", names: str = "test-00000-of-00001.parquet") -> None:
    """mark: what stands between the words of the columns' names: "-" in ViDoRe 1 and 2, "_" in ViDoRe 3."""
    images = [{"bytes": content, "path": f"{number}.png"} for number, content in enumerate(PICTURES)]
    rows = [{f"corpus{mark}id": number, "image": image, "doc_id": "x"} for number, image in enumerate(images)]
    write(folder / "corpus" / names, rows)
    queries = [{f"query{mark}id": int(query), "query": text, "language": "en"} for query, text in TEXTS.items()]
    write(folder / "queries" / names, queries)
    judged = [
        {f"query{mark}id": int(query), f"corpus{mark}id": int(document), "score": float(grade)}
        for query, grades in QRELS.items()
        for document, grade in grades.items()
    ]
    write(folder / "qrels" / names, judged)


def assert_is_read(folder: Path, split: str = "test") -> None:
    assert is_visual_set(folder, False)
    found = read_visual_set(folder, split)
    assert found.queries == {"7": "dark", "8": "light"}
    assert found.qrels == QRELS
    assert [(picture.id, picture.content) for picture in found.pictures()] == list(
        zip("012", PICTURES, strict=True)
    )


@pytest.mark.parametrize(
    ("mark", "names"),
    [
        ("-", "test-00000-of-00001.parquet"),
        ("_", "test-00000-of-00001-0123456789abcdef.parquet"),
        ("_", "test/0000.parquet"),
        ("-", "test.parquet"),
        ("-", "data-00000-of-00001.parquet"),
    ],
)
def test_three_tables_as_the_hub_has_them(tmp_path: Path, mark: str, names: str):
    write_three_tables(tmp_path, mark, names)
    assert_is_read(tmp_path)


def test_what_the_datasets_library_saved_is_read(tmp_path: Path):
    from datasets import Dataset, DatasetDict
    from datasets import Image as ImageColumn

    write_three_tables(tmp_path / "hub")
    tables = {
        name: Dataset(parquet.read_table(tmp_path / "hub" / name / "test-00000-of-00001.parquet"))
        for name in ("corpus", "queries", "qrels")
    }
    tables["corpus"] = tables["corpus"].cast_column("image", ImageColumn())
    DatasetDict(tables).save_to_disk(tmp_path / "together")
    for name, table in tables.items():
        DatasetDict({"test": table}).save_to_disk(tmp_path / "each" / name)
    assert_is_read(tmp_path / "together")
    assert_is_read(tmp_path / "each")


def test_several_shards_are_read_in_order_and_other_splits_left_alone(tmp_path: Path):
    write_three_tables(tmp_path)
    corpus = tmp_path / "corpus"
    rows = parquet.read_table(corpus / "test-00000-of-00001.parquet").to_pylist()
    (corpus / "test-00000-of-00001.parquet").unlink()
    for number, row in enumerate(rows):
        write(corpus / f"test-{number:05}-of-00003.parquet", [row])
    write(tmp_path / "qrels" / "dev-00000-of-00001.parquet", [{"query-id": 9, "corpus-id": 0, "score": 1}])
    assert_is_read(tmp_path)
    assert read_visual_set(tmp_path, "dev").qrels == {"9": {"0": 1}}
    with pytest.raises(DataError, match=r"qrels has no .* split 'train'; splits here: dev, test"):
        read_visual_set(tmp_path, "train")


def test_grades_out_of_range_are_refused(tmp_path: Path):
    write_three_tables(tmp_path)
    judged = [{"query-id": 9, "corpus-id": 0, "score": 3_000_000_000}]
    write(tmp_path / "qrels" / "dev-00000-of-00001.parquet", judged)
    with pytest.raises(DataError, match=r"dev-00000.*: the grade is 3000000000, expected .* from -1000 to 1000"):
        read_visual_set(tmp_path, "dev")


def test_rows_of_query_and_picture(tmp_path: Path):
    # "dark" stands in two rows; two rows have one picture; a row has no query.
    rows = [
        {"query": "dark", "image": {"bytes": PICTURES[0], "path": None}, "image_filename": "a.png"},
        {"query": "light", "image": {"bytes": PICTURES[1], "path": None}, "image_filename": "b.png"},
        {"query": "pale", "image": {"bytes": PICTURES[1], "path": None}, "image_filename": "b.png"},
        {"query": None, "image": {"bytes": PICTURES[2], "path": None}, "image_filename": "c.png"},
        {"query": "dark", "image": {"bytes": PICTURES[2], "path": None}, "image_filename": "c.png"},
    ]
    write(tmp_path / "data" / "test-00000-of-00001.parquet", rows)
    found = read_visual_set(tmp_path)
    assert found.queries == {"q0": "dark", "q1": "light", "q2": "pale"}
    assert found.qrels == {"q0": {"a.png": 1, "c.png": 1}, "q1": {"b.png": 1}, "q2": {"b.png": 1}}
    assert [picture.id for picture in found.pictures()] == ["a.png", "b.png", "c.png"]
    assert [picture.content for picture in found.pictures()] == PICTURES
    for row in rows:
        row["image"] = row["image"]["bytes"]
        del row["image_filename"]
    write(tmp_path / "data" / "test-00000-of-00001.parquet", rows)
    unnamed = read_visual_set(tmp_path)
    assert unnamed.qrels == {"q0": {"0": 1, "4": 1}, "q1": {"1": 1}, "q2": {"2": 1}}
    assert [picture.id for picture in unnamed.pictures()] == list("01234")


def test_paths_of_pictures_beside_beir_files(tmp_path: Path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(PICTURES[0])
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text('{"_id": "a", "image": "images/a.png"}\n')
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "dark"}\n')
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\ta\t1\n")
    assert is_visual_set(tmp_path, False)
    found = read_visual_set(tmp_path)
    assert (found.queries, found.qrels) == ({"q": "dark"}, {"q": {"a": 1}})
    assert list(found.pictures()) == [Picture("a", tmp_path / "images" / "a.png")]
    before = found.fingerprint()
    (tmp_path / "images" / "a.png").write_bytes(PICTURES[1])
    assert read_visual_set(tmp_path).fingerprint() != before
    for image in ("images/b.png", "../a.png"):
        corpus.write_text(json.dumps({"_id": "a", "image": image}) + "\n")
        with pytest.raises(DataError, match=r"corpus\.jsonl:1: there is no picture"):
            list(read_visual_set(tmp_path).pictures())


def test_the_fingerprint_is_of_the_pictures(tmp_path: Path):
    write_three_tables(tmp_path)
    before = read_visual_set(tmp_path)
    pictures, judged = before.fingerprint(), before.judged_fingerprint()
    write(tmp_path / "qrels" / "test-00000-of-00001.parquet", [{"query-id": 9, "corpus-id": 0, "score": 1}])
    after = read_visual_set(tmp_path)
    assert after.fingerprint() == pictures
    assert after.judged_fingerprint() != judged
    write(tmp_path / "corpus" / "test-00000-of-00001.parquet", [{"corpus-id": 0, "image": PICTURES[0]}])
    assert after.fingerprint() != pictures


def test_texts_are_no_visual_set(tmp_path: Path):
    assert not is_visual_set(tmp_path, False)
    assert not is_visual_set(tmp_path / "nowhere", True)
    (tmp_path / "corpus.jsonl").write_text('{"_id": "a", "text": "x"}\n')
    assert not is_visual_set(tmp_path, True)


def test_texts_with_pictures_are_what_the_settings_read(tmp_path: Path):
    (tmp_path / "corpus.jsonl").write_text('{"_id": "a", "text": "a caption", "image": "a.png"}\n')
    assert is_visual_set(tmp_path, True)
    assert not is_visual_set(tmp_path, False)


@pytest.mark.parametrize(
    ("table", "rows", "message"),
    [
        ("corpus", [{"corpus-id": 0, "text": "x"}], r"none of the columns image; it has corpus-id, text"),
        ("corpus", [{"number": 0, "image": b"x"}], r"none of the columns corpus-id, corpus_id, _id, id"),
        ("queries", [{"query-id": 7}], r"none of the columns query, text"),
        ("queries", [{"query-id": 7, "query": "a"}] * 2, r"row 2: the query '7' has appeared before"),
        ("queries", [{"query-id": 7, "query": None}], r"row 1: 'query' is None, expected text"),
        ("queries", [{"query-id": 5, "query": "a"}], r"2 judged queries, '7' among them, are not in queries/"),
        ("qrels", [{"query-id": 7, "corpus-id": 0, "score": 0.5}], r"row 1: the grade is 0\.5, expected a whole"),
        ("qrels", [{"query-id": None, "corpus-id": 0, "score": 1}], r"row 1: an id is None"),
        (
            "qrels",
            [{"query-id": 7, "corpus-id": 0, "score": grade} for grade in (1, 2)],
            r"row 2: query '7' judges document '0' with 2 after 1",
        ),
    ],
)
def test_malformed_tables_are_named(tmp_path: Path, table: str, rows: list[dict[str, Any]], message: str):
    write_three_tables(tmp_path)
    write(tmp_path / table / "test-00000-of-00001.parquet", rows)
    with pytest.raises(DataError, match=message):
        read_visual_set(tmp_path)


def test_damaged_and_missing_pictures_are_named(tmp_path: Path):
    write_three_tables(tmp_path)
    path = tmp_path / "corpus" / "test-00000-of-00001.parquet"
    write(path, [{"corpus-id": 0, "image": PICTURES[0]}, {"corpus-id": 1, "image": None}])
    with pytest.raises(DataError, match=r"row 2: the document '1' has no picture"):
        list(read_visual_set(tmp_path).pictures())
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"test-00000-of-00001\.parquet cannot be read"):
        read_visual_set(tmp_path)


def test_few_pictures_are_held_at_once(tmp_path: Path):
    write_three_tables(tmp_path)
    rows = [{"corpus-id": number, "image": bytes([number % 256]) * 200_000} for number in range(400)]
    path = tmp_path / "corpus" / "test-00000-of-00001.parquet"
    parquet.write_table(pa.Table.from_pylist(rows), path, row_group_size=20, use_dictionary=False)
    del rows
    before, most = pa.total_allocated_bytes(), 0
    for number, picture in enumerate(read_visual_set(tmp_path).pictures()):
        assert picture.content[:1] == bytes([number % 256])
        most = max(most, pa.total_allocated_bytes() - before)
    assert number == 399
    # 80 MB in all, 4 MB a group of rows.
    assert most < 20_000_000
