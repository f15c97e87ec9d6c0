"""What searching on GPUs costs, as one table: `python -m ragkit.evaluations.speed.gpu_check`.

It runs from a checkout (PYTHONPATH=.) and needs numpy, pydantic, a FAISS for GPUs, and torch for the bandwidth.
Embedders are not measured here.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ragkit.errors import ConfigError, MissingExtraError
from ragkit.eval.speed.clustered_vectors import clustered_queries, clustered_vectors
from ragkit.extras import require
from ragkit.indexers.vectors.gpu_index import on_gpus
from ragkit.indexers.vectors.gpus import MAX_SELECTED, Gpus, find_gpus
from ragkit.indexers.vectors.index_kinds import factory_of
from ragkit.indexers.vectors.shard_index import Effort, ShardIndex, as_shard_index, build_index, exact_index
from ragkit.indexers.vectors.tune_index import RecallMeter, tune
from ragkit.records import FloatArray

KINDS = ("flat", "ivf-flat", "ivf-pq")
BATCHES = (1, 256, 4096)
_K = 10
_TARGET = 0.95
# A step is repeated for so long, and at least so often; the median counts.
_SECONDS, _REPEATS = 1.0, 3
_COPIED_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table, in seconds. gpu_alone: without the refining of the CPU. bytes_read: by all queries."""

    kind: str
    step: str
    cpu: float
    gpu: float
    gpu_alone: float = 0.0
    bytes_read: float = 0.0
    score_difference: float = 0.0
    same_keys: float = 0.0

    def cells(self, batch: int, bandwidth: float) -> list[str]:
        cells = [self.kind, self.step, _duration(self.cpu), _duration(self.gpu), f"{self.cpu / self.gpu:.3g}"]
        if not batch:
            return [*cells, "", "", "", "", "", ""]
        rate = self.bytes_read / self.gpu_alone
        return [
            *cells,
            _duration(self.gpu_alone),
            f"{self.bytes_read / batch / 1e6:,.3g} MB",
            f"{rate / 1e9:,.0f} GB/s",
            f"{100 * rate / bandwidth:.0f} %" if bandwidth else "",
            f"{self.score_difference:.1e}",
            f"{100 * self.same_keys:.2f} %",
        ]


