"""Training with several workers from within one process: it forks them, waits, and takes what the first has learned."""

from __future__ import annotations

import copy
import multiprocessing
import os
import tempfile
import warnings
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from pennyweight import errors
from pennyweight.errors import BadInputError, LostError, PennyweightError
from pennyweight.train.checkpoint import decode, encode
from pennyweight.train.distributed.join import check, is_loss, team
from pennyweight.train.how import How, Trained
from pennyweight.train.loop import fit
from pennyweight.train.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from pennyweight.core import TrainSpec

_PATIENCE_S = 3.0


@dataclass(frozen=True, slots=True)
class Together:
    """What came of a training by several workers: the model with all their rows, and the bytes all of them sent."""

    trained: Trained
    sent_byte: float


def train_together(model: nn.Module, data: Any, settings: TrainSpec, how: How | None = None) -> Together:
    """Train a copy of `model` as `fit` does, by `settings.team.workers` processes on this machine.

    Processes are forked, as those of PyTorch's data loaders are, so that nothing has to be written down for them; each
    computes with one thread. Raises `PennyweightError` as `fit` does in a worker, or for one that is lost, and
    `BadInputError` where processes cannot be forked.
    """
    check(settings.team)
    if "fork" not in multiprocessing.get_all_start_methods():
        raise BadInputError("This system cannot fork processes.", "train with pennyweight train --workers, or alone.")
    import torch.nn.parallel  # ruff: ignore[unused-import] - so that it is there in every worker, and read once

    with tempfile.TemporaryDirectory(prefix="pennyweight-") as folder:
        task = _Task(model, data, settings, how or How(), Path(folder))
        _run([multiprocessing.get_context("fork").Process(target=task.live, args=(rank,)) for rank in task.ranks])
        told = task.told()
    trained = copy.deepcopy(model)
    trained.load_state_dict(told[0]["model"])
    rows = sum(each["rows"] for each in told)
    facts = {name: told[0][name] for name in ("history", "scores", "stopped")}
    done = Trained(trained.eval(), settings.team.workers * told[0]["epochs"], rows, **facts)
    return Together(done, sum(each["sent"] for each in told))


@final
@dataclass(frozen=True, slots=True)
class _Task:
    """What every worker does, and the folder where they meet and leave what came of it."""

    model: nn.Module
    data: Any
    settings: TrainSpec
    how: How
    folder: Path

    @property
    def ranks(self) -> range:
        return range(self.settings.team.workers)

    def live(self, rank: int) -> None:
        """One worker, from its first moment to its last."""
        import torch
        import torch.distributed as dist

        torch.set_num_threads(1)
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        wire = Wire(rank, len(self.ranks))
        try:
            dist.init_process_group("gloo", f"file://{self.folder}/meeting", rank=rank, world_size=wire.size)
            self._tell(rank, self._trained(wire))
            dist.barrier()
            dist.destroy_process_group()
        except PennyweightError as error:
            self._tell(rank, {"error": (type(error).__name__, error.problem, error.fix)})
            os._exit(error.exit_code)
        except RuntimeError as error:
            if not is_loss(error):
                raise
            os._exit(LostError.exit_code)  # the one that was lost says why

    def told(self) -> list[dict[str, Any]]:
        """What all workers have left; raises what stopped one, or that one has left nothing."""
        places = [self._place(rank) for rank in self.ranks]
        told = [
            decode({each.name: each.read_bytes() for each in place.iterdir()}) for place in places if place.is_dir()
        ]
        for kind, problem, fix in (each["error"] for each in told if "error" in each):
            raise getattr(errors, kind, PennyweightError)(problem, fix)
        for rank, place in enumerate(places):
            if not place.is_dir():
                raise LostError(
                    f"Worker {rank} of {len(places)} was lost.", "see that there is memory for all, or use fewer."
                )
        return told

    def _trained(self, wire: Wire) -> dict[str, Any]:
        done = fit(self.model, self.data, self.settings, how=replace(self.how, team=team(self.settings.team, wire)))
        told = {name: getattr(done, name) for name in ("epochs", "rows", "history", "scores", "stopped")}
        return {**told, "sent": wire.sent_byte, "model": done.model.state_dict() if wire.rank == 0 else {}}

    def _tell(self, rank: int, told: dict[str, Any]) -> None:
        self._place(rank).mkdir()
        for name, body in encode(told).items():
            (self._place(rank) / name).write_bytes(body)

    def _place(self, rank: int) -> Path:
        return self.folder / f"worker-{rank}"


def _run(processes: Sequence[Any]) -> None:
    """Let all of them come to their ends; as soon as one fails, stop the others."""
    with warnings.catch_warnings():  # a child uses none of the threads that a library may have started here
        warnings.simplefilter("ignore", DeprecationWarning)
        for each in processes:
            each.start()
    try:
        there = {each.sentinel: each for each in processes}
        while there and not any(each.exitcode for each in processes):
            for sentinel in wait(list(there)):
                there.pop(sentinel).join()
    finally:
        for each in processes:
            each.terminate()
            each.join(_PATIENCE_S)
