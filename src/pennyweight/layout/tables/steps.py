"""What tables of measured training steps share: rows read as cases, learned by kind, answered with an interval."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from pennyweight.cost.learn.nearest import Nearest
from pennyweight.cost.transformer import training_flop
from pennyweight.errors import BadInputError, CorruptError
from pennyweight.layout.tables.standing import widened
from pennyweight.layout.tables.table import Forecast, Learnt, Table
from pennyweight.layout.timing.fitted import Fitted, Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from pennyweight.core.dims import Dims
    from pennyweight.layout.rows import Rows
    from pennyweight.layout.timing.cases import Cases
    from pennyweight.layout.timing.fitted import Recipe

    Floats = NDArray[np.float64]
    Texts = NDArray[np.str_]

STEP = "step_time_s"
_EXPERTS = 2  # the place of experts among coordinates
_OTHER_DEVICE = 0.6  # see bench/stand_ins.py


@dataclass(frozen=True, slots=True)
class Asked:
    """Rows of a table as cases (n), with traits by name (n,) that residuals are alike in, and groups of each split.

    `kind` (n,) says which recipe learns a row; `label` (n,) what to call it; `problem` (n,) why it cannot be asked,
    empty where it can; such rows have a case all the same, of which nothing is made. `standing` (n,) says what stands
    in for a model, a device or a number that is not known, and `off` (n,) how far off that makes it (`widened`).
    """

    cases: Cases
    traits: Mapping[str, NDArray[Any]]
    kind: Texts
    label: Texts
    problem: Texts
    standing: Texts
    off: Floats | float = 0.0

    @property
    def usable(self) -> NDArray[np.bool_]:
        """Which rows (n,) can be asked."""
        return np.asarray(np.char.str_len(self.problem) == 0)

    def take(self, chosen: NDArray[np.bool_]) -> Self:
        """The chosen rows."""
        traits = {name: column[chosen] for name, column in self.traits.items()}
        texts = self.kind[chosen], self.label[chosen], self.problem[chosen], self.standing[chosen]
        off = self.off[chosen] if isinstance(self.off, np.ndarray) else self.off
        return type(self)(self.cases.take(chosen), traits, *texts, off)


@dataclass(frozen=True, slots=True)
class Reading:
    """How a table is read, and the recipe of each kind of its rows."""

    read: Callable[[Rows], Asked]
    recipes: Mapping[str, Recipe]

    def learn(self, rows: Rows, measured_s: Floats, labels: Texts | None = None) -> Steps:
        """Fit every kind that has rows with a measured step (n,); `labels` (n,) are what to call them."""
        asked = self.read(rows)
        known = np.isfinite(measured_s) & asked.usable
        if not known.any():
            raise BadInputError("No row of this table has a measured step.", "give rows with their step time.")
        fitted = {}
        for kind in np.unique(asked.kind[known]).tolist():
            mine = known & (asked.kind == kind)
            of = asked.take(mine)
            fitted[kind] = Fitted.learn(self.recipes[kind], Sample(of.cases, of.traits, measured_s[mine]))
        seen = asked.take(known)
        places, first = np.unique(_coordinates(seen.cases).round(3), axis=0, return_index=True)
        called = seen.label if labels is None else labels[known]
        return Steps(self, fitted, Nearest.of(places, called[first].tolist()))

    def restore(self, body: Mapping[str, Any]) -> Steps:
        """What `Steps.to_dict` wrote."""
        try:
            fitted = {kind: Fitted.restore(self.recipes[kind], each) for kind, each in body["kinds"].items()}
            return Steps(self, fitted, Nearest.from_dict(body["nearest"]))
        except (AttributeError, KeyError, TypeError) as error:
            raise CorruptError(f"This is no fit of a table of steps: {error!r}.", "fit it again.") from error


@dataclass(frozen=True, slots=True)
class Steps(Learnt):
    """What each kind of rows taught, and where rows were measured."""

    reading: Reading
    fitted: Mapping[str, Fitted]
    nearest: Nearest

    def predict(self, rows: Rows) -> Mapping[str, Forecast]:
        """Seconds of each step (n,); NaN where a row cannot be asked, which is then said in `outside`."""
        asked = self.reading.read(rows)
        told = np.full((3, len(rows)), np.nan)
        outside = asked.problem.astype(object)
        usable = asked.usable
        for kind in np.unique(asked.kind[usable]).tolist():
            mine = usable & (asked.kind == kind)
            of = asked.take(mine)
            told[:, mine] = self._of(kind).predict(of.cases, of.traits)
            outside[mine] = self._said(kind, of)
        forecast = Forecast(told[0], told[1], told[2], outside.astype(np.str_))
        return {STEP: widened(forecast, np.where(usable, asked.standing, ""), asked.off)}

    def to_dict(self) -> dict[str, Any]:
        """A JSON-compatible copy."""
        return {
            "kinds": {kind: each.to_dict() for kind, each in self.fitted.items()},
            "nearest": self.nearest.to_dict(),
        }

    def near(self, cases: Cases) -> tuple[str, float]:
        """The measured row nearest to one case, and how far that is as a multiple of what is usual: outside above 1."""
        at, there = _coordinates(cases).reshape(1, -1), self.nearest
        sparse = there.rows[:, _EXPERTS] * there.spread[_EXPERTS] + there.mean[_EXPERTS] > 0.5
        alike = np.flatnonzero(sparse == (at[0, _EXPERTS] > 0.5))  # dense models are no measure of experts
        if len(alike):
            there = replace(there, rows=there.rows[alike], names=tuple(there.names[each] for each in alike.tolist()))
        return there.names[int(there.at(at)[1][0])], float(there.reach(at)[0])

    def _of(self, kind: str) -> Fitted:
        """What a kind taught; of one never measured, what the kind with most rows did."""
        return self.fitted.get(kind) or max(self.fitted.values(), key=lambda each: len(each.process.values))

    def _said(self, kind: str, asked: Asked) -> Texts:
        said = self.nearest.outside(_coordinates(asked.cases))
        return said if kind in self.fitted else np.char.add(f"no row like {kind} was measured; ", said)


class StepTable(Table):
    """A table of measured steps that a `Reading` knows; what was measured is each table's own."""

    targets: ClassVar[Mapping[str, str]] = {STEP: "s"}
    splits: ClassVar[tuple[str, ...]] = ("model",)
    reading: ClassVar[Reading]

    def groups(self, rows: Rows, split: str) -> Texts:
        """The trait (n,) of this name."""
        return np.asarray(self.reading.read(rows).traits[split], dtype=np.str_)

    def learn(self, rows: Rows) -> Learnt:
        """Fit each kind of rows by itself."""
        return self.reading.learn(rows, self.measured(rows)[STEP], self.labels(rows))

    def labels(self, rows: Rows) -> Texts | None:  # ruff: ignore[unused-method-argument] - a table may say more
        """What to call rows (n,) where they are the nearest; None: as they are read."""
        return None

    def restore(self, body: Mapping[str, Any]) -> Learnt:
        """What was kept of a fit."""
        return self.reading.restore(body)


