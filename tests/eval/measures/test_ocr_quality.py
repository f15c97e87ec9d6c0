import pytest

from ragkit.eval.measures.ocr_quality import OcrPage, OcrReport, num_words, word_recall


@pytest.mark.parametrize(
    ("reference", "read", "recall"),
    [
        ("Net income, net LOSS", "net loss: income", 3 / 4),
        ("a a b", "b a", 2 / 3),
        ("1,204 %", "1 204", 1),
        ("word", "", 0),
        ("... %", "word", None),
    ],
)
def test_word_recall(reference, read, recall):
    assert word_recall(reference, read) == recall


def test_num_words():
    assert num_words("Note 12: 1,204 (café)") == 5


def test_report_weighs_pages_by_their_words():
    pages = (OcrPage(3, 2.0, 40, 300, 300, 1.0), OcrPage(4, 1.0, 5, 100, 60, 0.5), OcrPage(9, 0.6, 1, 0, 4, None))
    report = OcrReport("x.pdf", 150, pages)
    assert report.recall == pytest.approx((300 + 50) / 400)
    assert report.seconds_per_page == pytest.approx(1.2)
    assert report.to_json()["pages"][2] == {
        "page": 9,
        "seconds": 0.6,
        "lines": 1,
        "words": 0,
        "words_read": 4,
        "recall": None,
    }
    assert OcrReport("x.pdf", 150, pages[2:]).recall is None
    assert report.table().row_count == 4
