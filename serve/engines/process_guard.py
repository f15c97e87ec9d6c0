"""Runs a command, and ends it with all of its children when whoever started this script is gone.

A script of the standard library alone: `python -I process_guard.py PARENT SECONDS COMMAND...`, started by process
PARENT with a pipe as its standard input, which closes when PARENT ends in whatever way, also by SIGKILL. (Children
of PARENT may hold it open: so the guard also looks whose child it is.) The command is then asked to end (SIGTERM),
and killed after SECONDS. The exit status is the command's.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time

_PR_SET_PDEATHSIG = 1
_TICK_S = 0.2


def main(parent: int, grace_s: float, command: list[str]) -> int:
    """Run until the command has ended, the parent has, or the standard input closes."""
    # What reaches the group of the terminal is the starter's to handle.
    for name in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
    # There are no other threads here.
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_die_with_this_process,  # noqa: PLW1509
    )
    try:
        while child.poll() is None:
            readable, _, _ = select.select([0], [], [], _TICK_S)
            if os.getppid() != parent or (readable and not os.read(0, 4096)):
                _end(child, grace_s)
    finally:
        # The command's own children must not outlive it.
        _signal_group(child, signal.SIGKILL)
        child.wait()
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _end(child: subprocess.Popen[bytes], grace_s: float) -> None:
    _signal_group(child, signal.SIGTERM)
    ends = time.monotonic() + grace_s
    while child.poll() is None and time.monotonic() < ends:
        time.sleep(_TICK_S / 4)
    _signal_group(child, signal.SIGKILL)
    child.wait()


def _signal_group(child: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)


def _die_with_this_process() -> None:
    for name in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(name, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]))
