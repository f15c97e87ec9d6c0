"""The reformulators that read texts: what holds before training, for every weight, and on the disk."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file

from ragkit.config import LexicalConfig
from ragkit.devices import Placement
from ragkit.errors import ConfigError, DataError
from ragkit.indexers.lexical.bm25_index import Bm25Index
from ragkit.indexers.models.text_embedder import TextEmbedder
from ragkit.records import FloatArray, Hit, Passage, Query
from ragkit.retrievers.feedback import sequence_encoder
from ragkit.retrievers.feedback.feedback_sequences import FeedbackSequence, SequenceLimits
from ragkit.retrievers.feedback.load_reformulator import load_reformulator, save_reformulator
from ragkit.retrievers.feedback.sequence_encoder import SequenceEncoder
from ragkit.retrievers.feedback.term_feedback import TermFeedback
from ragkit.retrievers.feedback.term_reformulator import TermReformulator
from ragkit.retrievers.feedback.text_reformulator import TextReformulator
from tests.retrievers.training.tiny_text_model import WORDS, make_tiny_model

GOLDEN = Path(__file__).parents[2] / "golden" / "lol"
CPU = Placement("cpu", "float32")
LIMITS = SequenceLimits(query=8, passage=6, total=24, least=3)
TEXTS = [f"{WORDS[i]} {WORDS[i + 1]} {WORDS[i + 2]}" for i in range(0, 30, 3)]
KEYS = np.arange(len(TEXTS))
NONE = np.zeros((0, 16), np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny"))


def shaken(model: TextReformulator | TermReformulator) -> None:
    """Random weights everywhere, as after training."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for value in model.parameters.values():
            value.add_(0.05 * torch.randn(value.shape, generator=generator))


def dense(folder: Path, is_shaken: bool = True) -> TextReformulator:
    model = TextReformulator(SequenceEncoder(folder, CPU, LIMITS), "abc", "cosine", 5, threshold=0.05)
    if is_shaken:
        shaken(model)
    return model


def sparse(folder: Path, is_shaken: bool = True) -> TermReformulator:
    model = TermReformulator(SequenceEncoder(folder, CPU, LIMITS), "none", 5, threshold=0.05)
    if is_shaken:
        shaken(model)
    return model


def hits(*numbers: int) -> list[Hit]:
    return [Hit(1.0, Passage(number, "d", 1, 0, 1, TEXTS[number])) for number in numbers]


def unit(rows: int) -> FloatArray:
    vectors = np.random.default_rng(0).normal(size=(rows, 16))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def words_of(text: str) -> list[tuple[str, tuple[str, ...]]]:
    return [(word, (word,)) for word in text.split()]


def test_an_encoder_pools_a_question_alone_as_its_embedder_does(folder: Path) -> None:
    encoder = SequenceEncoder(folder, CPU, LIMITS)
    questions = [WORDS[3], f"{WORDS[1]} {WORDS[5]} {WORDS[7]}"]
    sequences = [encoder.sequence(tokens, []) for tokens in encoder.tokens(questions)]
    with torch.no_grad():
        vectors = torch.nn.functional.normalize(encoder.read(sequences).vectors, dim=1).numpy()
    np.testing.assert_allclose(vectors, TextEmbedder(str(folder), CPU).embed_queries(questions), atol=1e-6)


