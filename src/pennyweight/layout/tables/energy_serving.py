"""Joules per generated token of language models served by vLLM, watts, time between tokens and tokens per second.

A predictor is told what a user knows beforehand: the model (its parameters, and its dimensions where the catalog has
them), the device, how many, how they are used, how many sequences may run at once (`max_num_seqs`), the precision, the
task and how long its answers are. It is never told measured power, latency, throughput, nor the mean batch that came
about; `measured_batch()` is the same table with that batch as if it were known.

Energy is physics alone (`energy/joules.py`), whose 45 factors are fitted: beside it, nothing that was learned
from the rest brought models never seen closer. Watts and the pace of tokens are learned by likeness, and tokens per
second are watts over joules per token, as they are in every row. Tables of this kind also have rows of images and
videos made by diffusion models: they have no tokens, and are outside.

An interval holds for models never seen; on a device never seen it is wider, as devices that were left out showed.

Rows that contradict others: on B200, some single-device runs (such as Qwen3-14B on gpqa) waited for their host, at
five times the latency of the same model on another task and a third of its watts. They are kept, at their weight in a
fit that is not bent by outliers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np

from pennyweight.cost.learn.conformal import Conformal
from pennyweight.cost.learn.leaving import predict_left_out
from pennyweight.cost.learn.nearest import Nearest
from pennyweight.errors import BadInputError, CorruptError
from pennyweight.layout.energy.abroad import Abroad
from pennyweight.layout.energy.joules import place
from pennyweight.layout.energy.watts import ITL, JOULE, POWER, TARGETS, TOKENS, Watts
from pennyweight.layout.tables.energy_columns import completed, labels, outer, problems, services, standing, tokens
from pennyweight.layout.tables.likeness import nothing, spread_over
from pennyweight.layout.tables.standing import joined, widened
from pennyweight.layout.tables.table import Forecast, Learnt, Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pennyweight.layout.energy.joules import Served
    from pennyweight.layout.rows import Rows

    Numbers = NDArray[np.float64]

_OFF = 0.35  # by how much further off models and devices are that others stand in for: see bench/stand_ins.py
_STRANGE = 1.4  # times as wide on another device, where only one was measured; chosen on the two of the leaderboard
_COLUMNS = {
    JOULE: ("energy_per_token_joules", 1.0),
    POWER: ("avg_power_watts", 1.0),
    ITL: ("median_itl_ms", 1e-3),
    TOKENS: ("output_throughput_tokens_per_sec", 1.0),
}


@dataclass(frozen=True, slots=True)
class Energy(Learnt):
    """The model of watts and joules, the interval of each target, and the rows it was learned from."""

    batch: str
    watts: Watts
    intervals: Mapping[str, Conformal]
    near: Nearest
    abroad: Abroad

    def predict(self, rows: Rows) -> Mapping[str, Forecast]:
        """A forecast (n,) of every target; NaN where a row lacks what a user would know, or makes no tokens."""
        whole, assumed = completed(rows)
        wrong = problems(whole)
        usable = np.char.str_len(wrong) == 0
        if not usable.any():
            return dict.fromkeys(TARGETS, nothing(wrong))
        asked = whole.take(usable)
        told, notes = self.served(services(asked, self.batch)), joined(standing(asked), assumed[usable])
        return {target: spread_over(widened(each, notes, _OFF), usable, wrong) for target, each in told.items()}

    def served(self, asked: Served) -> Mapping[str, Forecast]:
        """A forecast (n,) of every target for services (n,)."""
        at = place(asked)
        scale, outside = self.near.difficulty(self.near.at(at)[0]), self.near.outside(at)
        found = {}
        for target, value in self.watts.predict(asked).items():
            wide = scale * self.abroad.factor(target, _devices(asked))
            found[target] = Forecast(value, *self.intervals[target].interval(value, wide), outside)
        return found

    def to_dict(self) -> dict[str, Any]:
        """A JSON-compatible copy."""
        intervals = {name: each.to_dict() for name, each in self.intervals.items()}
        parts = {name: getattr(self, name).to_dict() for name in ("watts", "near", "abroad")}
        return {"batch": self.batch, "intervals": intervals, **parts}


@final
@dataclass(frozen=True, slots=True)
class EnergyServing(Table):
    """One row per model, task, device and number of sequences, as on the ML.ENERGY leaderboard."""

    batch: str = "max_num_seqs"
    name: ClassVar[str] = "energy_serving"
    columns: ClassVar[frozenset[str]] = frozenset(
        {"task", "model_id", "gpu_model", "num_gpus", "max_num_seqs", "avg_output_len", "energy_per_token_joules"}
    )
    targets: ClassVar[Mapping[str, str]] = TARGETS
    splits: ClassVar[tuple[str, ...]] = ("model", "architecture", "gpu")

    def measured(self, rows: Rows) -> Mapping[str, Numbers]:
        """Each target (n,); NaN for images and videos."""
        made = tokens(rows)
        return {target: np.where(made, rows.number(name) * unit, np.nan) for target, (name, unit) in _COLUMNS.items()}

    def groups(self, rows: Rows, split: str) -> NDArray[np.str_]:
        """The model as published; models of equal size, which share an architecture; or the device."""
        if split == "architecture":
            return np.array([f"{a} of {b}" for a, b in zip(*map(rows.text, _SIZES), strict=True)])
        return rows.text({"model": "model_id", "gpu": "gpu_model"}[split])

    def learn(self, rows: Rows) -> Energy:
        """Fit physics, residuals and intervals; these by leaving out whole models."""
        measured = self.measured(rows)
        whole, assumed = completed(rows)
        usable = (np.char.str_len(problems(whole)) == 0) & np.all([each > 0 for each in measured.values()], axis=0)
        usable &= np.char.str_len(assumed) == 0
        kept = whole.take(usable)
        if not len(kept):
            raise BadInputError("No row says what its tokens took.", "give rows with joules, watts, speed and latency.")
        return _learn(self, kept, {name: each[usable] for name, each in measured.items()})

    def restore(self, body: Mapping[str, Any]) -> Energy:
        """What `to_dict` wrote."""
        try:
            intervals = {name: Conformal.from_dict(body["intervals"][name]) for name in TARGETS}
            watts, near = Watts.from_dict(body["watts"]), Nearest.from_dict(body["near"])
            return Energy(body["batch"], watts, intervals, near, Abroad.from_dict(body["abroad"]))
        except (KeyError, TypeError) as error:
            raise CorruptError(f"This is no model of serving energy: {error!r}.", "fit it again.") from error


_SIZES = ("activated_params_billions", "total_params_billions")
TABLE = EnergyServing()


def measured_batch() -> EnergyServing:
    """The table with the mean batch that was measured as if it were known beforehand."""
    return EnergyServing("avg_batch_size")


def _learn(table: EnergyServing, rows: Rows, measured: Mapping[str, Numbers]) -> Energy:
    served, models = services(rows, table.batch), rows.text("model_id")
    if len(np.unique(models)) < 2:
        raise BadInputError("All rows are of one model.", "give rows of two models or more: intervals need others.")
    kept, at = outer(rows), place(served)
    near = Nearest.of(at[kept], labels(rows.take(kept)).tolist(), models[kept])
    scale = near.difficulty(_apart(near, at, models, models[kept]))
    errors = _left_out(served, measured, models)
    intervals = {name: Conformal.of(errors[name], models, scale) for name in TARGETS}
    devices = _devices(served)
    strange = dict.fromkeys(TARGETS, _STRANGE)
    abroad = Abroad(tuple(np.unique(devices).tolist()), strange)
    if len(abroad.known) > 1:
        scale = near.difficulty(_apart(near, at, devices, devices[kept]))
        errors = _left_out(served, measured, devices)
        abroad = Abroad.of(devices, {name: (errors[name], scale) for name in TARGETS}, intervals, 1.0)
    return Energy(table.batch, Watts.fit(served, measured), intervals, near, abroad)


def _apart(near: Nearest, at: Numbers, groups: NDArray[np.str_], kept: NDArray[np.str_]) -> Numbers:
    """Distance (n,) of places (n, d) to the nearest kept row (k,) of another group."""
    found = np.empty(len(at))
    for group in np.unique(groups):
        others = kept != group
        names = tuple(np.array(near.names)[others].tolist())
        found[groups == group] = replace(near, rows=near.rows[others], names=names).at(at[groups == group])[0]
    return found


def _devices(served: Served) -> NDArray[np.str_]:
    """What stands for the kind of device (n,): its watts."""
    return np.array([f"{each:.0f} W" for each in served.busy_w], dtype=np.str_)


def _left_out(served: Served, measured: Mapping[str, Numbers], groups: NDArray[np.str_]) -> dict[str, Numbers]:
    """The log(measured / predicted) (n,) of every target where the row's group was left out."""
    told = {name: np.full(len(groups), np.nan) for name in TARGETS}

    def predict(learned: NDArray[np.bool_], asked: NDArray[np.bool_]) -> Numbers:
        fitted = Watts.fit(served.take(learned), {name: each[learned] for name, each in measured.items()})
        for name, values in fitted.predict(served.take(asked)).items():
            told[name][asked] = values
        return told[JOULE][asked]

    predict_left_out(predict, groups)
    return {name: np.log(measured[name] / told[name]) for name in TARGETS}