_HEADER = (
    "index", "step", "CPU", "GPU", "CPU / GPU", "on the GPU alone", "read per query", "read per second",
    "of the bandwidth", "largest score difference", "same keys",
)  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Print the table; where there is no GPU, say so. Returns the exit code, which is 0 then too.

    Where there are GPUs, but not the one that was asked for, it is 2.
    """
    options = _parse(arguments)
    try:
        gpus = find_gpus(options.device)
    except (ConfigError, MissingExtraError) as error:
        there = _gpus_there()
        if there:
            sys.stderr.write(f"--device {options.device}: no such GPU; there are {', '.join(there)}\n")
            return 2
        sys.stdout.write(f"no GPU to check: {error}\n")
        return 0
    assert gpus is not None
    report = _report(gpus, options.count, options.dim, options.kinds)
    sys.stdout.write(report)
    if options.out is not None:
        options.out.write_text(report, "utf-8")
    return 0


def _gpus_there() -> list[str]:
    """What FAISS can use, such as "cuda:0"."""
    try:
        faiss = require("faiss")
    except MissingExtraError:
        return []
    count = faiss.get_num_gpus() if hasattr(faiss, "StandardGpuResources") else 0
    return [f"cuda:{number}" for number in range(count)]


def _device(text: str) -> str:
    if re.fullmatch(r"cuda(:\d+)?", text) is None:
        raise argparse.ArgumentTypeError(f'{text!r} is neither "cuda" nor one such as "cuda:0"')
    return text


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m ragkit.evaluations.speed.gpu_check", description="Searches on GPUs, measured."
    )
    parser.add_argument("--count", type=int, default=1_000_000, help="vectors (1,000,000)")
    parser.add_argument("--dim", type=int, default=384, help="their dimensions (384)")
    parser.add_argument("--device", type=_device, default="cuda", help='"cuda", all GPUs, or one: "cuda:0"')
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="which indexes")
    parser.add_argument("--out", type=Path, help="also write the table to this Markdown file")
    return parser.parse_args(arguments)


def _report(gpus: Gpus, count: int, dim: int, kinds: list[str]) -> str:
    vectors, queries = clustered_vectors(count, dim), clustered_queries(max(BATCHES), count, dim)
    bandwidth, said = measure_bandwidth(gpus)
    lines = [_line(_HEADER), _line(["---"] * len(_HEADER))]
    notes: list[str] = []
    for kind in kinds:
        for row, batch in measure(kind, vectors, queries, gpus, notes.append):
            lines.append(_line(row.cells(batch, bandwidth)))
            sys.stderr.write(lines[-1] + "\n")
    about = f"{count:,} vectors of {dim} dimensions, k = {_K}; {_machine(gpus)}; {said}."
    return "\n".join(
        ["# Vectors on GPUs", "", about, "", *lines, "", *(f"- {note}" for note in notes), *_FOOT, ""]
    )


_FOOT = (
    "- Read per query: of a flat index all vectors, once a batch; of inverted files the codes of the lists that "
    "each query looks at.",
    "- On the GPU alone: a search without the refining, which the CPU does from the exact vectors.",
)


def measure(
    kind: str, vectors: FloatArray, queries: FloatArray, gpus: Gpus, note: Callable[[str], None]
) -> Iterator[tuple[Row, int]]:
    """The rows of one kind of index with the queries of each, 0 for those that are no search."""
    built, cpu = _seconds(lambda: _built(kind, vectors, None))
    built_there, made = _seconds(lambda: _built(kind, vectors, gpus))
    effort = Effort(0, 0)
    if kind != "flat":
        yield Row(kind, "build", built, built_there), 0
        meter = RecallMeter(vectors, queries[:256])
        gpu = on_gpus(cpu, gpus, kind)
        effort, _ = tune(gpu, meter, _TARGET)
        # Where the target is out of reach: as far as a GPU looks.
        effort = Effort(min(effort.effort, MAX_SELECTED), effort.refine_factor)
        recall, there = meter.recall(gpu, effort), meter.recall(on_gpus(made, gpus, kind), effort)
        lists = f"{cpu.max_effort:,} lists, of which a query looks at {effort.effort}"
        factor = f", {effort.refine_factor} times as many candidates as wanted" if effort.refine_factor else ""
        note(
            f"{kind}: {lists}{factor}; recall@10 {recall:.4f}, built on the GPU {there:.4f} with the same effort."
        )
        del gpu
    del made
    copied, gpu = _seconds(lambda: on_gpus(cpu, gpus, kind))
    note(f"{kind}: copied to the GPU in {_duration(copied)}.")
    for batch in BATCHES:
        yield _search_row(kind, cpu, gpu, queries[:batch], effort), batch


def _search_row(kind: str, cpu: ShardIndex, gpu: ShardIndex, queries: FloatArray, effort: Effort) -> Row:
    scores, rows = gpu.nearest(queries, _K, effort)
    true_scores, true_rows = cpu.nearest(queries, _K, effort)
    same = [
        len(set(found) & set(true)) / _K for found, true in zip(rows.tolist(), true_rows.tolist(), strict=True)
    ]
    there = median_seconds(lambda: gpu.nearest(queries, _K, effort))
    alone = there
    if gpu.is_lossy:
        base, taken = gpu.searched.base_index, _K * effort.refine_factor
        parameters = require("faiss").SearchParametersIVF(nprobe=effort.effort)
        alone = median_seconds(lambda: base.search(queries, taken, params=parameters))
    return Row(
        kind,
        f"search, batch {len(queries):,}",
        median_seconds(lambda: cpu.nearest(queries, _K, effort)),
        there,
        alone,
        bytes_read(cpu, queries, effort),
        float(np.abs(scores - true_scores).max()),
        float(np.mean(same)),
    )


def bytes_read(cpu: ShardIndex, queries: FloatArray, effort: Effort) -> float:
    """Of vectors or codes, by a batch of queries."""
    faiss = require("faiss")
    if not cpu.parameter:
        return float(cpu.num_rows * 4 * queries.shape[1])
    ivf = faiss.downcast_index(cpu.searched.base_index) if cpu.is_lossy else cpu.searched
    _, lists = ivf.quantizer.search(queries, effort.effort)
    sizes = np.array([ivf.invlists.list_size(i) for i in range(ivf.nlist)], np.int64)
    return float(sizes[lists].sum() * ivf.code_size)


def measure_bandwidth(gpus: Gpus) -> tuple[float, str]:
    """Bytes per second that the memories of the GPUs read and write while each copies within its own; in words."""
    try:
        torch = require("torch")
    except MissingExtraError:
        return 0.0, "the memory's bandwidth was not measured, for torch is not installed"
    rate = sum(_copy_rate(torch, number) for number in gpus.numbers)
    return (
        rate,
        f"memory bandwidth {rate / 1e9:,.0f} GB/s, measured by copies within the GPU, read and write counted",
    )


def _copy_rate(torch: Any, number: int) -> float:
    device = f"cuda:{number}"
    source = torch.zeros(_COPIED_BYTES // 4, dtype=torch.float32, device=device)
    target = torch.empty_like(source)

    def copy() -> None:
        target.copy_(source)
        torch.cuda.synchronize(device)

    return 2 * _COPIED_BYTES / median_seconds(copy)


def median_seconds(run: Callable[[], object]) -> float:
    """Of one run, after one that does not count."""
    run()
    taken: list[float] = []
    while len(taken) < _REPEATS or sum(taken) < _SECONDS:
        taken.append(_seconds(run)[0])
    return statistics.median(taken)


def _built(kind: str, vectors: FloatArray, gpus: Gpus | None) -> ShardIndex:
    if kind == "flat":
        return exact_index(vectors)
    return as_shard_index(build_index(vectors, factory_of(kind, *vectors.shape), gpus), vectors)


def _seconds(run: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = run()
    return time.perf_counter() - started, result


def _machine(gpus: Gpus) -> str:
    faiss = require("faiss")
    cores = f"{faiss.omp_get_max_threads()} threads on {os.cpu_count()} CPU cores ({platform.machine()})"
    try:
        names = {require("torch").cuda.get_device_name(number) for number in gpus.numbers}
    except MissingExtraError:
        names = {"NVIDIA"}
    return f"{len(gpus.numbers)} GPU ({', '.join(sorted(names))}), {cores}, FAISS {faiss.__version__}"


def _duration(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def _line(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
