from importlib.resources import files

import pytest

from ragkit.config import load_config

CONFIGS = files("ragkit.eval") / "configs"
EXPECTED = {
    "dense": ("dense", "none"),
    "bm25": ("bm25", "none"),
    "hybrid": ("hybrid", "none"),
    "dense-passages": ("dense", "sentences"),
    "hybrid-passages": ("hybrid", "sentences"),
}


def test_every_file_is_named_here():
    assert {path.name for path in CONFIGS.iterdir()} == {f"{name}.toml" for name in EXPECTED}


@pytest.mark.parametrize("name", list(EXPECTED))
def test_the_files_say_what_their_names_say(name):
    config = load_config(CONFIGS / f"{name}.toml")
    assert (config.retrieval.method, config.passages.split) == EXPECTED[name]
    assert config.retrieval.level == "document"
    assert config.lexical.language == "auto"
