"""A process of an asynchronous training: idle until it is told to be a worker or a shard, and idle again after."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar, final

from pennyweight.errors import PennyweightError

if TYPE_CHECKING:
    from collections.abc import Callable

_GREETING_S = 2.0  # what an idle process may take to answer


@final
class Hand:
    """Lives in a process of its own. A `warm` one has loaded beforehand what the first step of an optimiser needs."""

    rested_s: ClassVar[float] = 0.0  # the CPU seconds of the process when it rested last

    def __init__(self, *, warm: bool) -> None:
        import torch

        torch.set_num_threads(1)
        self._role: Any = None
        if warm:
            from pennyweight.core import TrainSpec
            from pennyweight.train.schedule import stepper

            network = torch.nn.Linear(1, 1)
            network(torch.ones(1, 1)).backward()
            stepper(network, TrainSpec(), 1).step()

    def become(self, role: Callable[..., Any], *words: Any) -> None:
        """Be what `role` makes of the words from now on."""
        self._role = role(*words)

    def do(self, verb: str, *words: Any, **more: Any) -> Any:
        """What the role answers."""
        return getattr(self._role, verb)(*words, **more)

    def rest(self) -> None:
        """Be idle; CPU seconds are counted from here."""
        self._role = None
        Hand.rested_s = time.process_time()

    def process(self) -> int:
        """The number of the process."""
        return os.getpid()

    def cpu_s(self) -> float:
        """What `spent_s` says."""
        return spent_s()


def spent_s() -> float:
    """The CPU seconds of this process since it was started, or since it rested last."""
    return time.process_time() - Hand.rested_s


@final
class Pool:
    """Idle processes; whoever needs one takes it from here and gets a new one if there is none."""

    def __init__(self) -> None:
        self._idle: deque[tuple[Any, Any]] = deque()  # each with a call that ends when it is there

    def take(self) -> Any:
        """An idle process that has not died meanwhile, or a new one, which may still be on its way."""
        import ray

        while self._idle:
            hand, there = self._idle.popleft()
            if not ray.wait([there], timeout=0)[0]:  # it is being started still: sooner there than a new one
                return hand
            with contextlib.suppress(ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
                ray.get(hand.process.remote(), timeout=_GREETING_S)
                return hand
        return _start(warm=False)

    def prepare(self, count: int) -> None:
        """Have `count` idle processes at least, started now if need be; they are ready some seconds later."""
        for _ in range(count - len(self._idle)):
            self._add(_start(warm=True))

    def give_back(self, hand: Any) -> None:
        """Keep a process that is needed no more for the next who needs one."""
        hand.rest.remote()
        self._add(hand)

    def ready(self) -> list[Any]:
        """The idle processes that are there."""
        import ray

        return [hand for hand, there in self._idle if ray.wait([there], timeout=0)[0]]

    def end(self) -> None:
        """End the idle processes."""
        while self._idle:
            end(self._idle.pop()[0])

    def _add(self, hand: Any) -> None:
        self._idle.append((hand, hand.process.remote()))


def end(hand: Any) -> None:
    """End a process."""
    import ray

    ray.kill(hand)


def answer(call: Any) -> Any:
    """What a call came to; an error of ours is raised as it was, not wrapped in the traces of other processes."""
    import ray

    try:
        return ray.get(call)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, PennyweightError):
            raise error.cause from None
        raise


def _start(*, warm: bool) -> Any:
    import ray

    return ray.remote(num_cpus=0)(Hand).remote(warm=warm)
