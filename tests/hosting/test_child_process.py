"""What the processes that a server starts do when the server is gone, and how they share the processor with it."""

from __future__ import annotations

import json
import os
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


# Asks in a session of its own, as whoever started the tests need not have a group: what a process that gives way
# reads of itself, and what its parent reads behind that.
_GIVING_WAY = """
import os, subprocess, sys
from pathlib import Path
from ragkit.hosting.child_process import give_way

def words():
    file = Path("/proc/self/autogroup")
    return file.read_text("ascii").split()[-1:] if file.exists() else []

if sys.argv[1] == "worker":
    before = os.nice(0)
    give_way(7)
    print(os.nice(0) - before, *words(), flush=True)
else:
    command = [sys.executable, __file__, "worker"]
    subprocess.run(command, check=True, start_new_session=sys.argv[1] == "own")
    print(os.nice(0), *words())
"""


@pytest.mark.parametrize("session", ["own", "other"])
def test_a_process_gives_way_with_its_session_and_not_with_another_ones(session: str, tmp_path: Path) -> None:
    script = tmp_path / "giving_way.py"
    script.write_text(_GIVING_WAY, "utf-8")
    command = [sys.executable, str(script), session]
    done = subprocess.run(command, capture_output=True, text=True, check=True, start_new_session=True)
    worker, parent = done.stdout.splitlines()
    assert worker.split()[0] == "7"
    assert parent.split()[0] == str(os.nice(0))
    if len(parent.split()) == 1:
        pytest.skip("sessions have no shares of the processor here")
    assert worker.split()[1] == ("7" if session == "own" else "0")
    assert parent.split()[1] == "0"
