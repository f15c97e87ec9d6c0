"""A switch of the embedder that is broken off at any point: the corpus is in the old state or in the new one."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from ragkit import Corpus
from ragkit.errors import CorpusError
from ragkit.indexers import reembed
from ragkit.indexers.catalogue import Catalogue
from tests.fakes import HashEmbedder
from tests.switching import BackwardEmbedder, contents, fresh, open_with, records
from tests.warm_python import WarmPython

GIVEN = records(0, 24)
FEW = records(0, 12)


class Broken(BaseException):
    """What no code handles, as if the process had ended here."""


class Fuse:
    """Breaks the n-th of all the moments in which the disk is forced, a file deleted or a state committed.

    The disk is not really forced, for which no test could see the difference: nothing here cuts the power.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, n: int) -> None:
        self.left = n
        monkeypatch.setattr(os, "fsync", self._before(lambda _: None))
        monkeypatch.setattr(os, "unlink", self._before(os.unlink))
        for name in ("remember", "set_settings", "swap_kinds"):
            monkeypatch.setattr(Catalogue, name, self._before(getattr(Catalogue, name)))

    def _before(self, real):
        def call(*arguments, **options):
            self.left -= 1
            if self.left == 0:
                raise Broken
            return real(*arguments, **options)

        return call


def opened_as_it_is(path: Path) -> Corpus:
    """With the embedder that the corpus says, which must be one of the two."""
    for embedder in (HashEmbedder(), BackwardEmbedder()):
        corpus = open_with(path, embedder)
        try:
            _ = corpus.embedder
        except CorpusError:
            corpus.close()
        else:
            return corpus
    raise AssertionError("neither embedder is the corpus's")


@pytest.mark.parametrize("way", ["there", "back"])
def test_broken_off_anywhere_it_is_one_state_or_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
):
    monkeypatch.setattr(reembed, "_PIECE_PASSAGES", 16)
    base, n, states = tmp_path / "base", 1, []
    with fresh(base, HashEmbedder(), FEW[:10]) as corpus:
        if way == "back":
            corpus.switch_embedder(BackwardEmbedder())
        corpus.add(FEW[10:])
    with fresh(tmp_path / "old", HashEmbedder(), FEW) as old:
        expected = {"hash-64": contents(old)}
        old.switch_embedder(BackwardEmbedder())
        expected["backward-48"] = contents(old)
    wanted = "backward-48" if way == "there" else "hash-64"
    while True:
        path = tmp_path / str(n)
        shutil.copytree(base, path)
        with monkeypatch.context() as patch, opened_as_it_is(path) as corpus:
            know_both(corpus)
            Fuse(patch, n)
            try:
                switch(corpus, way)
            except Broken:
                pass
            else:
                break
        with opened_as_it_is(path) as corpus:
            state = corpus.info().embedder.fingerprint
            states.append(state)
            assert contents(corpus) == expected[state]
            assert corpus.verify() == []
            if state != wanted:
                know_both(corpus)
                switch(corpus, way)
                assert contents(corpus) == expected[wanted]
            else:
                corpus.compact()
            assert not (path / "reembedding").exists()
            assert corpus.verify() == []
        shutil.rmtree(path)
        n += 1 if n < 12 else 2
    # First the old state, and from one point on the new one.
    first_new = states.index(wanted)
    assert set(states[first_new:]) == {wanted}
    assert 5 < first_new < len(states)


def know_both(corpus: Corpus) -> None:
    """The one in use, and the one that going back embeds what is missing with: no settings name it."""
    corpus._embedders.adopt(corpus.embedder)
    corpus._embedders.adopt(HashEmbedder())


def switch(corpus: Corpus, way: str) -> None:
    if way == "there":
        corpus.switch_embedder(BackwardEmbedder())
    else:
        corpus.switch_back()


RUN = """
import os, signal, sys
from ragkit.indexers import reembed
from tests.switching import BackwardEmbedder, open_with
from tests.fakes import HashEmbedder

reembed._PIECE_PASSAGES = 8

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def switch(path, where):
    if where == "before the commit":
        reembed.remember_text_embedders = die
    if where == "after the commit":
        reembed.drop_unfinished_vectors = die
    stops = where == "while it embeds"
    with open_with(path, HashEmbedder()) as corpus:
        corpus.switch_embedder(BackwardEmbedder(), progress=lambda done, _: stops and done >= 35 and die())

for path, where in zip(sys.argv[1::2], sys.argv[2::2]):
    child = os.fork()
    if child == 0:
        try:
            switch(path, where)
        finally:
            os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
MOMENTS = {"while it embeds": 48 - 32, "before the commit": 0, "after the commit": 0}


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, warm_python: WarmPython) -> Path:
    """Corpora by the moment in which the process died that switched them, and one that nobody switched."""
    folder = tmp_path_factory.mktemp("killed")
    with fresh(folder / "old", HashEmbedder(), GIVEN):
        pass
    paths = [(shutil.copytree(folder / "old", folder / moment), moment) for moment in MOMENTS]
    arguments = [str(argument) for pair in paths for argument in pair]
    done = warm_python.run(["-c", RUN, *arguments])
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(-signal.SIGKILL)] * len(MOMENTS)
    return folder


@pytest.mark.parametrize("where", MOMENTS)
def test_sigkill(tmp_path: Path, killed: Path, where: str):
    with open_with(killed / "old", HashEmbedder()) as corpus:
        old = contents(corpus)
        assert len(old) == 48
    path, new = killed / where, BackwardEmbedder()
    with open_with(path, new if where == "after the commit" else HashEmbedder()) as corpus:
        assert corpus.verify() == []
        if where != "after the commit":
            assert contents(corpus) == old
        again = corpus.switch_embedder(new)
        assert (new.embedded, again.former is None) == (MOMENTS[where], where == "after the commit")
        assert not (path / "reembedding").exists()
        assert corpus.verify() == []
        with fresh(tmp_path / "fresh", BackwardEmbedder(), GIVEN) as expected:
            assert contents(corpus) == contents(expected)
