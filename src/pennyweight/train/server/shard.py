"""One server: a slice of the weights with its optimiser, changed by every gradient that comes, kept now and then."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from pennyweight.errors import PennyweightError
from pennyweight.train.checkpoint import decode, encode
from pennyweight.train.schedule import stepper
from pennyweight.train.server.correction import Correction

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from pennyweight.core import TrainSpec


@dataclass(frozen=True, slots=True)
class Slice:
    """Which slice a shard holds and how: its number, the changes foreseen, the correction, where its state is kept."""

    number: int
    steps: int
    correction: str
    keep_every: int
    folder: str


@dataclass(frozen=True, slots=True)
class Push:
    """A worker's gradient (N,), float32, for its step `clock` (from 1); None only asks for the weights."""

    worker: int
    clock: int
    gradient: np.ndarray | None = None


@final
class Shard:
    """Holds the slice `weights` (N,), float32; if a state is kept in its folder it goes on from there.

    What was changed after the state was kept is lost with the process: at most `keep_every - 1` gradients of one slice.
    """

    def __init__(self, weights: np.ndarray, settings: TrainSpec, place: Slice) -> None:
        import torch

        torch.set_num_threads(1)
        self._place = place
        holder = torch.nn.Module()
        self._weights = torch.nn.Parameter(torch.from_numpy(weights.copy()))
        holder.register_parameter("weights", self._weights)
        self._rule = stepper(holder, settings, place.steps)
        self._correction = Correction(place.correction)
        self._version = 0
        self._clocks: dict[int, int] = {}
        self._then: dict[int, tuple[Tensor, int]] = {}
        self._restore()

    def exchange(self, push: Push) -> np.ndarray:
        """Change the weights by the gradient, unless it has been already; the weights (N,) as they are then.

        Raises `PennyweightError` for a gradient that is no number (it changes nothing) and if no state can be kept.
        """
        if push.gradient is not None and push.clock > self._clocks.get(push.worker, 0):
            self._change(push.gradient, push.worker)
            self._clocks[push.worker] = push.clock
            self._version += 1
            if self._version % self._place.keep_every == 0:
                self._keep()
        now = self._weights.detach().clone()
        self._then[push.worker] = now, self._version
        answer: np.ndarray = now.numpy()
        return answer

    def forget(self, worker: int) -> int:
        """Say that `worker` begins anew; the last of its steps that is in the weights."""
        self._then.pop(worker, None)
        return self._clocks.get(worker, 0)

    def version(self) -> int:
        """How often the weights were changed."""
        return self._version

    def state(self) -> dict[str, Any]:
        """All that the next changes depend on."""
        return {
            "weights": self._weights.detach(),
            "rule": self._rule.state(),
            "correction": self._correction.state(),
            "version": self._version,
            "clocks": self._clocks,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned, and keep it."""
        self._take(state)
        self._keep()

    def _take(self, state: dict[str, Any]) -> None:
        import torch

        with torch.no_grad():
            self._weights.copy_(state["weights"])
        self._rule.restore(state["rule"])
        self._correction.restore(state["correction"])
        self._version, self._clocks = state["version"], state["clocks"]

    def _change(self, gradient: np.ndarray, worker: int) -> None:
        import torch

        came = torch.from_numpy(gradient.copy())  # what Ray hands over may not be written to
        if not bool(torch.isfinite(came).all()):
            raise PennyweightError(f"Worker {worker} sent a gradient that is no number.", "lower the learning rate.")
        then, version = self._then.get(worker, (None, self._version))
        with torch.no_grad():
            self._weights.grad = self._correction.apply(came, self._weights, then, self._version - version)
        self._rule.step()

    def _path(self, name: str) -> Path:
        return Path(self._place.folder) / f"shard-{self._place.number}-{name}"

    def _keep(self) -> None:
        try:
            self._write()
        except OSError as error:
            raise PennyweightError(
                f"Shard {self._place.number} of the server cannot keep its state: {error.strerror}.",
                f"free space in {self._place.folder}, or set TMPDIR to a folder that has some.",
            ) from error

    def _write(self) -> None:
        """Write the state into a folder that takes the place of the one before in one step."""
        fresh = self._path(f"{self._version}")
        fresh.mkdir(parents=True, exist_ok=True)
        for name, body in encode(self.state()).items():
            (fresh / name).write_bytes(body)
        link = self._path("next")
        link.unlink(missing_ok=True)
        link.symlink_to(fresh.name)
        before = self._path("kept").resolve() if self._path("kept").exists() else None
        link.replace(self._path("kept"))
        if before is not None and before != fresh:
            for each in before.iterdir():
                each.unlink()
            before.rmdir()

    def _restore(self) -> None:
        kept = self._path("kept")
        with contextlib.suppress(FileNotFoundError):
            self._take(decode({each.name: each.read_bytes() for each in kept.iterdir()}))
