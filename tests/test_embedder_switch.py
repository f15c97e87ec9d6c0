"""A corpus switched to a trained model: kept with it, found by itself, named, followed by readers, left again."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ragkit import Corpus, TextRecord
from ragkit.cli import app
from ragkit.config import parse_config
from ragkit.errors import ConfigError, CorpusDamagedError, CorpusError, DataError
from ragkit.hosting.store_corpus import StoreCorpus, StoreModels
from ragkit.indexers.kept_model import Trained
from tests.fakes import HashEmbedder
from tests.retrievers.training.tiny_text_model import WORDS, make_tiny_model
from tests.switching import contents, hits

CONFIG = {
    "passages": {"max_tokens": 12, "overlap_tokens": 0},
    "retrieval": {"method": "dense"},
    "embedder": {"device": "cpu", "dtype": "float32"},
}
GIVEN = [TextRecord(f"d{i}", " ".join(WORDS[(i * step) % 40] for step in range(1, 7))) for i in range(20)]
QUERY = "word3 word9 word1"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An untrained one, and one that says what it was trained from."""
    folder = tmp_path_factory.mktemp("models")
    base, tuned = make_tiny_model(folder / "base"), make_tiny_model(folder / "tuned", seed=1)
    record = {"base": {"name": "base-model"}, "data": "abc", "data_folder": "lists", "made": "2026-01-02"}
    (tuned / "train.json").write_text(json.dumps(record))
    return base, tuned


def open_named(path: Path, model: Path | None = None) -> Corpus:
    embedder = dict(CONFIG["embedder"]) if model is None else {**CONFIG["embedder"], "name": str(model)}
    return Corpus.open(path, config={**CONFIG, "embedder": embedder})


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path]) -> Path:
    path = tmp_path_factory.mktemp("before") / "c"
    with open_named(path, models[0]) as corpus:
        corpus.add(GIVEN)
    return path


@pytest.fixture
def path(tmp_path: Path, before: Path) -> Path:
    return Path(shutil.copytree(before, tmp_path / "c"))


def test_the_model_is_kept_with_the_corpus_which_moves_as_one_folder(
    tmp_path: Path, path: Path, models: tuple[Path, Path]
):
    tuned = Path(shutil.copytree(models[1], tmp_path / "tuned"))
    with open_named(path) as corpus:
        report = corpus.switch_embedder(tuned)
        fingerprint = report.embedder.fingerprint
        assert report.embedder.name == f"models/{fingerprint[:16]}"
        assert (path / report.embedder.name / "model.safetensors").is_file()
        expected = hits(corpus, QUERY)
    shutil.rmtree(tuned)
    moved = Path(shutil.move(path, tmp_path / "elsewhere"))
    with open_named(tmp_path / "fresh", models[1]) as fresh, open_named(moved) as corpus:
        fresh.add(GIVEN)
        assert corpus.embedder.fingerprint == fingerprint == fresh.embedder.fingerprint
        assert contents(corpus) == contents(fresh)
        assert hits(corpus, QUERY) == hits(fresh, QUERY) == expected
        corpus.add(TextRecord("new", "word3 word9 word1"))
        assert hits(corpus, QUERY)[0][0] == "new"
        assert corpus.verify() == []


def test_another_model_that_is_named_is_refused_by_name(path: Path, models: tuple[Path, Path]):
    with open_named(path) as corpus:
        corpus.switch_embedder(models[1])
        expected = hits(corpus, QUERY)
    with open_named(path, models[1]) as corpus:
        assert hits(corpus, QUERY) == expected
    with open_named(path, models[0]) as corpus, pytest.raises(CorpusError, match="'models/.*opened with '.*base'"):
        corpus.search(QUERY)
    # Whoever names it does not make the corpus forget where its own is.
    with open_named(path, models[1]) as corpus:
        corpus.add(TextRecord("more", "word5"))
    with open_named(path) as corpus:
        assert corpus.embedder.name == str(path / corpus.info().embedder.name)


def test_info_names_both_and_what_they_were_trained_from(path: Path, models: tuple[Path, Path]):
    with open_named(path) as corpus:
        first = corpus.info()
        assert (first.former_embedder, first.trained, first.former_trained) == (None, None, None)
        corpus.switch_embedder(models[1])
        info = corpus.info()
        assert info.former_embedder == first.embedder
        assert (info.trained, info.former_trained) == (Trained("base-model", "lists", "2026-01-02"), None)
        corpus.switch_back()
        info = corpus.info()
        assert (info.embedder, info.trained) == (first.embedder, None)
        assert (info.former_embedder.name[:7], info.former_trained.base) == ("models/", "base-model")


