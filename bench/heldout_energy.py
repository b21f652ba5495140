"""Errors of energy: of served models and devices never seen, and of networks never seen under a power limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.heldout import Line, held_out, line_of, lines, report
from pennyweight.layout.rows import Rows
from pennyweight.layout.tables import energy_serving, power_limit

if TYPE_CHECKING:
    from pathlib import Path

_DEVICES = {"a40": "a40", "p100": "p100", "rtx6000": "quadro-rtx-6000", "v100": "v100-16gb"}
_WANTED = {("model", "joule_token"): 0.10}


def results(data: Path) -> list[Line]:
    """Lines of all tables; the last serving lines are of a predictor that was told the mean batch that came about."""
    served = Rows.read(data / "energy" / "serving_energy_mlenergy_v3.csv")
    served = served.take(served.number("energy_per_token_joules") > 0)
    found = lines(energy_serving.TABLE, served, _WANTED)
    told = energy_serving.measured_batch()
    more = held_out(told, served, "model")
    found += [line_of((f"{told.name}, batch told", name, "model"), each, None) for name, each in more.items()]
    return [*found, *lines(power_limit.TABLE, power_limits(data), {})]


def power_limits(data: Path) -> Rows:
    """The rows of all devices, each with the name of its device."""
    files = {name: Rows.read(data / "energy" / f"summary_power_{name}.csv") for name in _DEVICES}
    columns = {name: np.concatenate([each.columns[name] for each in files.values()]) for name in files["a40"].columns}
    columns["gpu"] = np.concatenate([np.full(len(each), _DEVICES[name]) for name, each in files.items()])
    return Rows(columns, np.concatenate([each.lines for each in files.values()]))


if __name__ == "__main__":
    report(results)
