"""Measured serving of whole deployments: seconds to the first token and per token, by engine, system and layout.

One row is one benchmark of a closed loop of users: engine, model, system, precision, degrees of parallelism, lengths of
prompt and answer. Rows without the numbers of workers of a disaggregated deployment are incomplete; rows that give all
its devices as tensor parallelism, or that imply more FLOP/s than large products alone reach on the device in practice
(prompts that were cached), are contradictory. Both are answered as well as can be, and not scored.

Physics with multipliers drawn to measured kernels answers for models never seen; what a stack measured otherwise is
added for the same stack alone, because held-out models showed that it does not carry over to others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from pennyweight.cost.learn.conformal import Conformal
from pennyweight.cost.learn.nearest import Nearest
from pennyweight.cost.learn.process import Process
from pennyweight.cost.transformer import forward_flop
from pennyweight.errors import BadInputError, CorruptError
from pennyweight.layout.serving.passes import experts_hit, weight_byte, weights_of
from pennyweight.layout.tables.serving_columns import Read, read
from pennyweight.layout.tables.serving_learning import Physics, balanced, likely
from pennyweight.layout.tables.serving_likeness import (
    NOISE,
    PARTS,
    columns_of,
    coordinates_of,
    least_off,
    nearest_of,
    own_moves,
    own_process,
    points_of,
    scale_of,
    stacks_body,
    stacks_of,
)
from pennyweight.layout.tables.serving_models import family_of
from pennyweight.layout.tables.standing import widened
from pennyweight.layout.tables.table import Forecast, Learnt, Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pennyweight.layout.rows import Rows

    Floats = NDArray[np.float64]
    Columns = dict[str, NDArray[Any]]

TARGETS = ("tpot_s", "ttft_s")
_MEASURED = {"tpot_s": "silicon_tpot_ms", "ttft_s": "silicon_ttft_ms"}
_MOST_SHARE = 0.42  # of the peak: no whole deployment of ours that is not contradictory reached 0.39
_MOST_READ = 0.9  # of the bandwidth goes to weights at most
_MOST_DRAFTS = 3.0
_OFF = {"tpot_s": 0.6, "ttft_s": 0.9}  # by how much further off models and devices are that others stand in for
_WORTH = 0.03  # of the error is what moving the median must save


@dataclass(frozen=True, slots=True)
class ServingLearnt(Learnt):
    """Physics, what each stack measured otherwise, and how far off models never seen were.

    `shift` moves the median to where the mean relative error is least; `own` are the user's rows, if there are any.
    """

    physics: Physics
    stacks: Mapping[str, Process]
    shift: Mapping[str, float]
    interval: Mapping[str, Conformal]
    nearest: Nearest
    own: Mapping[str, Process]
    own_interval: Mapping[str, Conformal]

    def predict(self, rows: Rows) -> Mapping[str, Forecast]:
        """A forecast of every target; NaN, and `outside` the reason, where a row could not be read."""
        known = read(rows)
        modes, columns = self.physics.modes(known), columns_of(known)
        notes, standing = known.why.astype(object), np.full(len(rows), "", dtype=object)
        outside = self.nearest.outside(coordinates_of(known))
        notes[known.at] = np.where(known.complete, outside, known.why[known.at])
        standing[known.at] = known.standing
        said, standing = notes.astype(np.str_), standing.astype(np.str_)
        found = {}
        for which, target in enumerate(TARGETS):
            value = likely(modes, which) * np.exp(self.shift[target])
            ends = self._moved(target, value, columns, scale_of(known, modes[2]))
            value, low, high = (_spread_out(each, known.at, len(rows)) for each in ends)
            found[target] = widened(Forecast(value, low, high, said), standing, _OFF[target])
        return found

    def _moved(self, target: str, value: Floats, columns: Columns, scale: Floats) -> tuple[Floats, Floats, Floats]:
        """What physics says (m,), moved by what its stack and one's own rows measured otherwise, and its interval."""
        moved, _ = self.stacks[target].at(columns)
        value, interval = value * np.exp(moved), self.interval[target]
        if self.own:
            moved, scale = own_moves(self.own[target], columns, target)
            value, interval = value * np.exp(moved), self.own_interval[target]
        return value, *interval.interval(value, scale)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-compatible copy; rows of a user's own are not in it."""
        return {
            "physics": self.physics.to_dict(),
            "stacks": stacks_body(self.stacks),
            "shift": {target: round(each, 6) for target, each in self.shift.items()},
            "interval": {target: each.to_dict() for target, each in self.interval.items()},
            "nearest": self.nearest.to_dict(),
        }


