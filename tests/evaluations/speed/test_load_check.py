"""What a server takes is counted with what its processes take."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ragkit.evaluations.speed.load_check import cpu_seconds, resident_mb

OWNER = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE)
child.stdout.readline()
print("ready", flush=True)
sys.stdin.read()
child.kill()
"""
CHILD = """
import time
held = bytearray(b"x" * 200_000_000)
while time.process_time() < 1.1: pass
print("ready", flush=True)
time.sleep(1000)
"""


def test_children_count() -> None:
    command = [sys.executable, "-c", OWNER, CHILD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        assert owner.stdin is not None
        assert owner.stdout.readline() == b"ready\n"
        assert 1 <= cpu_seconds(owner.pid) < 3
        assert 200 < resident_mb(owner.pid) < 300
        owner.stdin.close()


def test_a_process_that_has_ended_is_no_figure() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    with pytest.raises(FileNotFoundError):
        cpu_seconds(ended.pid)
