"""What the processes that a server starts do when the server is gone, and how they share the processor with it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

_WORKER = """
import time
from ragkit.hosting.child_process import messages_of, own_channels, tell

incoming, outgoing = own_channels()
for message in messages_of(incoming):
    tell(outgoing, {"got": message}, b"and more")
    if message == "work":
        time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="macOS does not tell the end of a pipe that nobody reads")
def test_messages_are_answered_until_the_pipe_ends_also_in_the_middle_of_work() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        for message in ("hello", "work"):
            worker.stdin.write(json.dumps(message).encode() + b"\n")
            worker.stdin.flush()
            assert json.loads(worker.stdout.readline()) == {"got": message}
            assert worker.stdout.read(8) == b"and more"
        worker.stdin.close()
        assert worker.wait(20) == -signal.SIGKILL


_GIVING_WAY = """
import os, sys
from ragkit.hosting.child_process import give_way

before = os.nice(0)
give_way(7)
print(os.nice(0) - before, open("/proc/self/autogroup").read().split()[-1])
"""


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="sessions share the processor only on Linux")
@pytest.mark.parametrize("has_session", [True, False])
def test_a_process_gives_way_with_its_session_and_not_with_another_ones(has_session: bool) -> None:
    shared = Path("/proc/self/autogroup").read_text("ascii").split()[-1]
    command = [sys.executable, "-c", _GIVING_WAY]
    done = subprocess.run(command, capture_output=True, text=True, check=True, start_new_session=has_session)
    assert done.stdout.split() == ["7", "7" if has_session else shared]
    assert Path("/proc/self/autogroup").read_text("ascii").split()[-1] == shared
