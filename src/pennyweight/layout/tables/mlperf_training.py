"""MLPerf training results: seconds per step and to the quality wanted, by benchmark, system and number of accelerators.

The step is what accelerators at their peak would need, times a factor learned by likeness of rows (`likeness.py`):
which benchmark, which accelerator and maker, how many of them, how many samples each has per step.

Where a row does not state its step, it is the global batch over the throughput. Older logs of RetinaNet state the
throughput of one accelerator; such a row is known by its time to train, in which the throughput stated would have seen
about 4.2 million images too few. Rows that state neither, or that name an accelerator the catalog does not have, have
no measured step; a run that did not succeed has no time to train.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np

from pennyweight.cost.learn.conformal import Conformal
from pennyweight.cost.learn.process import Part
from pennyweight.cost.learn.strangers import Strangeness
from pennyweight.errors import CorruptError
from pennyweight.layout.tables.accelerators import stood_in
from pennyweight.layout.tables.likeness import Likeness, Settings, nothing, spread_over
from pennyweight.layout.tables.mlperf_columns import (
    alike,
    derived_step,
    families,
    ideal_s,
    labels,
    problems_of,
    systems,
)
from pennyweight.layout.tables.standing import joined, widened
from pennyweight.layout.tables.table import Forecast, Learnt, Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pennyweight.layout.rows import Rows

    Numbers = NDArray[np.float64]

STEP, TRAIN = "step_time_s", "time_to_train_s"
_CHIP = {"peak": 1.4, "hbm": 1.4}
_OFF = 0.4  # how far off, roughly, benchmarks never measured are; other devices: 0.12 (bench/stand_ins.py)
_STRANGE = Strangeness("accelerator", (Part(1.0), Part(1.0, ("vendor",)), Part(0.5, near={"peak": 0.7, "hbm": 0.7})))
# Chosen by the error on systems, machine families and accelerators left out; all are flat around these values.
_STEPS = Settings(
    parts=(
        Part(3.0),
        Part(1.0, ("kind",)),
        Part(0.15, ("benchmark",)),
        Part(0.15, line="peak", origin=35.0),
        Part(0.1, ("vendor",), _CHIP),
        Part(0.05, ("accelerator",)),
        Part(0.2, ("kind", "vendor"), _CHIP),
        Part(0.05, ("benchmark", "accelerator")),
        Part(0.2, line="many"),
        Part(0.05, ("kind",), line="many"),
        Part(0.015, line="beyond"),
        Part(0.05, line="work"),
        Part(0.2, ("kind",), line="work"),
        Part(0.01, near={"many": 1.0, "work": 1.0}),
        Part(0.05, ("benchmark",), {"many": 1.0, "work": 1.0}),
        Part(0.01, ("system",)),
        Part(0.02, ("family",)),
        Part(0.02, ("system", "benchmark")),
    ),
    noise=0.025,
    spread=0.003,
    named=("benchmark", "accelerator"),
    group="system",
    strange=_STRANGE,
)
_SAMPLES = Settings(
    parts=(
        Part(10.0),
        Part(5.0, ("benchmark",)),
        Part(0.2, line="batch", origin=6.0),
        Part(0.2, ("benchmark",), line="batch", origin=6.0),
        Part(0.1, ("benchmark",), line="count", origin=2.0),
        Part(0.03, ("vendor", "benchmark")),
        Part(0.02, ("system",)),
    ),
    noise=0.04,
    spread=0.07,
    named=("benchmark",),
    group="system",
)


@dataclass(frozen=True, slots=True)
class Results(Learnt):
    """Likeness of steps, and of how many samples' time a run takes until its quality; `total` is of their product."""

    step: Likeness
    samples: Likeness
    total: Conformal

    def predict(self, rows: Rows) -> Mapping[str, Forecast]:
        """Steps and times to train (n,); NaN where accelerators or batch are not known."""
        problems = problems_of(rows)
        usable = np.char.str_len(problems) == 0
        if not usable.any():
            return dict.fromkeys((STEP, TRAIN), nothing(problems))
        told, notes = self._forecasts(rows.take(usable)), stood_in(rows.text("accelerator"), problems)[usable]
        new = ~np.isin(rows.text("benchmark")[usable], self.step.process.columns["benchmark"])
        notes = joined(notes, np.where(new, "its FLOP were never compared with a run", ""))
        return {target: spread_over(widened(each, notes, _OFF), usable, problems) for target, each in told.items()}

    def _forecasts(self, rows: Rows) -> Mapping[str, Forecast]:
        columns, ideal = alike(rows), ideal_s(rows)
        mean, sd = self.step.at(columns)
        step, outside = ideal * np.exp(mean), self.step.outside(columns)
        more, more_sd = self.samples.at(columns)
        train = step * np.exp(more) / rows.number("global_batch_size")
        return {
            STEP: Forecast(step, *self.step.ends(step, sd, columns), outside),
            TRAIN: Forecast(train, *self.total.interval(train, np.hypot(sd, more_sd)), outside),
        }

    def to_dict(self) -> dict[str, Any]:
        """A JSON-compatible copy."""
        return {"step": self.step.to_dict(), "samples": self.samples.to_dict(), "total": self.total.to_dict()}


