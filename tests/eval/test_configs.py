from importlib.resources import files

import pytest

from ragkit.config import load_config

CONFIGS = files("ragkit.eval") / "configs"
PAGES = {
    "pages-text": ("hybrid", "never", "text"),
    "pages-ocr": ("hybrid", "always", "text"),
    "pages-image": ("dense", "auto", "image"),
    "pages-both": ("hybrid", "never", "both"),
}
EXPECTED = {
    "dense": ("dense", "none"),
    "bm25": ("bm25", "none"),
    "hybrid": ("hybrid", "none"),
    "hybrid-reranked": ("hybrid", "none"),
    "hybrid-mpnet": ("hybrid", "none"),
    "hybrid-mpnet-trained": ("hybrid", "none"),
    "dense-passages": ("dense", "sentences"),
    "hybrid-passages": ("hybrid", "sentences"),
}


def test_every_file_is_named_here():
    assert {path.name for path in CONFIGS.iterdir()} == {f"{name}.toml" for name in (*EXPECTED, *PAGES)}


@pytest.mark.parametrize("name", list(PAGES))
def test_the_files_for_page_level_collections(name):
    config = load_config(CONFIGS / f"{name}.toml")
    assert (config.retrieval.method, config.documents.ocr, config.pages.embed) == PAGES[name]
    assert config.retrieval.level == "page"


@pytest.mark.parametrize("name", list(EXPECTED))
def test_the_files_say_what_their_names_say(name):
    config = load_config(CONFIGS / f"{name}.toml")
    assert (config.retrieval.method, config.passages.split) == EXPECTED[name]
    assert config.retrieval.level == "document"
    assert config.lexical.language == "auto"
