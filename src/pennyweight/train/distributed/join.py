"""Joining a team: who this process is, as its launcher says, and the group in which it meets the others."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from datetime import timedelta
from threading import Event, Thread
from typing import TYPE_CHECKING

from pennyweight.errors import BadInputError, LostError, UnknownNameError
from pennyweight.train.distributed.each import Each
from pennyweight.train.distributed.naming import exchange
from pennyweight.train.distributed.rounds import Outer, Rounds
from pennyweight.train.distributed.sharded import Sharded
from pennyweight.train.team import Alone, Team
from pennyweight.train.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Generator

    from pennyweight.core import TeamSpec

MEETING = "PENNYWEIGHT_MEETING"  # a file that the workers of one machine find each other by
LAUNCHER = "PENNYWEIGHT_LAUNCHER"  # the process that started this one
SYNCS = ("each", "shard", "local", "diloco")
_LOOK_S = 1.0
_SILENCE = timedelta(minutes=10)
_LOST = re.compile(r"gloo|NCCL|Connection (closed|reset|refused)|Broken pipe|timed? ?out", re.IGNORECASE)


@contextmanager
def joined(spec: TeamSpec) -> Generator[Team]:
    """The team that this process belongs to, open as long as the block runs.

    `RANK` and `WORLD_SIZE` in the environment say which worker this is, as torchrun and our own launcher set them;
    without them it is alone. Raises `BadInputError` for a team that cannot be, and `LostError` when another worker is
    gone.
    """
    check(spec)
    rank, size = _place(spec)
    if size == 1:
        yield Alone()
        return
    import torch.distributed as dist

    over = Event()
    if LAUNCHER in os.environ:
        Thread(target=_end_with, args=(int(os.environ[LAUNCHER]), over), daemon=True).start()
    try:
        dist.init_process_group(_backend(), init_method=_meeting(), rank=rank, world_size=size, timeout=_SILENCE)
        yield team(spec, Wire(rank, size))
        dist.barrier()  # a group that one leaves while another still talks ends in an abort now and then
    except RuntimeError as error:  # what torch raises where a collective fails has no type of its own
        if not is_loss(error):
            raise
        raise LostError(
            f"Worker {rank} of {size} has lost another: {str(error).splitlines()[0]}.",
            "see the log of the one that ended first, then go on from the checkpoint.",
        ) from error
    finally:
        over.set()
        if dist.is_initialized():
            dist.destroy_process_group()


def is_loss(error: RuntimeError) -> bool:
    """Whether a collective failed because another worker is gone."""
    return bool(_LOST.search(str(error)))


def check(spec: TeamSpec) -> None:
    """Raise `BadInputError` if `spec` is no team that can be: an unknown way to agree or to compress, no worker."""
    if spec.workers < 1:
        raise BadInputError(f"{spec.workers} workers cannot train.", "use at least one.")
    _sync(spec.sync)
    exchange(spec.compress)
    if spec.compress and spec.sync == "shard":
        raise BadInputError("Sharded training cannot compress gradients.", 'use sync="each", or no compressor.')


def team(spec: TeamSpec, wire: Wire) -> Team:
    """The team of `spec`, on a process group that is open."""
    name, every = _sync(spec.sync)
    if name == "each":
        return Each(wire, spec.compress)
    if name == "shard":
        return Sharded(wire)
    outer = Outer(every) if name == "local" else Outer(every, 0.7, 0.9)
    return Rounds(wire, outer, spec.compress)


def _sync(text: str) -> tuple[str, int]:
    """The way to agree and the steps of a round."""
    name, colon, steps = text.partition(":")
    if name not in SYNCS:
        raise UnknownNameError.of("way for workers to agree", text, SYNCS)
    if name in {"each", "shard"}:
        if colon:
            raise BadInputError(f"The way to agree {text!r} has rounds of one step.", f"write {name}, or local:16.")
        return name, 1
    if not (steps.isascii() and steps.isdigit() and int(steps) > 0):
        raise BadInputError(f"The way to agree {text!r} lacks the steps of a round.", f"write {name}:16, for example.")
    return name, int(steps)


def _place(spec: TeamSpec) -> tuple[int, int]:
    """Rank and size as the launcher says."""
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        if spec.workers > 1:
            raise BadInputError(
                f"This process is alone, but the training is for {spec.workers} workers.",
                "start it with --workers, or with torchrun.",
            )
        return 0, 1
    return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])


def _end_with(launcher: int, over: Event) -> None:
    """End this process when its launcher is gone, however that was ended; whoever waits for others cannot see it."""
    while not over.wait(_LOOK_S):
        if os.getppid() != launcher:
            os._exit(LostError.exit_code)


def _meeting() -> str:
    path = os.environ.get(MEETING)
    return f"file://{path}" if path else "env://"


def _backend() -> str:
    import torch

    return "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
