"""Lexical shards on disk: what they hold, merging, damage, and how little of them is read to open them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ragkit.config import LexicalConfig
from ragkit.errors import CorpusDamagedError
from ragkit.indexers.lexical import lexical_merge
from ragkit.indexers.lexical.bm25_index import Bm25Index
from ragkit.indexers.lexical.lexical_merge import merge_shards
from ragkit.indexers.lexical.lexical_shards import LexicalShard, build_shard, open_shard, save_shard
from ragkit.indexers.lexical.section_file import SectionWriter, open_sections
from ragkit.indexers.lexical.terms import TermAnalyzer

NONE = np.zeros(0, np.int64)


def saved(
    folder: Path, name: str, keys: list[int], texts: list[str], analyzer: TermAnalyzer | None = None
) -> Path:
    path = folder / name
    with path.open("wb") as file:
        save_shard(build_shard(np.array(keys), texts, analyzer or TermAnalyzer("none")), file)
    return path


def contents(shard: LexicalShard) -> dict[str, list[tuple[int, int]]]:
    """Term -> (key, count) of its postings."""
    terms = (width for width in shard.vocabulary.widths.tolist())
    words = [term.decode() for width in terms for term in shard.vocabulary.of_width(width)[1].tolist()]
    return {
        word: list(zip(shard.keys[shard.rows[begin:end]].tolist(), shard.counts[begin:end].tolist(), strict=True))
        for word, begin, end in zip(words, shard.starts[:-1].tolist(), shard.starts[1:].tolist(), strict=True)
    }


def test_a_shard_holds_the_counts(tmp_path: Path):
    shard = open_shard(saved(tmp_path, "s", [4, 7, 9], ["bb aa bb", "", "aa ccc 港口x"]))
    assert contents(shard) == {"aa": [(4, 1), (9, 1)], "bb": [(4, 2)], "ccc": [(9, 1)], "港口": [(9, 1)]}
    assert shard.keys.tolist() == [4, 7, 9]
    assert shard.lengths.tolist() == [3, 0, 3]
    assert (shard.total_length, shard.language, shard.ngram) == (6, "none", 2)


def test_many_occurrences_in_one_passage_are_counted(tmp_path: Path):
    shard = open_shard(saved(tmp_path, "s", [1, 2], ["aa " * 70_000, "aa " * 300]))
    assert contents(shard) == {"aa": [(1, 70_000), (2, 300)]}


@pytest.mark.parametrize("block", [1, 3, 1000])
def test_merging_equals_building_the_living_passages(tmp_path: Path, block: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lexical_merge, "_BLOCK", block)
    texts = ["aa bb aa", "cc", "bb dd", "", "aa dd éé", "ee " * 300, "cc ff"]
    keys = [1, 2, 5, 6, 8, 10, 11]
    parts = [open_shard(saved(tmp_path, f"{i}", keys[i : i + 3], texts[i : i + 3])) for i in (3, 0, 6)]
    dead = np.array([2, 3, 6, 11, 99])
    with (tmp_path / "merged").open("wb") as file:
        merge_shards(parts, dead, file)
    merged = open_shard(tmp_path / "merged")
    living = [i for i, key in enumerate(keys) if key not in dead]
    fresh = build_shard(np.array([keys[i] for i in living]), [texts[i] for i in living], TermAnalyzer("none"))
    assert contents(merged) == contents(fresh)
    for name in ("keys", "lengths", "votes", "starts", "rows", "total_length", "vote_counts"):
        np.testing.assert_array_equal(getattr(merged, name), getattr(fresh, name))


def test_shards_of_nothing_but_dead_passages_merge_to_an_empty_one(tmp_path: Path):
    parts = [open_shard(saved(tmp_path, f"{key}", [key], ["aa bb"])) for key in (1, 2)]
    with (tmp_path / "merged").open("wb") as file:
        merge_shards(parts, np.array([1, 2]), file)
    merged = open_shard(tmp_path / "merged")
    assert (len(merged), contents(merged)) == (0, {})
    assert Bm25Index([merged], NONE, LexicalConfig()).search(["aa"], 1)[1].tolist() == [[-1]]


def test_shards_made_with_different_settings_do_not_mix(tmp_path: Path):
    parts = [
        open_shard(saved(tmp_path, language, [i], ["aa"], TermAnalyzer(language)))
        for i, language in enumerate(["none", "german"])
    ]
    with pytest.raises(CorpusDamagedError, match=r"different settings.*german, 2.*ragkit verify"):
        Bm25Index(parts, NONE, LexicalConfig())


@pytest.mark.parametrize("size", [0, 10, 100, -1])
def test_a_truncated_file_is_damage(tmp_path: Path, size: int):
    path = saved(tmp_path, "cut.lexical", [1, 2], ["aa bb", "cc"])
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(CorpusDamagedError, match=r"cut\.lexical is damaged .*; run ragkit verify"):
        open_shard(path)


def test_a_flipped_byte_is_damage_or_changes_nothing_but_hits(tmp_path: Path):
    """In the head it is noticed at once; elsewhere it may be, and breaks a search in no other way."""
    path = saved(tmp_path, "bad.lexical", [1, 2, 3], ["aa bb", "cc aa aa", "dd"])
    whole = path.read_bytes()
    noticed: set[int] = set()
    with np.errstate(all="raise"):
        for place in range(len(whole)):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x81]) + whole[place + 1 :])
            try:
                Bm25Index([open_shard(path)], np.array([2]), LexicalConfig()).search(["aa bb cc dd"], 3)
            except CorpusDamagedError as error:
                assert "bad.lexical is damaged" in str(error)
                noticed.add(place)
    assert noticed.issuperset(range(16))
    assert len(noticed) > len(whole) // 4


def test_opening_reads_the_head_alone(tmp_path: Path):
    """64 GiB that are all hole: to read them would take minutes."""
    path = tmp_path / "huge"
    with path.open("wb") as file:
        writer = SectionWriter(file, {"a": 1}, {"rows": (np.uint32, 1 << 34), "few": (np.int64, 2)})
        writer.write("few", np.array([5, 6]))
    facts, arrays = open_sections(path)
    assert facts == {"a": 1}
    assert arrays["few"].tolist() == [5, 6]
    assert (len(arrays["rows"]), int(arrays["rows"][-1])) == (1 << 34, 0)
    assert not arrays["rows"].flags.writeable
