"""Token vectors in half or a quarter of their bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ragkit.records import FloatArray

TokenDtype = Literal["float16", "int8"]


@dataclass(frozen=True, slots=True)
class CodedRows:
    """values: float16 or int8 (t, dim). scales: float32 (t,) where values are int8, else None."""

    values: NDArray[Any]
    scales: FloatArray | None = None


def encode(rows: FloatArray, dtype: TokenDtype) -> CodedRows:
    """float32 (t, dim) in a smaller type.

    "float16" keeps 11 bits: in a row of unit length a component is off by at most 2.5e-4. "int8": each row
    is divided by a 127th of its largest component and rounded, so a component is off by at most a 254th
    of that one.
    """
    if dtype == "float16":
        return CodedRows(rows.astype(np.float16))
    scales = (np.abs(rows).max(axis=1, initial=0) / 127).astype(np.float32)
    divisors = np.where(scales > 0, scales, 1)
    return CodedRows(np.rint(rows / divisors[:, None]).clip(-127, 127).astype(np.int8), scales)


def decode(coded: CodedRows) -> FloatArray:
    """float32 (t, dim), near to what was encoded."""
    rows = coded.values.astype(np.float32)
    return rows if coded.scales is None else rows * coded.scales[:, None]