class ServingTable(Table):
    """Silicon measurements beside AIConfigurator's predictions; these are never read."""

    name: ClassVar[str] = "serving"
    columns: ClassVar[frozenset[str]] = frozenset({"silicon_ttft_ms", "silicon_tpot_ms", "backend", "moe_quant_mode"})
    targets: ClassVar[Mapping[str, str]] = {"tpot_s": "s", "ttft_s": "s"}
    splits: ClassVar[tuple[str, ...]] = ("model", "framework", "system")

    def measured(self, rows: Rows) -> Mapping[str, Floats]:
        """Seconds per token and to the first (n,); NaN where a row is incomplete or contradictory."""
        known = read(rows)
        found = {target: rows.number(column) / 1e3 for target, column in _MEASURED.items()}
        good = np.zeros(len(rows), dtype=np.bool_)
        good[known.at] = known.complete & _possible(known, *(found[target][known.at] for target in TARGETS))
        return {target: np.where(good, each, np.nan) for target, each in found.items()}

    def groups(self, rows: Rows, split: str) -> NDArray[np.str_]:
        """The family of models of equal dimensions, the engine, or the system of each row (n,)."""
        named = {"framework": "backend", "system": "system"}
        if split == "model":
            return np.array([family_of(str(path)) for path in rows.text("model_path")])
        if split not in named:
            raise BadInputError(f"Serving has no split {split!r}.", f"use one of: {', '.join(self.splits)}.")
        return rows.text(named[split])

    def learn(self, rows: Rows) -> ServingLearnt:
        """Fit physics, stacks and intervals; the intervals on families left out."""
        known, measured = self.complete(rows)
        physics = Physics.fit(known, measured["tpot_s"], measured["ttft_s"])
        errors, scale = self._left_out(known, measured)
        shift = {target: _best_shift(each, balanced(known.family)) for target, each in errors.items()}
        # Few stacks stall at the first token: counted one by one, they would widen what is said of all.
        alike = {"tpot_s": columns_of(known)["stack"], "ttft_s": known.family}
        interval = {name: Conformal.of(each - shift[name], alike[name], scale) for name, each in errors.items()}
        modes = physics.modes(known)
        stacks = {}
        for which, target in enumerate(TARGETS):
            error = np.log(measured[target] / likely(modes, which)) - shift[target]
            stacks[target] = Process(PARTS[target], NOISE[target], *points_of(known, error, target))
        return ServingLearnt(physics, stacks, shift, interval, nearest_of(known), {}, {})

    def restore(self, body: Mapping[str, Any]) -> ServingLearnt:
        """What `to_dict` wrote."""
        try:
            return ServingLearnt(
                physics=Physics.restore(body["physics"]),
                stacks=stacks_of(body["stacks"]),
                shift={target: float(body["shift"][target]) for target in TARGETS},
                interval={target: Conformal.from_dict(body["interval"][target]) for target in TARGETS},
                nearest=Nearest.from_dict(body["nearest"]),
                own={},
                own_interval={},
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptError(f"This is not what serving taught: {error!r}.", "fit it again.") from error

    def complete(self, rows: Rows) -> tuple[Read, dict[str, Floats]]:
        """Rows that can be learned from, each measurement once, and what was measured."""
        measured = self.measured(rows)
        good = np.isfinite(measured["tpot_s"]) & np.isfinite(measured["ttft_s"])
        keys = [f"{each:.4g}|{other:.4g}" for each, other in zip(measured["tpot_s"], measured["ttft_s"], strict=True)]
        _, first = np.unique(keys, return_index=True)
        once = np.zeros(len(rows), dtype=np.bool_)
        once[first] = True
        chosen = np.flatnonzero(good & once)
        if not len(chosen):
            raise BadInputError("No row of this table is complete.", "give rows with batch, concurrency and workers.")
        return read(rows.take(chosen)), {target: each[chosen] for target, each in measured.items()}

    def _left_out(self, known: Read, measured: dict[str, Floats]) -> tuple[dict[str, Floats], Floats]:
        """Errors (n,) of logarithms on families left out, and how hard each row is."""
        errors = {target: np.zeros(len(known.at)) for target in TARGETS}
        scale = np.ones(len(known.at))
        for family in np.unique(known.family):
            inside = known.family == family
            others = ~inside if not inside.all() else inside
            physics = Physics.fit(known.take(others), *(measured[target][others] for target in TARGETS))
            asked = known.take(inside)
            modes = physics.modes(asked)
            scale[inside] = scale_of(asked, modes[2])
            for which, target in enumerate(TARGETS):
                errors[target][inside] = np.log(measured[target][inside] / likely(modes, which))
        return errors, scale


TABLE = ServingTable()


def calibrated(learnt: ServingLearnt, rows: Rows) -> ServingLearnt:
    """The same, moved by 1 to 20 rows of one's own stack: how they were off tells how others of it will be.

    Whether releases of the stack draft ahead is taken from these rows alone; what is left is a Gaussian process over
    users, devices and prompts.
    """
    known, measured = TABLE.complete(rows)
    physics = learnt.physics.told(known, measured["tpot_s"])
    modes, columns = physics.modes(known), columns_of(known)
    own, interval = {}, {}
    for which, target in enumerate(TARGETS):
        moved, _ = learnt.stacks[target].at(columns)
        error = np.log(measured[target] / likely(modes, which)) - learnt.shift[target] - moved
        own[target], interval[target] = own_process(columns, error, target)
    return replace(learnt, physics=physics, own=own, own_interval=interval)


def _possible(known: Read, tpot_s: Floats, ttft_s: Floats) -> NDArray[np.bool_]:
    """Which rows (n,) a device can do: in FLOP/s, in bytes of weights its batch reads per step, and in memory."""
    fleet = known.fleet
    first = fleet.apart * fleet.p_workers * fleet.p_tp * fleet.p_pp * fleet.p_adp
    devices = fleet.workers * fleet.tp * fleet.pp * fleet.adp + first
    prompts = forward_flop(fleet.model, fleet.prompt * (1 - fleet.prefix_hit), fleet.prompt).layers
    answers = fleet.output * forward_flop(fleet.model, 1.0, fleet.prompt + fleet.output / 2).layers
    answer_s = fleet.output * tpot_s
    done = fleet.concurrency / (ttft_s + answer_s) * (prompts + answers) / devices
    held, running = weights_of(fleet), fleet.batch * answer_s / (ttft_s + answer_s)
    read_byte = held.shared * fleet.gemm_byte + held.experts * fleet.moe_byte * experts_hit(fleet, running * fleet.adp)
    made = np.where(known.drafts == 0, 1.0, 1 + _MOST_DRAFTS)
    fast = tpot_s * made * fleet.hbm_byte_s * fleet.pp < _MOST_READ * read_byte
    slow = done < _MOST_SHARE * np.maximum(fleet.gemm_flop_s, fleet.moe_flop_s)
    return np.asarray(slow & ~fast & (weight_byte(fleet) < fleet.memory_byte))


def _best_shift(errors: Floats, weight: Floats) -> float:
    """How far to move logarithms for the least mean relative error |predicted / measured - 1|, rows weighed (n,).

    A move that gains next to nothing on families left out is by chance, and not made.
    """
    best = least_off(errors, weight)
    off = [np.average(np.abs(np.exp(moved - errors) - 1), weights=weight) for moved in (best, 0.0)]
    return best if off[0] < (1 - _WORTH) * off[1] else 0.0


def _spread_out(values: Floats, at: NDArray[np.int64], rows: int) -> Floats:
    found = np.full(rows, np.nan)
    found[at] = values
    return found