@final
class MlperfTraining(Table):
    """One row per run of a benchmark on a system, as collected from the results of a round."""

    name: ClassVar[str] = "mlperf_training"
    columns: ClassVar[frozenset[str]] = frozenset(
        {"benchmark", "submission_platform", "accelerator", "n_accel", "global_batch_size", "time_to_train_s"}
    )
    targets: ClassVar[Mapping[str, str]] = {STEP: "s", TRAIN: "s"}
    splits: ClassVar[tuple[str, ...]] = ("system", "family", "accelerator")

    def measured(self, rows: Rows) -> Mapping[str, Numbers]:
        """Steps and times to train (n,) as the module says."""
        stated = rows.number("train_step_time_median_s")
        step = np.where(np.isfinite(stated), stated, derived_step(rows))
        ended = rows.text("status") == "success" if "status" in rows.columns else np.ones(len(rows), dtype=np.bool_)
        return {STEP: step, TRAIN: np.where(ended, rows.number("time_to_train_s"), np.nan)}

    def groups(self, rows: Rows, split: str) -> NDArray[np.str_]:
        """Each system of each organisation; or its family, which is all sizes and software of a machine; or the chip.

        The same hardware sold by several is several systems.
        """
        if split == "accelerator":
            return rows.text("accelerator")
        return systems(rows) if split == "system" else families(rows)

    def learn(self, rows: Rows) -> Results:
        """Learn likeness from the rows that state a step."""
        measured = self.measured(rows)
        usable = (np.char.str_len(problems_of(rows)) == 0) & (measured[STEP] > 0)
        return _learn(rows.take(usable), measured[STEP][usable], measured[TRAIN][usable])

    def restore(self, body: Mapping[str, Any]) -> Results:
        """What `to_dict` wrote."""
        try:
            step, samples = body["step"], body["samples"]
            total = Conformal.from_dict(body["total"])
        except (KeyError, TypeError) as error:
            raise CorruptError(f"These are no MLPerf training results: {error!r}.", "fit them again.") from error
        return Results(Likeness.restore(_STEPS, step), Likeness.restore(_SAMPLES, samples), total)


TABLE = MlperfTraining()


def _learn(rows: Rows, step: Numbers, train: Numbers) -> Results:
    columns, names = alike(rows), labels(rows)
    logs = np.log(step / ideal_s(rows))
    steps = Likeness.of(_STEPS, columns, logs, names)
    ended = np.isfinite(train)
    told = {name: each[ended] for name, each in columns.items()}
    seen = np.log(train * rows.number("global_batch_size") / step)[ended]
    samples = Likeness.of(_SAMPLES, told, seen, names[ended])
    off, sd = steps.errors(columns, logs)
    more, more_sd = samples.errors(told, seen)
    return Results(steps, samples, Conformal.of(off[ended] + more, told["system"], np.hypot(sd[ended], more_sd)))
