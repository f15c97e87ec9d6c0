import pytest

from ragkit.errors import ConfigError
from ragkit.indexers.lexical.terms import VOTES, TermAnalyzer, detect_language, elected_language, runs_of, vote_of

ENGLISH = "The harbour was closed for three days because of the storm, and it is not known when ships will return."
GERMAN = "Der Hafen war wegen des Sturms drei Tage geschlossen, und es ist nicht bekannt, wann die Schiffe fahren."
SPANISH = "El puerto estuvo cerrado durante tres días por la tormenta y no se sabe cuándo volverán los barcos."
CHINESE = "港口因暴风雨关闭了三天，目前尚不清楚船只何时返回。"


def test_english_stems_and_stop_words():
    assert TermAnalyzer("english").terms("The harbours were CLOSING") == ["harbour", "were", "close"]


def test_without_a_language_words_stay_as_they_are():
    assert TermAnalyzer("none").terms("The harbours, a b 42") == ["the", "harbours", "42"]


def test_unspaced_scripts_become_ngrams_between_words():
    assert TermAnalyzer("none").terms("PDF港口关闭 x1") == ["pdf", "港口", "口关", "关闭", "x1"]
    assert TermAnalyzer("none", ngram=3).terms("港口") == ["港口"]


def test_compatibility_forms_are_folded():
    assert TermAnalyzer("none").terms("ﬁnance ２０２２") == ["finance", "2022"]


def test_an_unknown_language_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"'klingon'.*english"):
        TermAnalyzer("klingon")


@pytest.mark.parametrize(
    ("texts", "language"),
    [
        ([ENGLISH] * 3, "english"),
        ([GERMAN] * 3, "german"),
        ([SPANISH] * 3, "spanish"),
        ([CHINESE] * 3, "none"),
        ([ENGLISH, GERMAN, SPANISH], "none"),
        ([GERMAN, GERMAN, ENGLISH], "german"),
        ([], "none"),
        (["12 34 56 78 90 12 34 56 78 90 11"], "none"),
    ],
)
def test_the_language_is_found_from_stop_words(texts: list[str], language: str):
    assert detect_language(texts) == language


def test_each_run_has_its_own_terms():
    analyzer = TermAnalyzer("english")
    runs = ["the", "ships", "港口关", "ships"]
    assert [list(terms) for terms in analyzer.terms_of_each(runs)] == [[], ["ship"], ["港口", "口关"], ["ship"]]


def test_a_vote_is_by_the_beginning_of_a_text():
    assert VOTES[vote_of(runs_of(f"{GERMAN} {GERMAN} {GERMAN} {GERMAN} {ENGLISH * 20}"))] == "german"
    assert VOTES[vote_of(runs_of(CHINESE))] == ""
    assert VOTES[vote_of(["xx"] * 10)] == "unknown"


@pytest.mark.parametrize(
    ("english", "german", "unknown", "language"),
    [(2, 1, 0, "english"), (199, 100, 0, "none"), (4, 1, 1, "english"), (4, 1, 2, "none"), (0, 0, 3, "none")],
)
def test_two_thirds_of_the_votes_elect(english: int, german: int, unknown: int, language: str):
    counts = [0] * len(VOTES)
    counts[0] = 1000
    counts[VOTES.index("english")], counts[VOTES.index("german")], counts[1] = english, german, unknown
    assert elected_language(counts) == language
