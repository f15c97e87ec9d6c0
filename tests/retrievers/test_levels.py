from ragkit.records import Hit, Passage
from ragkit.retrievers.levels import best_per


def hit(key, document, page, score):
    return Hit(score, Passage(key=key, document=document, page=page, start=0, end=1, text="x"))


HITS = [
    hit(4, "a", 2, 0.9),
    hit(1, "b", 2, 0.8),
    hit(5, "a", 2, 0.7),
    hit(3, "a", 1, 0.6),
    hit(2, "b", 2, 0.5),
]


def keys(hits):
    return [found.passage.key for found in hits]


def test_a_page_is_known_by_document_and_number():
    assert keys(best_per(HITS, "page")) == [4, 1, 3]


def test_a_document_scores_by_its_best_passage():
    best = best_per(HITS, "document")
    assert keys(best) == [4, 1]
    assert [found.score for found in best] == [0.9, 0.8]


def test_passages_stay_as_they_are():
    assert best_per(HITS, "passage") == HITS
    assert best_per([], "document") == []
