"""Which device and precision a model runs with. Asked when a model is loaded, never at import."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ragkit.errors import ConfigError
from ragkit.extras import require

if TYPE_CHECKING:
    import torch

_CPUINFO = Path("/proc/cpuinfo")
# bfloat16 costs a little precision: it has to be clearly faster.
_WORTH_IT = 1.2


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a model runs and in which precision, as torch names them ("cuda:0", "bfloat16")."""

    device: str
    dtype: str

    @property
    def torch_dtype(self) -> torch.dtype:
        dtype: torch.dtype = getattr(require("torch"), self.dtype)
        return dtype


def choose_placement(device: str = "auto", dtype: str = "auto") -> Placement:
    """Take what is asked for; for "auto" the first GPU, and the precision the device is fast at.

    Raises:
        ConfigError: torch does not know the device, or it is not there.
    """
    chosen = _best_device() if device == "auto" else device
    _check_device(chosen)
    return Placement(chosen, _best_dtype(chosen) if dtype == "auto" else dtype)


def cpu_has_bfloat16() -> bool:
    """Whether this CPU computes in bfloat16 itself (AVX512-BF16, AMX, or Arm BF16) instead of emulating it."""
    if platform.system() != "Linux" or not _CPUINFO.exists():
        return False
    flags = set(_CPUINFO.read_text("utf-8", "replace").split())
    return bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})


def num_cores() -> int:
    """Cores this process may run on, which can be fewer than the machine has."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


class _Share:
    """threads: of each that works at the same time as others; 0: not shared."""

    threads = 0


def share_cores(num_workers: int) -> None:
    """Give each of several threads that search or embed at the same time its part of the cores, in this process.

    By themselves torch and FAISS split every operation among all cores: threads that work at once then wait for
    one another in each of hundreds of small operations. OMP_NUM_THREADS is the most for all of them together. It
    holds for this thread, and for those that `take_share`.
    """
    _Share.threads = max(1, min(num_cores(), _most_threads()) // num_workers)
    take_share()


def _most_threads() -> int:
    """What the user allows OpenMP; in a container it may be the only one who knows how much there is."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(first) if first.isdigit() and int(first) else num_cores()


def take_share() -> None:
    """Hold this thread to its part of the cores, in what is loaded by now; nothing where they are not shared."""
    if not _Share.threads:
        return
    if set_threads := getattr(sys.modules.get("torch"), "set_num_threads", None):
        set_threads(_Share.threads)
    if set_threads := getattr(sys.modules.get("faiss"), "omp_set_num_threads", None):
        set_threads(_Share.threads)


def computing_in(placement: Placement) -> AbstractContextManager[None]:
    """Inside, a model of float32 weights computes in bfloat16, unless the placement says float32."""
    torch = require("torch")
    kind = placement.device.partition(":")[0]
    is_on = placement.dtype != "float32"
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=is_on)  # type: ignore[no-any-return]


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Keep transformers from drawing a progress bar for every model it loads or saves inside the block."""
    logging = require("transformers.utils.logging")
    was_enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_enabled:
            logging.enable_progress_bar()


def _best_device() -> str:
    torch = require("torch")
    if torch.cuda.is_available():
        return "cuda:0"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _check_device(device: str) -> None:
    torch = require("torch")
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(
            f"device {device!r} cannot be used here ({error}); this machine offers {_best_device()!r}"
        ) from error


def _best_dtype(device: str) -> str:
    if device.startswith("cuda"):
        return "bfloat16" if require("torch").cuda.is_bf16_supported() else "float16"
    if device != "cpu" or not cpu_has_bfloat16():
        return "float32"
    # The flag alone does not say which is faster: processors with AMX masked out have it and are slower.
    rates = matmul_rates()
    return "bfloat16" if rates["bfloat16"] > _WORTH_IT * rates["float32"] else "float32"


def matmul_rates() -> dict[str, float]:
    """Floating-point operations per second of a transformer-sized product on this CPU, by dtype."""
    torch = require("torch")
    rows, inner, columns = 1024, 384, 1536
    pairs = {
        name: (
            torch.ones(rows, inner, dtype=getattr(torch, name)),
            torch.ones(columns, inner, dtype=getattr(torch, name)),
        )
        for name in ("float32", "bfloat16")
    }
    best = dict.fromkeys(pairs, float("inf"))
    # In turns, and the best of several: a busy moment of the machine must not decide.
    for _ in range(6):
        for name, (left, right) in pairs.items():
            started = time.perf_counter()
            torch.nn.functional.linear(left, right)
            best[name] = min(best[name], time.perf_counter() - started)
    return {name: 2 * rows * inner * columns / seconds for name, seconds in best.items()}
