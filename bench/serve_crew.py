"""Several servers at one port, some of which are killed at random moments and started again."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import numpy as np
import psutil

from bench.serve_processes import PATIENCE_S, launch

if TYPE_CHECKING:
    import subprocess

    from bench.serve_processes import Command

_LOOK_S = 0.02


@dataclass
class Crew:
    """`size` processes of one command."""

    command: Command
    size: int
    dice: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    members: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __enter__(self) -> Self:
        """Start all and wait until each listens."""
        self.members = [launch(self.command) for _ in range(self.size)]
        for each in self.members:
            self._wait(each)
        return self

    def __exit__(self, *_: object) -> None:
        """Let all end by themselves."""
        for each in self.members:
            each.terminate()
        for each in self.members:
            each.wait()

    def kill_one(self) -> int:
        """Kill one that listens, as a power cut would, and start another in its place; 0 if none does, else 1."""
        ready = [i for i, each in enumerate(self.members) if self.listens(each)]
        if not ready:
            return 0
        victim = ready[self.dice.integers(len(ready))]
        self.members[victim].kill()
        self.members[victim].wait()
        self.members[victim] = launch(self.command)
        return 1

    def whole(self) -> None:
        """Wait until all listen again."""
        for each in self.members:
            self._wait(each)

    def listens(self, member: subprocess.Popen[bytes]) -> bool:
        """Whether a process accepts connections at the port."""
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            links = psutil.Process(member.pid).net_connections("tcp")
            return any(each.status == psutil.CONN_LISTEN and each.laddr.port == self.command.port for each in links)
        return False

    def _wait(self, member: subprocess.Popen[bytes]) -> None:
        end_s = time.monotonic() + PATIENCE_S
        while not self.listens(member):
            if member.poll() is not None or time.monotonic() > end_s:
                last = self.command.log.read_text(encoding="utf-8", errors="replace")[-2000:]
                raise SystemExit(f"A server of several did not start:\n{last}")
            time.sleep(_LOOK_S)
