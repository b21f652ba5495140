"""Starting the workers of one machine: the same command once for each, watched until all have ended."""

from __future__ import annotations

import os
import signal
import subprocess  # ruff: ignore[suspicious-subprocess-import] - the same command as this one, never a shell
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

from pennyweight.errors import BadInputError, LostError, PennyweightError
from pennyweight.train.distributed.join import LAUNCHER, MEETING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LOOK_S = 0.05
_SETTLE_S = 0.5  # in which the one that failed first, and not one that lost it, is found
_PATIENCE_S = 3.0
_TOLD = 300


@final
@dataclass(frozen=True, slots=True)
class Worker:
    """A process that was started and the file its output goes to."""

    rank: int
    process: subprocess.Popen[bytes]
    log: Path


def launch(command: Sequence[str], size: int, logs: Path) -> None:
    """Run `command` as `size` workers of one team on this machine and wait for all of them.

    Each finds its place in the environment, as under torchrun, and writes to its own file in `logs`; it computes with
    one thread unless `OMP_NUM_THREADS` says otherwise. If one fails the others are stopped within seconds, and
    `PennyweightError` says which it was and where its log is. Nothing is pickled and no port is opened to others.
    """
    if size < 1:
        raise BadInputError(f"{size} workers cannot be started.", "use at least one.")
    logs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="pennyweight-") as folder:
        meeting = Path(folder) / "meeting"
        workers: list[Worker] = []
        try:
            workers.extend(_start(command, _environment(rank, size, meeting), rank, logs) for rank in range(size))
            _watch(workers)
        finally:
            _stop(workers)


def _start(command: Sequence[str], environment: Mapping[str, str], rank: int, logs: Path) -> Worker:
    log = logs / f"worker-{rank}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            list(command), env=dict(environment), stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
        )
    return Worker(rank, process, log)


def _environment(rank: int, size: int, meeting: Path) -> dict[str, str]:
    place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size), MEETING: str(meeting)}
    place[LAUNCHER] = str(os.getpid())
    # The workers of one machine need no other network, and the machine's name need not resolve.
    here = {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}
    return {"OMP_NUM_THREADS": "1", **here, **os.environ, **place}


def _watch(workers: Sequence[Worker]) -> None:
    """Wait until all have ended well, or raise for the first that has not."""
    while True:
        codes = [each.process.poll() for each in workers]
        if any(codes):
            _settle(workers)
            raise _failure(workers)
        if all(code == 0 for code in codes):
            return
        time.sleep(_LOOK_S)


def _settle(workers: Sequence[Worker]) -> None:
    """Let the others end too; while all that ended have merely lost another, for as long as that one may take to."""
    time.sleep(_SETTLE_S)
    end = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end and all(not _code(each) or _lost(each) for each in workers):
        if all(each.process.poll() is not None for each in workers):
            return
        time.sleep(_LOOK_S)


def _failure(workers: Sequence[Worker]) -> PennyweightError:
    """What to say: of those that failed, one that was killed, else one that did not merely lose another."""
    failed = [each for each in workers if each.process.poll()]
    worker = min(failed, key=lambda each: (_code(each) > 0, _lost(each), each.rank))
    code, who = _code(worker), f"Worker {worker.rank} of {len(workers)}"
    if code < 0:
        name = signal.Signals(-code).name
        return PennyweightError(
            f"{who} was killed ({name}) and the others were stopped; its log is {worker.log}.",
            "see that there is memory for all workers, or use fewer, then go on from the checkpoint.",
        )
    return PennyweightError(
        f"{who} failed and the others were stopped: {_last_line(worker.log)} Its log is {worker.log}.",
        "mend what it says, then go on from the checkpoint.",
    )


def _code(worker: Worker) -> int:
    return worker.process.poll() or 0


def _lost(worker: Worker) -> bool:
    """Whether a worker ended because another was gone, by its exit code or the last words of its script."""
    return _code(worker) == LostError.exit_code or (_code(worker) > 0 and LostError.__name__ in _last_line(worker.log))


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    said = next((line for line in reversed(lines) if line), "it said nothing")[:_TOLD]
    return said if said.endswith(".") else f"{said}."


def _stop(workers: Sequence[Worker]) -> None:
    """End those that still run: politely, then not."""
    for each in workers:
        if each.process.poll() is None:
            each.process.terminate()
    end = time.monotonic() + _PATIENCE_S
    for each in workers:
        try:
            each.process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            each.process.kill()
            each.process.wait()
