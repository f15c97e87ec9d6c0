"""The GPUs that vectors are searched on: which there are, and which FAISS indexes they can search."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from ragkit.errors import ConfigError
from ragkit.extras import require
from ragkit.records import FloatArray

# Candidates of a query, and lists that one looks at, in a search on a GPU.
MAX_SELECTED = 2048
# Lengths of PQ codes, in bytes, that FAISS's kernels are written for.
CODE_BYTES = (1, 2, 3, 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 96)
# Longer codes have tables of distances that fit the fast memory of a GPU only in float16.
_MAX_FLOAT32_CODE = 48
_SCALAR_QUANTIZERS = ("8bit", "8bit_uniform", "8bit_direct", "4bit", "4bit_uniform", "6bit", "fp16")
# Fewer rows stay whole on the first GPU.
_MIN_ROWS_A_PART = 4096


@dataclass(frozen=True)
class Gpus:
    """Some of the machine's GPUs, as FAISS uses them.

    numbers: of the CUDA devices. lock: to be held while FAISS searches, changes or frees what is on them, for
    `faiss.StandardGpuResources` are not safe for several threads.
    """

    device: str
    numbers: tuple[int, ...]
    resources: tuple[Any, ...]
    lock: threading.RLock = field(default_factory=threading.RLock)

    def copy(self, index: Any) -> Any:
        """The `faiss.Index`, on one GPU or in parts on all; the rows keep their numbers.

        Raises:
            ConfigError: it does not fit.
        """
        split = index.ntotal >= _MIN_ROWS_A_PART * len(self.numbers)
        with self.lock, self._lack_named():
            return self._copy(index, len(self.numbers) if split else 1)

    def train(self, index: Any, sample: FloatArray) -> Any:
        """Train an empty `faiss.Index` on the first GPU, so that parts on several have the same centroids.

        Returns:
            An index of the CPU.

        Raises:
            ConfigError: what training needs does not fit.
            RuntimeError: FAISS cannot train it.
        """
        faiss = require("faiss")
        with self.lock, self._lack_named():
            copy = self._copy(index, 1)
            copy.train(sample)
            trained = faiss.index_gpu_to_cpu(copy)
            del copy
            return trained

    def fill(self, index: Any, parts: Iterable[FloatArray]) -> Any:
        """Add vectors to a trained `faiss.Index` on the GPUs; returns one of the CPU.

        Raises:
            ConfigError: they do not fit.
        """
        faiss = require("faiss")
        with self.lock, self._lack_named():
            copy = self._copy(index, len(self.numbers))
            for part in parts:
                copy.add(part)
            filled = faiss.index_gpu_to_cpu(copy)
            # Freed while the lock is held.
            del copy
            return filled

    def memory_mb(self) -> float:
        """Of all of them together.

        Raises:
            MissingExtraError: torch, which is asked, is not installed.
        """
        torch = require("torch")
        return float(sum(torch.cuda.get_device_properties(number).total_memory for number in self.numbers) / 1e6)

    def _copy(self, index: Any, count: int) -> Any:
        faiss = require("faiss")
        options = faiss.GpuMultipleClonerOptions()
        options.shard = True
        # FAISS's own kernels also where NVIDIA's cuVS is built in: what is found must not depend on the wheel.
        options.use_cuvs = False
        options.useFloat16 = type(index) is faiss.IndexIVFPQ and index.pq.M > _MAX_FLOAT32_CODE
        resources, numbers = list(self.resources[:count]), list(self.numbers[:count])
        return faiss.index_cpu_to_gpu_multiple_py(resources, index, options, numbers)

    @contextmanager
    def _lack_named(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            if "alloc fail" not in str(error) and "out of memory" not in str(error):
                raise
            reason = str(error).rpartition("StandardGpuResources: ")[2].strip()
            raise ConfigError(
                f"the vectors do not fit in what is free of the memory of {self.device!r} ({reason}); "
                'set index.kind = "ivf-pq" and run ragkit compact, or set index.device = "cpu"'
            ) from error


@cache
def find_gpus(device: str) -> Gpus | None:
    """The GPUs of `index.device`: all for "cuda", one for "cuda:1", None for "cpu".

    Raises:
        ConfigError: there is no such GPU, or the FAISS that is installed cannot use any.
    """
    if device == "cpu":
        return None
    faiss = require("faiss")
    can, there = hasattr(faiss, "StandardGpuResources"), faiss.get_num_gpus()
    _, _, number = device.partition(":")
    numbers = (int(number),) if number else tuple(range(there))
    if not can or not numbers or max(numbers) >= there:
        built = f"FAISS {faiss.__version__} is installed {'with' if can else 'without'} GPU support"
        raise ConfigError(
            f"index.device = \"{device}\": {built} and sees {there} GPUs; pip install 'ragkit[gpu]' in the place "
            'of ragkit[cpu] on a machine with NVIDIA GPUs, or set index.device = "cpu"'
        )
    return Gpus(device, numbers, tuple(faiss.StandardGpuResources() for _ in numbers))


def refusal(index: Any) -> str:
    """What GPUs miss in a `faiss.Index`; "" where they can search it."""
    faiss = require("faiss")
    flat = (faiss.IndexFlat, faiss.IndexFlatIP)
    if type(index) in flat:
        return ""
    if type(index) not in (faiss.IndexIVFFlat, faiss.IndexIVFScalarQuantizer, faiss.IndexIVFPQ):
        return f"{type(index).__name__} has no form for GPUs"
    if type(faiss.downcast_index(index.quantizer)) not in flat:
        return "its lists are found by something else than a flat quantizer"
    if type(index) is faiss.IndexIVFScalarQuantizer:
        known = {getattr(faiss.ScalarQuantizer, f"QT_{name}") for name in _SCALAR_QUANTIZERS}
        return "" if index.sq.qtype in known else "its scalar quantizer has no form for GPUs"
    if type(index) is faiss.IndexIVFPQ and (index.pq.nbits != 8 or index.pq.M not in CODE_BYTES):
        return f"its codes are {index.pq.M} numbers of {index.pq.nbits} bits, not {CODE_BYTES} of 8"
    return ""


def check_searchable(index: Any, name: str, device: str) -> None:
    """Raises ConfigError where GPUs cannot search a `faiss.Index`. name: what to call it."""
    missing = refusal(index)
    if missing:
        raise ConfigError(
            f'{name} cannot be searched with index.device = "{device}": {missing}; GPUs search flat, ivf-flat, '
            f'ivf-sq8, ivf-pq and factory strings like "IVF4096,PQ48", and "auto" chooses among them'
        )
