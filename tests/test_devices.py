from __future__ import annotations

from tests.warm_python import WarmPython

SHARED = """
import sys, threading
from ragkit import devices
devices.num_cores = lambda: int(sys.argv[1])
devices.share_cores(int(sys.argv[2]))
import torch
thread = threading.Thread(target=lambda: print(torch.get_num_threads()))
thread.start()
thread.join()
"""


def test_threads_that_work_at_once_have_their_part_of_the_cores(warm_python: WarmPython) -> None:
    def threads_of(cores: int, workers: int) -> int:
        # A process of its own: what torch is told holds for all that come after.
        return int(warm_python.run(["-c", SHARED, str(cores), str(workers)], libraries=["torch"]).stdout)

    assert threads_of(8, 2) == 4
    assert threads_of(2, 64) == 1
