"""Cosine similarity on a scale that means the same for every model and language."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import numpy as np

from ragkit.protocols import Embedder
from ragkit.records import FloatArray, Passage
from ragkit.serve.grounding.units import Unit

# Questions, each with a sentence that answers it. What a model says of a question and its own
# sentence is 1 on the scale, what it says of a question and the others' sentences is 0.
_PAIRS = {
    "english": (
        ("How deep is the lake?", "The lake is forty metres deep."),
        ("Who signed the contract?", "The contract bears the signature of the mayor."),
        ("What does the vaccine protect against?", "The vaccine prevents measles and mumps."),
        ("When did the orchestra first play?", "In 1902 the orchestra gave its first concert."),
        ("Which tax applies to imported steel?", "Steel from abroad is taxed at twelve percent."),
        ("How is bread dough kneaded?", "Fold the dough and press it with both hands for ten minutes."),
        ("Where do the storks spend the winter?", "In October the storks fly to South Africa."),
        ("Why was the bridge closed?", "Cracks in a pillar forced the city to close the bridge."),
    ),
    "other": (
        ("Wie tief ist der See?", "Der See ist vierzig Meter tief."),
        ("Wer hat den Vertrag unterschrieben?", "Der Vertrag trägt die Unterschrift der Bürgermeisterin."),
        ("Wovor schützt die Impfung?", "Die Impfung verhindert Masern und Mumps."),
        ("Wann spielte das Orchester erstmals?", "Im Jahr 1902 gab das Orchester sein erstes Konzert."),
        ("Welche Steuer gilt für Stahl?", "Stahl aus dem Ausland wird mit zwölf Prozent besteuert."),
        ("Wie wird Brotteig geknetet?", "Den Teig falten und zehn Minuten mit beiden Händen drücken."),
        ("Wo verbringen die Störche den Winter?", "Im Oktober fliegen die Störche nach Südafrika."),
        ("Warum wurde die Brücke gesperrt?", "Risse in einem Pfeiler zwangen dazu, die Brücke zu sperren."),
    ),
    "cjk": (
        ("湖有多深？", "这个湖深四十米。"),
        ("谁签署了合同？", "合同上有市长的签名。"),
        ("疫苗预防什么疾病？", "这种疫苗可预防麻疹和腮腺炎。"),
        ("乐团何时首次演出？", "一九〇二年，乐团举行了第一场音乐会。"),
        ("进口钢铁适用哪种税？", "从国外进口的钢铁按百分之十二征税。"),
        ("面团怎么揉？", "把面团折叠，用双手按压十分钟。"),
        ("白鹳在哪里过冬？", "十月，白鹳飞往南非。"),
        ("大桥为什么关闭？", "桥墩出现裂缝，市政府不得不关闭大桥。"),
    ),
}
# A model trained on English alone reaches 11 in English, 3 in German and 2 in Chinese.
_LEAST_DISCRIMINATION = 4.0


@dataclass(frozen=True, slots=True)
class _Scale:
    unrelated: float
    related: float
    discrimination: float


# To try a model takes as long as to embed a long passage.
_SCALES: WeakKeyDictionary[Embedder, dict[str, _Scale]] = WeakKeyDictionary()


class Similarity:
    """Compares texts by an embedder: 0 as unrelated texts, 1 as a question and its answer.

    Languages are named as by `ContentWords`. Some models give unrelated texts a cosine of 0.7, and
    one trained on English finds any two Chinese texts alike; so each model is tried once on a few
    known pairs a language, and is not trusted where it cannot tell the pairs from the rest.

    remembers: whether the vectors of sentences and units are kept, for as long as this is.
    """

    def __init__(self, embedder: Embedder, *, remembers: bool = False) -> None:
        self._embedder = embedder
        self._scales = _scales_of(embedder)
        self._kept: dict[str, FloatArray] | None = {} if remembers else None

    def is_trusted(self, language: str) -> bool:
        """Whether unrelated texts of the language lie 4 standard deviations below related ones."""
        return self._scale(language).discrimination >= _LEAST_DISCRIMINATION

    def of_question(self, question: str, units: Sequence[Unit], language: str) -> FloatArray:
        """float32 (len(units),): how near each unit is to the question."""
        return self._scaled(self._questions([question]), self._units(units), language)

    def of_sentence(self, sentence: str, units: Sequence[Unit], language: str) -> FloatArray:
        """float32 (len(units),): how near each unit is to the sentence."""
        return self._scaled(self._sentences([sentence]), self._units(units), language)

    def read(self, sentences: Sequence[str], units: Sequence[Unit]) -> None:
        """Embed them together, which is faster than one by one, for one that remembers."""
        self._rows([*map(_alone, sentences), *map(_with_heads, units)])

    def _scale(self, language: str) -> _Scale:
        kind = language if language in _PAIRS else "other"
        if kind not in self._scales:
            questions, answers = zip(*_PAIRS[kind], strict=True)
            cosines = self._questions(questions) @ self._sentences(answers).T
            own = np.eye(len(questions), dtype=bool)
            unrelated, related = float(cosines[~own].mean()), float(cosines[own].mean())
            spread = max(float(cosines[~own].std()), 1e-6)
            self._scales[kind] = _Scale(unrelated, related, (related - unrelated) / spread)
        return self._scales[kind]

    def _scaled(self, row: FloatArray, rows: FloatArray, language: str) -> FloatArray:
        scale = self._scale(language)
        width = max(scale.related - scale.unrelated, 1e-6)
        scaled: FloatArray = np.maximum((rows @ row[0] - scale.unrelated) / width, 0).astype(np.float32)
        return scaled

    def _questions(self, texts: Sequence[str]) -> FloatArray:
        return _unit_rows(self._embedder.embed_queries(texts))

    def _sentences(self, texts: Sequence[str]) -> FloatArray:
        return self._rows([_alone(text) for text in texts])

    def _units(self, units: Sequence[Unit]) -> FloatArray:
        return self._rows([_with_heads(unit) for unit in units])

    def _rows(self, passages: Sequence[Passage]) -> FloatArray:
        kept = self._kept
        if kept is None:
            return _unit_rows(self._embedder.embed_passages(passages))
        new = {passage.titled_text: passage for passage in passages if passage.titled_text not in kept}
        if new:
            kept.update(zip(new, _unit_rows(self._embedder.embed_passages(list(new.values()))), strict=True))
        return np.stack([kept[passage.titled_text] for passage in passages])


def _scales_of(embedder: Embedder) -> dict[str, _Scale]:
    try:
        return _SCALES.setdefault(embedder, {})
    except TypeError:
        # Not each can be a key, or be referred to weakly.
        return {}


def _alone(text: str) -> Passage:
    return Passage(-1, "", 1, 0, len(text), text)


def _with_heads(unit: Unit) -> Passage:
    return replace(unit.source.hit.passage, text=unit.full_text)


def _unit_rows(vectors: FloatArray) -> FloatArray:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    rows: FloatArray = (vectors / np.maximum(norms, 1e-12)).astype(np.float32)
    return rows
