"""The folder of one run: what was asked, its learning curve so far, and the states it can go on from."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from pennyweight.core import (  # ruff: ignore[typing-only-first-party-import] - `from_json` looks them up
    Floor,
    TrainSpec,
)
from pennyweight.errors import BadInputError, UnknownNameError
from pennyweight.store import disk
from pennyweight.store.codec import from_json, to_json
from pennyweight.store.generations import Generations
from pennyweight.training.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pennyweight.core import Job
    from pennyweight.engine import Shop

_ASKED, _CURVE, _STATES, _OUTCOME = "run.json", "curve.jsonl", "states", "outcome.json"
_PLAIN = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Asked:
    """What one run is to do; it stays the same however often the run is cut off and goes on."""

    job: str
    fingerprint: str
    settings: TrainSpec
    floor: Floor
    seed: int
    usd: float | None = None
    wall_s: float | None = None
    cure: bool = False


@final
@dataclass(frozen=True, slots=True)
class Folder:
    """A run's folder, such as ``.pennyweight/runs/mnist-20260101T120000-42``."""

    path: Path

    @classmethod
    def make(cls, asked: Asked, shop: Shop) -> Folder:
        """A new folder for a run, with what was asked in it."""
        root, name = _root(shop), f"{_PLAIN.sub('-', asked.job)}-{shop.session}"
        number = 1
        while (root / name).exists():
            number += 1
            name = f"{_PLAIN.sub('-', asked.job)}-{shop.session}-{number}"
        disk.put(root / name / _ASKED, to_json(asked).encode(), "the run")
        return cls(root / name)

    @classmethod
    def find(cls, name: str, job: Job, shop: Shop) -> Folder:
        """The folder of a run there is; raises `UnknownNameError`, or `BadInputError` for a run of another job."""
        root = _root(shop)
        names = [each.name for each in root.iterdir() if (each / _ASKED).is_file()] if root.is_dir() else []
        if name not in names:
            raise UnknownNameError.of("run", name, names)
        found = cls(root / name)
        if found.asked.fingerprint != job.fingerprint:
            raise BadInputError(
                f"The run {name} trained another model or other data ({found.asked.job}).",
                "give the recipe and the data it was begun with.",
            )
        return found

    @property
    def name(self) -> str:
        """The run's name."""
        return self.path.name

    @property
    def asked(self) -> Asked:
        """What the run is to do."""
        return from_json(Asked, disk.read(self.path, _ASKED, 2**20))

    @property
    def states(self) -> Generations:
        """The last good states, those of the first worker if there are several."""
        return self.states_of(0)

    def states_of(self, worker: int) -> Generations:
        """The last good states of one worker."""
        return Generations(self.path / (f"{_STATES}-{worker}" if worker else _STATES))

    def found(self, worker: int) -> dict[str, bytes] | None:
        """The state that a worker goes on from, None to begin anew.

        It is its own at the step of the first worker's newest; where it has none of that step, the first worker's.
        """
        first = self.states.latest()
        if first is None or not worker:
            return first
        step = step_of(first)
        return next((own for own in self.states_of(worker).sound() if step_of(own) == step), first)

    def end(self, outcome: Outcome) -> None:
        """Keep what came out."""
        disk.put(self.path / _OUTCOME, to_json(outcome).encode(), "the outcome of the run")

    @property
    def outcome(self) -> Outcome:
        """What came out of the last visit."""
        with disk.explained(self.path, "the outcome of the run"):
            return from_json(Outcome, disk.read(self.path, _OUTCOME, 2**24))

    def add(self, step: int, mean: float, se: float) -> None:
        """Add a point to the learning curve."""
        line = json.dumps({"step": step, "mean": mean, "se": se}) + "\n"
        with disk.explained(self.path, "the learning curve"):
            handle = os.open(self.path / _CURVE, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o644)
            try:
                os.write(handle, line.encode())
            finally:
                os.close(handle)

    def curve(self, upto: int) -> dict[int, tuple[float, float]]:
        """The points of the learning curve up to a step; a line that was cut off is left out."""
        found: dict[int, tuple[float, float]] = {}
        path = self.path / _CURVE
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
            try:
                point = json.loads(line)
            except ValueError:
                continue
            if point["step"] <= upto:
                found[point["step"]] = point["mean"], point["se"]
        return found


def step_of(files: Mapping[str, bytes] | None) -> int:
    """The step that a kept state is at; 0 without one."""
    from pennyweight.train.checkpoint import decode

    if files is None:
        return 0
    step: int = decode(files)["state"]["passes"]["step"]
    return step


def _root(shop: Shop) -> Path:
    return shop.ledger.path.parent / "runs"