def test_a_model_that_nothing_needs_is_swept(tmp_path: Path, path: Path, models: tuple[Path, Path]):
    third = make_tiny_model(tmp_path / "third", seed=2)
    kept = path / "models"
    with open_named(path) as corpus:
        tuned = corpus.switch_embedder(models[1]).embedder
        assert [folder.name for folder in kept.iterdir()] == [tuned.fingerprint[:16]]
        newest = corpus.switch_embedder(third).embedder
        assert {folder.name for folder in kept.iterdir()} == {tuned.fingerprint[:16], newest.fingerprint[:16]}
        corpus.switch_embedder(models[0])
        assert tuned.fingerprint[:16] not in {folder.name for folder in kept.iterdir()}
        assert corpus.verify() == []


def test_a_reader_never_searches_vectors_of_one_with_the_other(path: Path, models: tuple[Path, Path]):
    seen: list[list[tuple[str, int, float]]] = []
    over = threading.Event()
    with open_named(path) as reader, open_named(path) as writer:

        def read() -> None:
            while not over.is_set():
                seen.append(hits(reader, QUERY))

        old = hits(reader, QUERY)
        thread = threading.Thread(target=read)
        thread.start()
        writer.switch_embedder(models[1])
        new = hits(writer, QUERY)
        after = hits(reader, QUERY)
        writer.switch_back()
        back = hits(reader, QUERY)
        over.set()
        thread.join()
        assert reader.embedder.name == str(models[0])
    assert (after, back) == (new, old)
    assert new != old
    assert all(one in (old, new) for one in seen)


def test_a_state_that_is_read_keeps_its_embedder(path: Path, models: tuple[Path, Path]):
    with open_named(path) as reader, open_named(path) as writer:
        old, first = hits(reader, QUERY), reader.embedder.fingerprint
        with reader._catalogue.snapshot():
            report = writer.switch_embedder(models[1])
            assert reader.embedder.fingerprint == reader.manifest.embedder.fingerprint == first
            assert hits(reader, QUERY) == old
        assert reader.embedder.fingerprint == report.embedder.fingerprint


def test_the_corpus_of_a_vector_store_follows(path: Path, models: tuple[Path, Path]):
    shared = StoreModels.load(parse_config({**CONFIG, "embedder": {"name": str(models[0])}}), to_answer=False)
    unnamed = StoreModels(parse_config(CONFIG), shared.embedders)
    with StoreCorpus(path, unnamed) as served:
        assert served.embedder is shared.embedders.texts
        with open_named(path) as writer:
            writer.switch_embedder(models[1])
            new = hits(writer, QUERY)
        assert hits(served, QUERY) == new
    with StoreCorpus(path, unnamed) as served:
        assert hits(served, QUERY) == new


def test_models_that_do_not_fit_are_refused(tmp_path: Path, path: Path, models: tuple[Path, Path]):
    short = Path(shutil.copytree(models[1], tmp_path / "short"))
    settings = json.loads((short / "sentence_bert_config.json").read_text())
    (short / "sentence_bert_config.json").write_text(json.dumps({**settings, "max_seq_length": 10}))
    tokenizer = json.loads((short / "tokenizer_config.json").read_text())
    (short / "tokenizer_config.json").write_text(json.dumps({**tokenizer, "model_max_length": 10}))
    pickled = Path(shutil.copytree(models[1], tmp_path / "pickled"))
    (pickled / "pytorch_model.bin").write_bytes(b"x")
    with open_named(path) as corpus:
        state = corpus.info().generation
        with pytest.raises(
            ConfigError, match="have up to 12 tokens, and with this embedder they would have up to 8"
        ):
            corpus.switch_embedder(short)
        with pytest.raises(DataError, match=r"holds pytorch_model\.bin; a corpus keeps safetensors alone"):
            corpus.switch_embedder(pickled)
        with pytest.raises(DataError, match="there is no folder"):
            corpus.switch_embedder(tmp_path / "nowhere")
        assert (corpus.info().generation, (path / "models").exists()) == (state, False)


def test_a_damaged_model_is_found_and_accepted_anew(path: Path, models: tuple[Path, Path]):
    with open_named(path) as corpus:
        name = corpus.switch_embedder(models[1]).embedder.name
        weights = path / name / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-4] + b"abcd")
        assert f"{name}/model.safetensors was altered" in corpus.verify()[0]
        assert corpus.switch_embedder(models[1]).former is None
        assert corpus.verify() == []
        # A former one that is damaged is no longer offered.
        corpus.switch_back()
        weights.write_bytes(b"")
        report = corpus.repair()
        assert (report.left, corpus.info().former_embedder) == ([], None)
        assert not (path / "models").exists() or not list((path / "models").iterdir())


