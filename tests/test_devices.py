from __future__ import annotations

from tests.warm_python import WarmPython

SHARED = """
import os, sys, threading
os.environ.update({"OMP_NUM_THREADS": sys.argv[3]} if sys.argv[3:] else {})
from ragkit import devices
devices.num_cores = lambda: int(sys.argv[1])
import faiss, torch
def show():
    devices.take_share()
    print(torch.get_num_threads(), faiss.omp_get_max_threads())
devices.share_cores(int(sys.argv[2]))
thread = threading.Thread(target=show)
thread.start()
thread.join()
"""


def test_threads_that_work_at_once_have_their_part_of_the_cores(warm_python: WarmPython) -> None:
    def threads_of(cores: int, workers: int, *most: str) -> str:
        # A process of its own: what torch is told holds for all that come after.
        return warm_python.run(["-c", SHARED, str(cores), str(workers), *most], libraries=["torch"]).stdout.strip()

    assert threads_of(6, 2, "6,2") == "3 3"
    assert threads_of(8, 2, "6") == "3 3"
    assert threads_of(6, 2, "") == "3 3"
    assert threads_of(2, 64, "2") == "1 1"
