"""Bare searches under load: `python -m ragkit.evaluations.speed.load_bare CORPUS`, plans in, times out."""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from ragkit.corpus import Corpus
from ragkit.devices import share_cores, take_share
from ragkit.eval.speed.load_client import LoadPlan, LoadSeen
from ragkit.hosting.search_batches import NUM_WORKERS


def search_under_load(corpus: Corpus, plan: LoadPlan, k: int) -> LoadSeen:
    """The plan's questions, each searched by a call of `Corpus.search_many` in a thread of its client."""
    seen = LoadSeen()
    lock = threading.Lock()
    started = time.perf_counter()

    def search(question: str, since: float) -> None:
        take_share()
        corpus.search_many([question], k, level="passage")
        took = time.perf_counter() - since
        with lock:
            seen.latencies_s.append(took)

    def in_circles(client: int) -> None:
        chance = random.Random(plan.seed * 1000 + client)
        while time.perf_counter() < started + plan.seconds:
            search(chance.choice(plan.questions), time.perf_counter())

    with ThreadPoolExecutor(plan.num_clients) as threads:
        if plan.rate:
            # The same questions at the same times as `generate_load` sends.
            chance, due, asked = random.Random(plan.seed), started, []
            while due < started + plan.seconds:
                time.sleep(max(due - time.perf_counter(), 0))
                asked.append(threads.submit(search, chance.choice(plan.questions), due))
                due += chance.expovariate(plan.rate)
        else:
            asked = [threads.submit(in_circles, client) for client in range(plan.num_clients)]
        wait(asked)
        for one in asked:
            one.result()
    seen.seconds = time.perf_counter() - started
    return seen


def main() -> None:
    """A plan a line in, what was seen a line out, until the input ends."""
    with Corpus.open(Path(sys.argv[1]), create=False) as corpus:
        corpus.load()
        # As a server does.
        share_cores(NUM_WORKERS)
        for line in sys.stdin:
            raw: dict[str, Any] = json.loads(line)
            k = raw.pop("k")
            plan = LoadPlan(**{**raw, "questions": tuple(raw["questions"])})
            sys.stdout.write(search_under_load(corpus, plan, k).to_json() + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
