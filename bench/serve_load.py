"""A client that costs little: keep-alive connections that ask again as soon as they are answered, or at a pace.

    python -m bench.serve_load ORDER      # run by the other benchmarks, in a process of its own; ORDER is JSON

What cannot be seen from outside is counted here: answers by status, how long each took, what was asked and never
answered, and the names (x-request-id) of those that were.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import time
from array import array
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Generator

ROOT = Path(__file__).resolve().parents[1]
_ID, _VERSION = b"x-request-id: ", b"x-model-version: "
_NEAR = 1e-3
_AGAIN_S = 0.02
_OK = 200


@dataclass(frozen=True)
class Order:
    """What to ask at which port: `question` is all of an HTTP request, as text of bytes 0 to 255.

    `clients` connections ask for `seconds`, or until `count` questions were sent; together `rate` a second if that is
    given. A report is printed every `slice_s`, and the names of what was answered are left in the file `ids`. With
    `answers`, rows by version, an answer in JSON must be that of the version that its header names.
    """

    port: int
    question: str
    clients: int
    seconds: float
    count: int = 0
    rate: float = 0.0
    slice_s: float = 0.0
    ids: str = ""
    answers: dict[str, list[float]] = field(default_factory=dict)


@dataclass
class Told:
    """What happened: answers by status, seconds that the good ones took, questions that nobody answered."""

    statuses: Counter[int] = field(default_factory=Counter)
    took: array[float] = field(default_factory=lambda: array("d"))
    ids: list[bytes] = field(default_factory=list)
    whys: dict[int, str] = field(default_factory=dict)
    versions: Counter[str] = field(default_factory=Counter)
    wrong: int = 0
    lost: int = 0
    sent: int = 0


def http(path: str, body: bytes, port: int, **headers: str) -> str:
    """A whole HTTP request; underscores in names of headers stand for dashes."""
    lines = [f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode().decode("latin-1") + body.decode("latin-1")


@contextlib.contextmanager
def begin(order: Order) -> Generator[subprocess.Popen[str]]:
    """A client that asks during the block; when that fails, it asks no more."""
    command = [sys.executable, "-m", "bench.serve_load", json.dumps(asdict(order))]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def load(order: Order) -> dict[str, Any]:
    """Let a client do all of an order and return its last report."""
    with begin(order) as client:
        return end(client)


def end(process: subprocess.Popen[str], *, now: bool = False) -> dict[str, Any]:
    """Wait for a client, or let it ask nothing more `now`, and return its last report."""
    if now:
        process.send_signal(signal.SIGTERM)
    out, _ = process.communicate()
    if process.returncode:
        raise SystemExit("The client of the benchmark failed.")
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


class _Caller(asyncio.Protocol):
    """One connection, one question at a time."""

    def __init__(self, run: _Run, next_s: float) -> None:
        self.run, self.next_s, self.waiting, self.buffer = run, next_s, False, b""

    def connection_made(self, transport: Any) -> None:
        """Ask the first question."""
        self.transport = transport
        self.plan()

    def plan(self) -> None:
        """Ask when it is time."""
        wait_s = self.next_s - time.perf_counter() if self.run.every_s else 0.0
        if wait_s > 0:
            self.run.loop.call_later(wait_s, self.ask)
        else:
            self.ask()

    def ask(self) -> None:
        """Ask, or leave if all was asked."""
        if self.transport.is_closing():
            return
        if not self.run.may():
            self.transport.close()
            return
        self.began_s = self.next_s if self.run.every_s else time.perf_counter()
        self.next_s += self.run.every_s
        self.waiting = True
        self.transport.write(self.run.question)

    def data_received(self, data: bytes) -> None:
        """Note the answer when all of it is there."""
        self.buffer = self.buffer + data if self.buffer else data
        head = self.buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        low = self.buffer[:head].lower()
        at = low.find(b"content-length: ")
        end = low.find(b"\r\n", at)
        size = int(low[at + 16 : end if end > 0 else head])
        if len(self.buffer) < head + 4 + size:
            return
        status = int(low[9:12])
        self.run.note(status, time.perf_counter() - self.began_s, low)
        if self.run.order.answers and status == _OK:
            self.run.compare(low, self.buffer[head + 4 :])
        if status not in self.run.told.whys:
            self.run.told.whys[status] = self.buffer[head + 4 :][:200].decode("latin-1") if status != _OK else ""
        self.waiting, self.buffer = False, b""
        self.plan()

    def connection_lost(self, _: Exception | None) -> None:
        """Count what will not be answered, and come again."""
        if self.waiting:
            self.run.told.lost += 1
        self.run.gone(self)


class _Run:
    """All connections of one order."""

    def __init__(self, order: Order) -> None:
        self.order, self.question, self.told = order, order.question.encode("latin-1"), Told()
        self.every_s = order.clients / order.rate if order.rate else 0.0
        self.loop = asyncio.get_running_loop()
        self.open, self.done = 0, self.loop.create_future()
        self.begin_s = time.perf_counter()
        self.end_s = self.begin_s + order.seconds
        self.last, self.last_s = 0, self.begin_s

    def stop(self) -> None:
        """Ask nothing more from now on."""
        self.end_s = time.perf_counter()

    def may(self) -> bool:
        """Whether one more may be asked, and count it."""
        if time.perf_counter() > self.end_s or (self.order.count and self.told.sent >= self.order.count):
            return False
        self.told.sent += 1
        return True

    def note(self, status: int, took_s: float, head: bytes) -> None:
        """Note an answer."""
        told = self.told
        told.statuses[status] += 1
        if status != _OK:
            return
        told.took.append(took_s)
        if self.order.ids:
            at = head.find(_ID) + len(_ID)
            told.ids.append(head[at : (head + b"\r\n").find(b"\r\n", at)])

    def compare(self, head: bytes, body: bytes) -> None:
        """Count an answer that another version than the one it names would give."""
        version = head.partition(_VERSION)[2].partition(b"\r\n")[0].decode()
        self.told.versions[version] += 1
        wanted = self.order.answers.get(version)
        found = json.loads(body)["outputs"][0]["data"]
        near = wanted is not None and all(abs(a - b) < _NEAR for a, b in zip(wanted, found, strict=True))
        self.told.wrong += not near

    def gone(self, caller: _Caller) -> None:
        """A connection ended: as it should, or it comes again."""
        over = time.perf_counter() > self.end_s or (self.order.count and self.told.sent >= self.order.count)
        if not over:
            self.loop.call_later(_AGAIN_S, lambda: self.loop.create_task(self.connect(caller.next_s)))
            return
        self.open -= 1
        if not self.open and not self.done.done():
            self.done.set_result(None)

    async def connect(self, next_s: float) -> None:
        """Open a connection; nobody may listen for a while."""
        caller = _Caller(self, next_s)
        try:
            await self.loop.create_connection(lambda: caller, "127.0.0.1", self.order.port)
        except OSError:
            self.gone(caller)

    async def slices(self) -> None:
        """Print what happened since the last report."""
        while True:
            await asyncio.sleep(self.order.slice_s)
            self.say(self.last, self.last_s)
            self.last, self.last_s = len(self.told.took), time.perf_counter()

    def leave(self) -> None:
        """Leave the names of what was answered, and print the last report."""
        if self.order.ids:
            Path(self.order.ids).write_bytes(b"\n".join(self.told.ids))
        self.say(0, self.begin_s)

    def say(self, since: int, since_s: float) -> None:
        """Print a report of the answers from number `since` on."""
        took = np.sort(np.frombuffer(self.told.took, dtype=float)[since:]) * 1e3
        seconds = time.perf_counter() - since_s
        told = {
            "answers": len(took),
            "rps": len(took) / seconds,
            "seconds": seconds,
            "p50_ms": float(np.quantile(took, 0.5)) if len(took) else 0.0,
            "p99_ms": float(np.quantile(took, 0.99)) if len(took) else 0.0,
            "statuses": {str(status): count for status, count in self.told.statuses.items()},
            "whys": {str(status): why for status, why in self.told.whys.items() if why},
            "lost": self.told.lost,
            "wrong": self.told.wrong,
            "versions": self.told.versions,
            "sent": self.told.sent,
            "client_cpu_us": 1e6 * time.process_time() / max(1, sum(self.told.statuses.values())),
        }
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


async def _ask(order: Order) -> None:
    run = _Run(order)
    run.open = order.clients
    run.loop.add_signal_handler(signal.SIGTERM, run.stop)
    reports = asyncio.create_task(run.slices()) if order.slice_s else None
    starts = [run.begin_s + i * run.every_s / order.clients for i in range(order.clients)]
    await asyncio.gather(*(run.connect(start_s) for start_s in starts))
    await run.done
    if reports:
        reports.cancel()
    run.leave()


def main() -> None:
    import uvloop

    uvloop.run(_ask(Order(**json.loads(sys.argv[1]))))


if __name__ == "__main__":
    main()
