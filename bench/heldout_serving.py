"""Seconds to the first token and per token of whole deployments: errors on models, engines and systems never seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.heldout import HeldOut, Line, folds_of, held_out, line_of, report
from pennyweight.layout.rows import Rows
from pennyweight.layout.tables.serving import TABLE, calibrated
from pennyweight.layout.tables.serving_columns import read
from pennyweight.layout.tables.serving_likeness import columns_of, worth_measuring

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from pennyweight.layout.tables.serving import ServingLearnt

_WANTED = {"tpot_s": 0.15, "ttft_s": 0.25}
_WANTED_OWN = {"tpot_s": 0.08, "ttft_s": 0.15}
_OTHER = {"tpot_s": "pred_tpot_ms", "ttft_s": "pred_ttft_ms"}
_OWN_ROWS = 10
_LEAST_ROWS = 15  # a stack of fewer rows leaves too little to score


def results(data: Path) -> list[Line]:
    """Each split, then 10 rows of one's own stack of a model never seen, then AIConfigurator 0.12 on the same rows."""
    rows = Rows.read(data / "serving" / "serving_silicon_with_aic0120_predictions.csv")
    found = [
        line_of((TABLE.name, target, split), out, _WANTED[target] if split == "model" else None)
        for split in TABLE.splits
        for target, out in held_out(TABLE, rows, split).items()
    ]
    one, mixed = after_own_rows(rows)
    for name, own in (("10 own rows", one), ("10 of any version", mixed)):
        found += [line_of((TABLE.name, target, name), out, _WANTED_OWN[target]) for target, out in own.items()]
    others = _aiconfigurator(rows)
    found += [line_of(("aiconfigurator", target, "nothing"), out, None) for target, out in others.items()]
    again = {target: _only(out, np.isfinite(one[target].value)) for target, out in others.items()}
    return found + [line_of(("aiconfigurator", target, "10 own rows"), out, None) for target, out in again.items()]


def after_own_rows(rows: Rows) -> tuple[dict[str, HeldOut], dict[str, HeldOut]]:
    """Learn from other models, calibrate on 10 rows of one stack of this one, predict what it measured besides.

    A stack is a model with its engine, system and precision, disaggregated or not: of one version of the engine, and
    secondly of all versions that were measured. The 10 rows are those that `worth_measuring` names before anything was
    measured. A measurement that is in the table twice counts once.
    """
    measured = TABLE.measured(rows)
    stack, once = _stacks(rows), _once(measured)
    told = [{target: np.full((3, len(rows)), np.nan) for target in measured} for _ in stack]
    for inside in folds_of(TABLE.groups(rows, "model"), 10):
        learnt = TABLE.learn(rows.take(~inside))
        for names, found in zip(stack, told, strict=True):
            for name in np.unique(names[inside & once]):
                at = np.flatnonzero(inside & once & (names == name))
                if len(at) >= _LEAST_ROWS:
                    _predict_rest(learnt, rows, at, found)
    one, mixed = ({target: _told(measured[target], each) for target, each in found.items()} for found in told)
    return one, mixed


def _told(measured: NDArray[np.float64], found: NDArray[np.float64]) -> HeldOut:
    return HeldOut(np.where(np.isfinite(found[0]), measured, np.nan), found[0], found[1], found[2], 0.0)


def _predict_rest(
    learnt: ServingLearnt, rows: Rows, at: NDArray[np.int64], found: dict[str, NDArray[np.float64]]
) -> None:
    chosen = worth_measuring(read(rows.take(at)), _OWN_ROWS)
    rest = np.delete(at, chosen)
    for target, forecast in calibrated(learnt, rows.take(at[chosen])).predict(rows.take(rest)).items():
        found[target][:, rest] = forecast.value, forecast.low, forecast.high


def _stacks(rows: Rows) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
    """The stack (n,) of each row, with and without the version of its engine."""
    known = read(rows)
    columns = columns_of(known)
    mixed = np.full(len(rows), "", dtype="<U240")
    mixed[known.at] = columns["stack"]
    one = mixed.copy()
    one[known.at] = np.char.add(np.char.add(columns["stack"], "|"), columns["release"])
    return one, mixed


def _once(measured: dict[str, NDArray[np.float64]]) -> NDArray[np.bool_]:
    """One row of each measurement that is complete."""
    keys = np.array([f"{a:.4g}|{b:.4g}" for a, b in zip(measured["tpot_s"], measured["ttft_s"], strict=True)])
    good = np.isfinite(measured["tpot_s"]) & np.isfinite(measured["ttft_s"])
    _, first = np.unique(keys, return_index=True)
    found = np.zeros(len(keys), dtype=np.bool_)
    found[first] = True
    return found & good


def _aiconfigurator(rows: Rows) -> dict[str, HeldOut]:
    """What the table says AIConfigurator 0.12 predicted, without an interval."""
    found = {}
    for target, measured in TABLE.measured(rows).items():
        value = rows.number(_OTHER[target]) / 1e3
        found[target] = HeldOut(measured, value, value, value, 0.0)
    return found


def _only(out: HeldOut, chosen: NDArray[np.bool_]) -> HeldOut:
    return HeldOut(np.where(chosen, out.measured, np.nan), out.value, out.low, out.high, out.seconds_row)


if __name__ == "__main__":
    report(results)
