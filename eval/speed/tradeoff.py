"""Storage against quality: what each way to keep the vectors takes, how fast it answers, and how well it ranks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from statistics import fmean
from typing import Any, Literal, get_args

import numpy as np

from ragkit.errors import ConfigError
from ragkit.eval.measures.significance import Interval, bootstrap_difference, bootstrap_interval

TokenDtype = Literal["float16", "int8"]
MEASURE = "nDCG@10"
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Variant:
    """A kind of index; token_dtype and pool_factor of late interaction are None in a corpus without it."""

    kind: str
    token_dtype: TokenDtype | None = None
    pool_factor: int | None = None

    @property
    def name(self) -> str:
        pool = "" if self.pool_factor is None else f"pool {self.pool_factor}"
        return ", ".join(part for part in (self.kind, self.token_dtype or "", pool) if part)


@dataclass(frozen=True, slots=True)
class TradeoffPlan:
    """What is swept: every kind of index with every type and pooling of token vectors; () where there are none."""

    kinds: tuple[str, ...]
    token_dtypes: tuple[TokenDtype, ...] = ()
    pool_factors: tuple[int, ...] = ()

    def variants(self) -> Iterator[Variant]:
        """The first is what the others are compared with."""
        for dtype, factor in product(self.token_dtypes or (None,), self.pool_factors or (None,)):
            for kind in self.kinds:
                yield Variant(kind, dtype, factor)


def parse_token_dtypes(text: str) -> tuple[TokenDtype, ...]:
    """Such as "float16,int8".

    Raises:
        ConfigError: a corpus cannot hold token vectors of such a type.
    """
    known = get_args(TokenDtype)
    for word in _parts(text):
        if word not in known:
            raise ConfigError(
                f"--dtype {word!r} is none of {', '.join(known)}, the types that token vectors are kept in. "
                "Other vectors are kept in float32, and smaller codes of them are kinds of index: ivf-sq8, ivf-pq"
            )
    return tuple(dtype for dtype in known if dtype in _parts(text))


def parse_pool_factors(text: str) -> tuple[int, ...]:
    """Such as "1,2,3", ascending.

    Raises:
        ConfigError: a part is no number of at least 1.
    """
    for word in _parts(text):
        if not word.isdecimal() or int(word) < 1:
            raise ConfigError(f"--pooling {word!r} is no number of at least 1; give a list such as 1,2,3")
    return tuple(sorted({int(word) for word in _parts(text)}))


def parse_kinds(text: str) -> tuple[str, ...]:
    """In the order given; a FAISS factory string has commas, so kinds are parted by commas and white space."""
    kinds = tuple(dict.fromkeys(part for part in text.replace(", ", " ").split() for part in _kinds_of(part)))
    if not kinds:
        raise ConfigError("--kind is empty; give kinds of index such as flat,ivf-pq,hnsw")
    return kinds


@dataclass(frozen=True, slots=True)
class VariantResult:
    """What one variant takes and finds.

    factory: FAISS's string of the index that was really built, and why. recall: of the ten nearest vectors, as the
    corpus measured it. vector_bytes: the float32 vectors with their keys, which every kind keeps; index_bytes: the
    index beside them; token_bytes: token vectors. All are bytes of files. by_query: nDCG@10.
    """

    variant: Variant
    num_passages: int
    num_pages: int
    factory: str
    why: str
    recall: float
    vector_bytes: int
    index_bytes: int
    token_bytes: int
    by_query: Mapping[str, float] = field(repr=False)

    @property
    def num_bytes(self) -> int:
        return self.vector_bytes + self.index_bytes + self.token_bytes

    def to_row(self) -> dict[str, Any]:
        """As a line of the run's folder."""
        return asdict(self)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> VariantResult:
        return cls(**{**row, "variant": Variant(**row["variant"])})


@dataclass(frozen=True, slots=True)
class VariantSummary:
    """A variant with its mean nDCG@10, and the mean change of it from the first variant; both with intervals.

    p50_ms, p95_ms: of single searches.
    """

    result: VariantResult
    bytes_per_passage: float
    bytes_per_page: float
    p50_ms: float
    p95_ms: float
    ndcg: float
    ndcg_interval: Interval
    change: float
    change_interval: Interval

    def to_json(self) -> dict[str, object]:
        told = asdict(replace(self, result=replace(self.result, by_query={})))
        result = told.pop("result")
        del result["by_query"]
        return {"name": self.result.variant.name, **result, "bytes": self.result.num_bytes, **told}


def summarise_variants(
    results: Sequence[VariantResult], seconds: Mapping[str, Sequence[float]], seed: int = 0
) -> list[VariantSummary]:
    """Results with the seconds of searches by the variant's name; `seed` is that of resampling."""
    first = list(results[0].by_query)
    base = [results[0].by_query[query] for query in first]
    return [_summary(one, seconds[one.variant.name], first, base, seed) for one in results]


def _summary(
    result: VariantResult, seconds: Sequence[float], queries: Sequence[str], base: Sequence[float], seed: int
) -> VariantSummary:
    values = [result.by_query[query] for query in queries]
    p50, p95 = (1e3 * float(np.percentile(seconds, percent)) for percent in (50, 95))
    return VariantSummary(
        result,
        result.num_bytes / max(1, result.num_passages),
        result.num_bytes / max(1, result.num_pages),
        p50,
        p95,
        fmean(values),
        bootstrap_interval(values, confidence=CONFIDENCE, seed=seed),
        fmean(values) - fmean(base),
        bootstrap_difference(base, values, confidence=CONFIDENCE, seed=seed),
    )


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _kinds_of(word: str) -> list[str]:
    """A word that begins in capitals is a factory string as a whole."""
    return [word] if word[:1].isupper() else _parts(word)
