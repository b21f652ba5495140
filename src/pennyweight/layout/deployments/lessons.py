"""What measured deployments say of those that are planned: published ones, and those of one's own where they speak."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np

from pennyweight.catalog.accelerators import accelerator
from pennyweight.errors import UnknownNameError
from pennyweight.layout.deployments.rows import rows_of
from pennyweight.layout.tables.finding import shipped
from pennyweight.layout.tables.serving_columns import read

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pennyweight.layout.rows import Rows
    from pennyweight.layout.scoring.calibrating import Calibration
    from pennyweight.layout.serving.fleet import Serving
    from pennyweight.layout.tables.serving import ServingLearnt
    from pennyweight.layout.tables.table import Forecast

    Floats = NDArray[np.float64]

TARGETS = ("tpot_s", "ttft_s")
_NAMES = {"own_serving": ("engine", "accelerator"), "serving": ("backend", "system")}


@dataclass(frozen=True, slots=True)
class Lessons:
    """What published deployments taught; `own`, moved by rows of one's own, speaks of engines on accelerators of these.

    `said` is how many rows of which file there are.
    """

    published: ServingLearnt
    own: ServingLearnt | None = None
    pairs: frozenset[tuple[str, str]] = frozenset()
    said: str = ""

    @classmethod
    def of(cls, calibration: Calibration | None = None) -> Self:
        """As it ships, or moved by what a calibration has of served requests."""
        published = cast("ServingLearnt", shipped("serving"))
        kinds = calibration.kinds if calibration is not None else {}
        kind = next((name for name in _NAMES if name in kinds and kinds[name].rows is not None), None)
        if calibration is None or kind is None:
            return cls(published)
        taught, learnt = kinds[kind], cast("Any", calibration.learnt(kind))
        rows = cast("Rows", taught.rows)
        said = f"{len(rows)} served rows of your own ({taught.source})"
        return cls(published, learnt.learnt if kind == "own_serving" else learnt, _pairs(rows, *_NAMES[kind]), said)

    def mine(self, cases: Sequence[Serving]) -> NDArray[np.bool_]:
        """Of which cases (n,) rows of one's own speak."""
        return np.array([(case.engine, case.accelerator.name) in self.pairs for case in cases], dtype=np.bool_)

    def forecasts(self, cases: Sequence[Serving]) -> Mapping[str, Forecast]:
        """What measured deployments say (n,) of these under a closed loop of as many users, with 90% intervals."""
        rows, mine = rows_of(cases), self.mine(cases)
        found = self.published.predict(rows)
        if self.own is None or not mine.any():
            return found
        moved = self.own.predict(rows)
        return {name: _chosen(mine, moved[name], found[name]) for name in TARGETS}

    def factors(self, cases: Sequence[Serving]) -> tuple[Floats, Floats]:
        """By which factors (n,) measured deployments differ from physics, per token and to the first."""
        told, known = self.forecasts(cases), read(rows_of(cases))
        physics = self.published.physics.seconds(known.fleet, known.cold)
        per_token, first = (told[name].value / each for name, each in zip(TARGETS, physics, strict=True))
        return per_token, first


def _chosen(mine: NDArray[np.bool_], one: Forecast, other: Forecast) -> Forecast:
    value, low, high, outside = (
        np.where(mine, getattr(one, name), getattr(other, name)) for name in ("value", "low", "high", "outside")
    )
    return replace(one, value=value, low=low, high=high, outside=outside)


def _pairs(rows: Rows, engine: str, device: str) -> frozenset[tuple[str, str]]:
    found = set()
    for name, system in zip(rows.text(engine).tolist(), rows.text(device).tolist(), strict=True):
        try:
            found.add((name.lower(), accelerator(system).name))
        except UnknownNameError:
            continue
    return frozenset(found)