def test_a_batch_is_as_wide_as_a_multiple_and_never_wider_than_the_model_reads(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = SequenceEncoder(folder, CPU, LIMITS)
    words = encoder.tokens([WORDS[3], " ".join(WORDS[:3])])
    sequences = [encoder.sequence(tokens, []) for tokens in words]
    longest = max(len(one.ids) for one in sequences)
    read = {}
    for step, width in ((1, longest), (4, 4 * -(-longest // 4)), (1000, LIMITS.total)):
        monkeypatch.setattr(sequence_encoder, "_STEP", step)
        with torch.no_grad():
            read[step] = encoder.read(sequences)
        assert read[step].states.shape[1] == encoder.batch_width(longest) == width
        torch.testing.assert_close(read[step].vectors, read[1].vectors, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("name", "kind"), [("dense_tiny", "Bert"), ("dense_roberta_tiny", "Roberta")])
def test_vectors_of_sequences_equal_the_published_code_s(tmp_path: Path, name: str, kind: str) -> None:
    """Its pooling, linear layer and layer norm are modules of sentence-transformers here."""
    encoder = SequenceEncoder(_published(tmp_path, name, kind), CPU, SequenceLimits())
    outputs = np.load(GOLDEN / name / "outputs.npz")
    sequences = [
        FeedbackSequence(tuple(ids[:length]), tuple(types[:length]), (length - 1,))
        for ids, types, length in zip(
            outputs["input_ids"].tolist(),
            outputs["token_type_ids"].tolist(),
            outputs["attention_mask"].sum(axis=1).tolist(),
            strict=True,
        )
    ]
    with torch.no_grad():
        vectors = encoder.read(sequences).vectors.numpy()
    np.testing.assert_allclose(vectors, outputs["default.vector"], rtol=1e-5, atol=1e-5)


def _published(folder: Path, name: str, kind: str) -> Path:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Dense, LayerNorm, Pooling

    facts = json.loads((GOLDEN / name / "config.json").read_text())
    weights = load_file(GOLDEN / name / "model.safetensors")
    config_class, model_class = getattr(transformers, f"{kind}Config"), getattr(transformers, f"{kind}Model")
    known = config_class().to_dict()
    encoder = model_class(config_class(**{key: value for key, value in facts.items() if key in known}))
    own = {key.removeprefix("encoder."): value for key, value in weights.items() if key.startswith("encoder.")}
    encoder.load_state_dict(own)
    encoder.save_pretrained(folder)
    _tokenizer(facts, has_types=kind == "Bert").save_pretrained(folder)
    width = facts["hidden_size"]
    layers = [Dense(width, width, activation_function=torch.nn.Identity()), LayerNorm(width)]
    for layer, prefix, inner in zip(layers, ("dense_proj", "layer_norm"), ("linear", "norm"), strict=True):
        getattr(layer, inner).load_state_dict({part: weights[f"{prefix}.{part}"] for part in ("weight", "bias")})
    model = SentenceTransformer(
        modules=[Transformer(str(folder)), Pooling(width, pooling_mode="cls"), *layers], device="cpu"
    )
    model.save_pretrained(str(folder), create_model_card=False)
    return folder


def _tokenizer(facts: dict[str, int], has_types: bool) -> transformers.PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, models

    special = ["[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {f"t{i}": i for i in range(facts["vocab_size"]) if i != facts["pad_token_id"]}
    numbers = [i for i in vocabulary.values() if i > 1][:3]
    for token, number in zip(special, numbers, strict=True):
        del vocabulary[f"t{number}"]
        vocabulary[token] = number
    vocabulary["[PAD]"] = facts["pad_token_id"]
    names = ["input_ids", *(["token_type_ids"] if has_types else []), "attention_mask"]
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(vocabulary, "[UNK]")),
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_input_names=names,
    )


def test_a_tokenizer_without_separators_is_refused(folder: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(folder, tmp_path / "m")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "m")
    tokenizer.sep_token = None
    tokenizer.save_pretrained(tmp_path / "m")
    with pytest.raises(ConfigError, match=r"has no \[CLS\] and \[SEP\]"):
        SequenceEncoder(tmp_path / "m", CPU, LIMITS)


def test_without_passages_the_vector_is_the_very_one(folder: Path) -> None:
    vectors = unit(2)
    revised = dense(folder).revise([WORDS[0], WORDS[1]], vectors, [[], hits(2)], [NONE, NONE])
    np.testing.assert_array_equal(revised[0], vectors[0])
    assert np.abs(revised[1] - vectors[1]).max() > 0.01


def test_rows_do_not_depend_on_the_batch_and_have_unit_length(folder: Path) -> None:
    model, questions, vectors = dense(folder), [WORDS[i] for i in range(4)], unit(4)
    found = [hits(*range(depth)) for depth in (1, 4, 2, 3)]
    together = model.revise(questions, vectors, found, [NONE] * 4)
    alone = [model.revise(questions[i : i + 1], vectors[i : i + 1], found[i : i + 1], [NONE])[0] for i in range(4)]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)


def test_the_guard_of_texts_takes_the_lowest_guess_or_nothing(folder: Path) -> None:
    model, guesses = dense(folder), [0, -0.1, -0.3, -0.2, -9.0]

    class Guessing(TextReformulator):
        def forward(self, queries, sequences):  # type: ignore[no-untyped-def]
            revision = super().forward(queries, sequences)
            guessed = torch.tensor([float(guesses[one.num_passages]) for one in sequences])
            return type(revision)(revision.vectors, guessed)

    guessing = Guessing(model.encoder, "abc", "cosine", 5, threshold=0.05)
    asked = ([WORDS[0]] * 2, unit(2), [hits(0, 1, 2), hits(0)], [NONE] * 2)
    assert guessing.choose_depths(*asked) == [2, 1]
    guesses[1:] = [-0.04, 0.1, 0.2, -9.0]
    assert guessing.choose_depths(*asked) == [0, 0]


def test_the_guard_chooses_no_more_passages_than_are_read(folder: Path) -> None:
    """After a question of eight tokens there is room for two passages of three and a part of a third."""
    model = dense(folder)

    class Rising(TextReformulator):
        calls = 0

        def forward(self, queries, sequences):  # type: ignore[no-untyped-def]
            revision, self.calls = super().forward(queries, sequences), self.calls + 1
            return type(revision)(revision.vectors, revision.loss_change.new_full((len(sequences),), -self.calls))

    rising = Rising(model.encoder, "abc", "cosine", 5)
    assert rising.choose_depths([" ".join(WORDS[:8])], unit(1), [hits(*range(6))], [NONE]) == [3]


def test_before_training_terms_are_the_question_s_and_hardly_any_others(folder: Path) -> None:
    model = sparse(folder, is_shaken=False)
    question = f"{WORDS[0]} {WORDS[1]} {WORDS[0]}"
    none, some = model.revise(model.sequences([question] * 2, [[], [TEXTS[2]]], words_of))
    assert none == {WORDS[0]: 2.0, WORDS[1]: 1.0}
    assert some == {WORDS[0]: 2.0, WORDS[1]: 1.0, **dict.fromkeys(TEXTS[2].split(), pytest.approx(0.02))}


def test_a_term_takes_the_greatest_of_its_words_weights_and_none_below_zero(folder: Path) -> None:
    model = sparse(folder)
    [sequence] = model.sequences([WORDS[0]], [[f"{WORDS[4]} {WORDS[5]} {WORDS[4]}", TEXTS[1]]], words_of)
    with torch.no_grad():
        states = model.encoder.read([sequence.tokens]).states[0]
        raw = (states @ model.heads["weight.weight"].T + model.heads["weight.bias"]).squeeze(1)
    expected: dict[str, float] = {}
    for one in sequence.occurrences:
        weight = max(0.0, float(raw[one.place]) + one.prior)
        expected[one.term] = max(weight, expected.get(one.term, 0.0))
    [found] = model.revise([sequence])
    assert found == pytest.approx({term: weight for term, weight in expected.items() if weight > 0}, abs=1e-5)
    assert [one.place for one in sequence.occurrences] == [1, 3, 4, 5, 7, 8, 9]


def test_a_word_of_several_tokens_counts_by_its_first_and_what_is_cut_not_at_all(folder: Path) -> None:
    model = sparse(folder)
    tokens = {"aa": [5, 6, 7], "bb": [8], "the": [9], "cc": [10, 11, 12, 13]}
    words = {"aa": ("a",), "bb": ("b",), "the": (), "cc": ("c1", "c2")}
    sequence = model._sequence([[("bb", ("b",))], list(words.items())], tokens)
    assert [(one.place, one.term) for one in sequence.occurrences] == [
        (1, "b"),
        (3, "a"),
        (6, "b"),
        (8, "c1"),
        (8, "c2"),
    ]
    assert len(sequence.tokens.ids) == 3 + LIMITS.passage + 1
    assert [one.term for one in sequence.first(0).occurrences] == ["b"]


def test_words_of_a_question_that_is_too_long_to_be_read_keep_their_counts(folder: Path) -> None:
    question = " ".join([*WORDS[:10], WORDS[9]])
    model = sparse(folder, is_shaken=False)
    [alone, revised] = model.revise(model.sequences([question] * 2, [[], [TEXTS[9]]], words_of))
    assert len(alone) == 10
    assert {term: weight for term, weight in revised.items() if term in alone} == alone
    [sequence] = model.sequences([question], [[TEXTS[9]]], words_of)
    assert [one.place for one in sequence.occurrences][:11] == [*range(1, 9), 9, 9, 9]
    assert len(sequence.first(0).occurrences) == 11


def test_a_question_is_cut_to_what_the_model_reads(folder: Path) -> None:
    encoder = SequenceEncoder(folder, CPU, SequenceLimits())
    assert (encoder.limits.query, encoder.limits.total) == (28, 30)
    [tokens] = encoder.tokens([" ".join(WORDS * 2)])
    sequence = encoder.sequence(tokens, [tokens])
    assert (len(sequence.ids), sequence.num_passages) == (30, 0)


def test_feedback_replaces_terms_and_searches_with_them(folder: Path) -> None:
    index = Bm25Index.build(KEYS, TEXTS, LexicalConfig(language="none"))
    feedback = TermFeedback(sparse(folder, is_shaken=False), index, 3)
    asked = [Query(WORDS[0]), Query(WORDS[1]), Query("unheard")]
    one, none, unheard = feedback.revise(asked, [hits(0, 4), [], hits(2)])
    assert feedback.num_hits == 3
    assert none == asked[1]
    assert one.feedback_depth == 2
    assert set(dict(one.terms or ())) == {*TEXTS[0].split(), *TEXTS[4].split()}
    _, keys = index.search_terms([dict(one.terms or ())], 10)
    assert keys[0, 0] == 0
    assert set(keys[0][keys[0] >= 0]) == {0, 4}
    assert set(dict(unheard.terms or ())) >= set(TEXTS[2].split())
    own = Query(WORDS[0], terms=((WORDS[9], 2.0),))
    assert feedback.revise([own], [hits(0, 4)]) == [own]
    cautious = TermFeedback(sparse(folder, is_shaken=False), index, 3, is_guarded=True)
    assert cautious.revise(asked[:1], [hits(0, 4)]) == asked[:1]


@pytest.mark.parametrize("make", [dense, sparse])
def test_saved_and_loaded_it_is_the_same(folder: Path, tmp_path: Path, make, capfd) -> None:  # type: ignore[no-untyped-def]
    model = make(folder)
    save_reformulator(model, tmp_path / "m")
    assert capfd.readouterr() == ("", "")
    loaded = load_reformulator(tmp_path / "m", lambda: CPU)
    assert type(loaded) is type(model)
    assert loaded.facts() == model.facts()
    for name, value in model.parameters.items():
        torch.testing.assert_close(loaded.parameters[name], value, rtol=0, atol=0)
    (tmp_path / "m" / "encoder" / "config.json").unlink()
    with pytest.raises(DataError, match="cannot be read as a reformulator"):
        load_reformulator(tmp_path / "m", lambda: CPU)