def by_throughput(rows: Rows) -> Mapping[str, Floats]:
    """Seconds per step (n,): tokens of a batch over tokens per second of all GPUs."""
    tokens = rows.number("seq_len") * rows.number("global_batch")
    return {STEP: tokens / (rows.number("tokens_per_s_gpu") * rows.number("n_gpus"))}


def _coordinates(cases: Cases) -> Floats:
    """Where rows (n, d) are: logarithms of the sizes of model, layout, batch and machine."""
    model, layout, machine = cases.model, cases.layout, cases.machine
    sizes = [
        model.layers,
        model.hidden,
        model.experts + 1.0,
        cases.sequence,
        layout.tp,
        layout.pp,
        layout.dp,
        layout.cp,
    ]
    sizes += [layout.ep, layout.micro_batch, cases.global_batch, machine.flop_s]
    shape = cases.shape
    return np.stack([np.broadcast_to(np.log2(each), shape) for each in sizes], axis=1)


def with_mfu(labels: Texts, dims: Sequence[Dims], sequence: Floats, tokens_s: Floats, peak_flop_s: Floats) -> Texts:
    """Labels (n,) with the share of the peak that rows (n,) reached, from the tokens per second (n,) of a device."""
    each = np.array([float(training_flop(d, max(n, 1.0))) / max(n, 1.0) for d, n in zip(dims, sequence, strict=True)])
    share = each * tokens_s / peak_flop_s
    said = [f", {100 * mfu:.0f}% MFU" if 0 < mfu < 1 else "" for mfu in share.tolist()]
    return np.char.add(labels, np.array(said, dtype=np.str_))


def off_of(devices: Texts, near: float | Floats) -> Floats:
    """How far off (n,) rows are beside all else where a device (n,) stands in; otherwise `near`."""
    return np.where(np.char.str_len(devices) > 0, _OTHER_DEVICE, near)


def names(*columns: NDArray[Any]) -> Texts:
    """One name (n,) for the values (n,) of several columns."""
    found = columns[0].astype(np.str_)
    for column in columns[1:]:
        found = np.char.add(np.char.add(found, " "), column.astype(np.str_))
    return found


def recompute_of(texts: Texts) -> Floats:
    """0 none, 1 selective or 2 full, as said in words (n,)."""
    said = np.char.lower(texts)
    return np.where(np.char.startswith(said, "full"), 2.0, np.where(np.char.startswith(said, "selective"), 1.0, 0.0))
