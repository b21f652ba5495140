"""Servers in processes of their own: started, waited for, measured from outside, killed."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Mapping

PATIENCE_S = 180.0
_LOOK_S = 0.01
_MIB = 2**20
ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Command:
    """How a server is started at a port, and the HTTP request that shows that it answers."""

    words: tuple[str, ...]
    port: int
    question: str
    env: Mapping[str, str]
    log: Path


@dataclass(frozen=True)
class Started:
    """A server that answers; `first_s` are the seconds from its start to its first answer."""

    process: subprocess.Popen[bytes]
    port: int
    first_s: float

    def cpu_s(self) -> float:
        """Seconds of CPU, user and system, of the process and all it has started."""
        return sum(each.cpu_times().user + each.cpu_times().system for each in self._tree())

    def resident_mib(self) -> float:
        """Memory of the whole tree; what several of its processes share counts once for each."""
        return sum(each.memory_info().rss for each in self._tree()) / _MIB

    def own_mib(self) -> float:
        """Memory of the whole tree, shared pages by their share."""
        return sum(each.memory_full_info().pss for each in self._tree()) / _MIB

    def kill(self) -> None:
        """End it as a power cut would."""
        for each in reversed(self._tree()):
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        self.process.wait()

    def stop(self) -> None:
        """Let it end by itself; what does not is killed."""
        tree = self._tree()
        self.process.send_signal(signal.SIGTERM)
        _, alive = psutil.wait_procs(tree, timeout=15)
        for each in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        self.process.wait()

    def _tree(self) -> list[psutil.Process]:
        try:
            first = psutil.Process(self.process.pid)
            return [first, *first.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


def launch(command: Command) -> subprocess.Popen[bytes]:
    """Start a server and do not wait for it."""
    with command.log.open("ab") as log:
        env = {**os.environ, "OMP_NUM_THREADS": "1", **command.env}
        return subprocess.Popen(command.words, stdout=log, stderr=log, env=env, cwd=ROOT)


def start(command: Command) -> Started:
    """Start a server and wait for its first answer; raises `SystemExit` with its log if there is none."""
    begin_s = time.perf_counter()
    process = launch(command)
    while time.perf_counter() - begin_s < PATIENCE_S and process.poll() is None:
        if answers(command.port, command.question):
            return Started(process, command.port, time.perf_counter() - begin_s)
        time.sleep(_LOOK_S)
    process.kill()
    last = command.log.read_text(encoding="utf-8", errors="replace")[-2000:]
    raise SystemExit(f"{command.words[0]} did not answer at {command.port}:\n{last}")


def answers(port: int, question: str) -> bool:
    """Whether a request is answered with 200."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as link:
        link.sendall(question.encode("latin-1"))
        return link.recv(64).split(b" ")[1:2] == [b"200"]
    return False


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
