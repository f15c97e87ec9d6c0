from pathlib import Path

import pytest

from ragkit.config import Config, load_config, parse_config
from ragkit.errors import ConfigError


def test_no_file_gives_the_defaults():
    assert load_config(None) == Config()


def test_a_file_sets_what_it_names(tmp_path: Path):
    path = tmp_path / "ragkit.toml"
    path.write_text('[retrieval]\nmethod = "bm25"\n')
    assert load_config(path).retrieval.method == "bm25"
    assert load_config(path).embedder == Config().embedder


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[retrieval]\nmetod = 'bm25'", r"unknown setting 'retrieval.metod'; did you mean 'method'"),
        ("[retrival]\nmethod = 'bm25'", r"unknown setting 'retrival'; did you mean 'retrieval'"),
        ("[retrieval]\nk1 = 0.9", r"unknown setting 'retrieval.k1'; did you mean 'lexical.k1'"),
        ("[rerank]\nzzz = 1", r"unknown setting 'rerank.zzz'; known here: api_key_env, depth"),
        ("[retrieval]\nmethod = 'bm52'", r"retrieval.method = 'bm52'.*'dense', 'bm25' or 'hybrid'"),
        ("[generation]\nnum_passages = 0", r"generation.num_passages = 0.*greater than or equal to 1"),
        ("[lexical]\nk1 = inf", r"lexical.k1 = inf.*finite number"),
        ("[lexical]\nk1 = nan", r"lexical.k1 = nan.*finite number"),
        ("[lexical]\nb = nan", r"lexical.b = nan.*finite number"),
        ("[retrieval", r"is not valid TOML"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str):
    path = tmp_path / "ragkit.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_config(path)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"nothing.toml: No such file"):
        load_config(tmp_path / "nothing.toml")


def test_tables_can_be_given_as_a_dict():
    assert parse_config({"passages": {"max_tokens": 64}}).passages.max_tokens == 64