def test_a_model_whose_record_alone_is_another_stays_as_it_is_kept(
    tmp_path: Path, path: Path, models: tuple[Path, Path]
):
    tuned = Path(shutil.copytree(models[1], tmp_path / "tuned"))
    with open_named(path) as corpus:
        kept = path / corpus.switch_embedder(tuned).embedder.name
        (tuned / "train.json").write_text(json.dumps({"base": "other", "data": "lists"}))
        assert corpus.switch_embedder(tuned).former is None
        assert (corpus.verify(), corpus.info().trained.base) == ([], "base-model")
        corpus.switch_back()
        corpus.switch_embedder(tuned)
        assert (corpus.verify(), corpus.info().trained.base) == ([], "base-model")
        # What is lost is had from there all the same, and known as it is now.
        (kept / "train.json").unlink()
        assert "is missing" in corpus.verify()[0]
        corpus.switch_embedder(tuned)
        assert (corpus.verify(), corpus.info().trained.base) == ([], "other")


@pytest.mark.parametrize("how", ["damaged", "missing"])
def test_a_kept_model_that_cannot_be_used_is_named_and_accepted_anew(
    path: Path, models: tuple[Path, Path], how: str
):
    with open_named(path) as corpus:
        kept = path / corpus.switch_embedder(models[1]).embedder.name
        expected = hits(corpus, QUERY)
    if how == "missing":
        shutil.rmtree(kept)
    else:
        weights = kept / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-4] + b"abcd")
    with open_named(path) as corpus:
        with pytest.raises(CorpusDamagedError, match=f"is {how}; restore it .*ragkit train accept"):
            corpus.search(QUERY)
        assert corpus.switch_embedder(models[1]).former is None
        assert (hits(corpus, QUERY), corpus.verify()) == (expected, [])


def test_a_configuration_that_names_the_former_or_the_new_one(path: Path, models: tuple[Path, Path]):
    with open_named(path) as corpus:
        old = hits(corpus, QUERY)
    with open_named(path, models[0]) as corpus:
        [warning] = corpus.switch_embedder(models[1]).warnings
        assert f"names the embedder {str(models[0])!r}, so that searches with it are refused" in warning
        assert corpus.switch_back().warnings == []
    # Named before it is accepted, as by somebody who edits the file first.
    with open_named(path, models[1]) as corpus:
        assert corpus.switch_embedder(models[1]).warnings == []
        new = hits(corpus, QUERY)
        assert new != old
        corpus.add(TextRecord("more", "word5"))
        assert corpus.switch_back().num_embedded == 1
    with open_named(path) as corpus:
        corpus.remove("more")
        assert hits(corpus, QUERY) == old


def test_an_embedder_that_is_named_and_not_used_is_not_remembered(path: Path, models: tuple[Path, Path]):
    with open_named(path) as corpus:
        old = hits(corpus, QUERY)
    with open_named(path, models[1]) as corpus:
        corpus.remove("nothing")
        with pytest.raises(CorpusError, match="no former embedder"):
            corpus.switch_back()
    with open_named(path) as corpus:
        assert hits(corpus, QUERY) == old


def test_feedback_that_was_trained_for_the_former_is_told(path: Path, models: tuple[Path, Path]):
    feedback = {"retrieval": {"method": "dense", "feedback": {"kind": "lol", "model": "lol/model"}}}
    with Corpus.open(path, config={**CONFIG, **feedback}) as corpus:
        [warning] = corpus.switch_embedder(models[1]).warnings
    assert "retrieval.feedback has the model 'lol/model'" in warning


def test_the_commands(path: Path, models: tuple[Path, Path]):
    run = CliRunner()

    def said(*arguments: object) -> dict[str, object]:
        done = run.invoke(app, [*map(str, arguments), "--corpus", str(path), "--json"], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    accepted = said("train", "accept", models[1])
    assert (accepted["num_passages"], accepted["num_embedded"]) == (20, 20)
    info = said("info")
    assert (info["embedder"], info["former_embedder"]) == (accepted["embedder"], accepted["former"])
    assert info["trained"] == {"base": "base-model", "data": "lists", "made": "2026-01-02"}
    back = run.invoke(app, ["train", "back", "--corpus", str(path)], catch_exceptions=False)
    assert f"{models[0]} is in use, in the place of models/" in back.stdout
    assert "0 of 20 passages were embedded" in back.stdout
    again = run.invoke(app, ["train", "accept", str(models[0]), "--corpus", str(path)], catch_exceptions=False)
    assert again.stdout == f"{models[0]} is in use already; nothing was changed\n"


def test_from_a_users_own_embedder_to_a_model(tmp_path: Path, models: tuple[Path, Path]):
    with Corpus.open(tmp_path / "c", embedder=HashEmbedder(), config=CONFIG) as corpus:
        corpus.add(GIVEN)
        old = hits(corpus, QUERY)
        corpus.switch_embedder(str(models[1]))
        new = hits(corpus, QUERY)
        corpus.switch_back()
        assert hits(corpus, QUERY) == old
        corpus.switch_back()
    with open_named(tmp_path / "c") as corpus:
        assert hits(corpus, QUERY) == new != old
