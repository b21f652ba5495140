"""Several processes behind one port: each answers by itself, one that dies is replaced, all drain together.

They share the port by SO_REUSEPORT and know of each other only through the store. Each gets its place as a line of JSON
on standard input, which stays open: when it closes, the parent is gone, and the child drains and leaves too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess  # ruff: ignore[suspicious-subprocess-import] - starts this very program, from a fixed list
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, final

from pennyweight.errors import PennyweightError
from pennyweight.serve.alone import ended_well, program, say
from pennyweight.serve.counters import files
from pennyweight.serve.place import Place
from pennyweight.serve.running import check, host, listening, serve
from pennyweight.store.codec import from_json, to_json
from pennyweight.store.team import registry, workers
from pennyweight.store.team.opened import opened, reading

if TYPE_CHECKING:
    from collections.abc import Callable

_CHILD = "from pennyweight.serve.crew import member; member()"
_LOOK_S = 0.05
_FIRST_S, _MOST_S = 0.1, 5.0  # to wait before a process that died is replaced: twice as long each time
_STEADY_S = 10.0  # one that has lived for so long died of something new
_DRAIN_S = 15.0


def serve_many(place: Place, count: int, told: Callable[[str], None]) -> int:
    """Answer with `count` processes until a signal says stop, and return the exit code.

    Raises `BadInputError` as `serve` does, `UnknownNameError` for a model that there is none of.
    """
    with opened(place.store) as engine:
        check(engine, place)
        with reading(engine) as link:
            for model in place.models:
                registry.get(link, model)
    with contextlib.closing(listening(place)) as held:  # not listening: it only keeps the port for them
        shared = replace(place, port=held.getsockname()[1], share=place.share / count)
        with files(count) as counts:
            return Crew([Post(replace(shared, counts=each)) for each in counts], told).run()


def member() -> None:
    """Be one of the processes."""
    ended_well(lambda: serve(from_json(Place, os.read(0, 1 << 20)), say, lifeline=0))


@final
@dataclass(slots=True, eq=False)
class Post:
    """One place in the crew, and the process that fills it at the moment."""

    place: Place
    process: subprocess.Popen[bytes] | None = None
    text: str = ""  # what it said when it was ready
    since_s: float = 0.0
    deaths: int = 0  # in a row
    again_s: float = 0.0  # when to fill it again

    def fill(self) -> None:
        """Start a process; a terminal's signals reach the parent only, who passes them on once."""
        self.text, self.since_s = "", time.monotonic()
        self.process = subprocess.Popen(
            program(_CHILD), stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        os.set_blocking(_pipe(self.process.stdout).fileno(), False)
        pipe = _pipe(self.process.stdin)
        with contextlib.suppress(BrokenPipeError):
            pipe.write(to_json(self.place).encode() + b"\n")
            pipe.flush()

    def look(self) -> str:
        """Notice that the process is ready, or has died: then what to say about it."""
        if self.process is None:
            return ""
        said = _pipe(self.process.stdout).read()
        self.text = self.text or (said or b"").decode().strip()
        code = self.process.poll()
        if code is None:
            return ""
        pid, lived_s = self.process.pid, time.monotonic() - self.since_s
        self.leave()
        self.deaths = 1 if lived_s > _STEADY_S else self.deaths + 1
        wait_s = min(_MOST_S, _FIRST_S * 2 ** (self.deaths - 1))
        self.again_s = time.monotonic() + wait_s
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return f"Process {pid} ended ({how}); another takes its place in {wait_s:g} s."

    def leave(self) -> None:
        """Close what the process held."""
        if self.process is not None:
            for pipe in (self.process.stdin, self.process.stdout):
                with contextlib.suppress(OSError):
                    _pipe(pipe).close()
            self.process = None


@final
@dataclass(slots=True, eq=False)
class Crew:
    """The parent: it answers nothing, and sees to it that as many processes as wanted do."""

    posts: list[Post]
    told: Callable[[str], None]
    stopping: bool = field(default=False, init=False)

    def run(self) -> int:
        """Until a signal says stop; the exit code is that of a process that could not even begin."""
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, self._stop)
        try:
            return self._watched()
        finally:
            self._drain()

    def _stop(self, *_: object) -> None:
        self.stopping = True

    def _watched(self) -> int:
        for post in self.posts:
            post.fill()
        waiting = True
        while not self.stopping:
            processes = [post.process for post in self.posts]
            said = [post.look() for post in self.posts]
            if waiting and any(said):
                return next(
                    max(1, each.returncode) for each, text in zip(processes, said, strict=True) if each and text
                )
            self._bury([(each.pid, text) for each, text in zip(processes, said, strict=True) if each and text])
            if waiting and all(post.text for post in self.posts):
                waiting = False
                self.told(f"{self.posts[0].text} ({len(self.posts)} processes)")
            for post in self.posts:
                if post.process is None and time.monotonic() >= post.again_s:
                    post.fill()
            time.sleep(_LOOK_S)
        return 0

    def _bury(self, dead: list[tuple[int, str]]) -> None:
        """Tell of those that died, and let nobody wait for them."""
        for _, text in dead:
            self.told(text)
        if not dead:
            return
        store = self.posts[0].place.store
        with contextlib.suppress(PennyweightError), opened(store) as engine, engine.begin() as link:
            for pid, _ in dead:
                workers.bury(link, host(), pid)

    def _drain(self) -> None:
        """Let every process finish what it has begun; one that takes too long is killed."""
        alive = [post.process for post in self.posts if post.process is not None]
        for each in alive:
            each.terminate()
        until_s = time.monotonic() + _DRAIN_S
        for each in alive:
            try:
                each.wait(max(0.0, until_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                each.kill()
                each.wait()
        for post in self.posts:
            post.leave()


def _pipe(found: Any) -> Any:
    return found
