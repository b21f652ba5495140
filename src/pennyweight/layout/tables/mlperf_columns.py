"""The columns by which rows of MLPerf training results are alike, and the step that is ideal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from pennyweight.layout.tables.accelerators import named, unknown
from pennyweight.layout.tables.mlperf_work import RETINANET_SAMPLES, work_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pennyweight.cost.learn.process import Columns
    from pennyweight.layout.rows import Rows

    Numbers = NDArray[np.float64]

_LONG_S = 0.5  # an ideal step longer than this hides what accelerators cost each other
_NODE = 8.0
_SIZES = r"^\d+x(?=[A-Z])|[_-](n|N|ngpu)\d+\b|_\d+$|-\d+node$|_n\d+(?=_)|_ngpu\d+(?=_)"
_SOFTWARE = r"_ngc[\d.]+|_\d+\.\d+$|_(pytorch|nemo|dgl|hugectr)(?=_|$)"


def ideal_s(rows: Rows) -> Numbers:
    """Seconds (n,) that one step would take if all accelerators computed at their peak in 16 bits."""
    flop = np.array([work_of(str(each)).flop for each in rows.text("benchmark")])
    peak = np.array([named(str(each)).peak("fp16") for each in rows.text("accelerator")])
    return np.asarray(flop * rows.number("global_batch_size") / (rows.number("n_accel") * peak), dtype=np.float64)


def problems_of(rows: Rows) -> NDArray[np.str_]:
    """Why rows (n,) cannot be counted; nothing where they can."""
    problems = unknown(rows.text("accelerator")).astype(object)
    stated = rows.number("n_accel") * rows.number("global_batch_size") > 0
    problems[~stated] = "The number of accelerators, or the global batch, is not stated."
    return problems.astype(np.str_)


def systems(rows: Rows) -> NDArray[np.str_]:
    """Whose system (n,) each row is: an organisation and its name for it."""
    return np.char.add(np.char.add(rows.text("org"), " "), rows.text("system"))


def families(rows: Rows) -> NDArray[np.str_]:
    """The machine (n,) of each row, whatever number of them and whatever software: what such words say is taken out."""
    bare = [re.sub(_SIZES, "", re.sub(_SOFTWARE, "", str(name))) for name in rows.text("system")]
    return np.char.add(np.char.add(rows.text("org"), " "), np.array(bare, dtype=np.str_))


def alike(rows: Rows) -> Columns:
    """Names and numbers (n,) by which rows are alike.

    What accelerators cost each other, and a step too short to fill them, matter less the longer a step is: `many` and
    `beyond` are logarithms of the number of accelerators, over eight and over those of a fast domain, times the share
    that half a second is of the ideal step, where that is longer; `work` is the logarithm of the ideal step, no
    longer than that.
    """
    chips = [named(str(each)) for each in rows.text("accelerator")]
    count, batch = rows.number("n_accel"), rows.number("global_batch_size")
    domain = np.array([each.fast_devices for each in chips])
    short = np.minimum(ideal_s(rows), _LONG_S)
    share = short / ideal_s(rows)
    return {
        "benchmark": rows.text("benchmark"),
        "kind": np.array([work_of(str(each)).kind for each in rows.text("benchmark")], dtype=np.str_),
        "accelerator": np.array([each.name for each in chips], dtype=np.str_),
        "vendor": np.array([each.vendor for each in chips], dtype=np.str_),
        "system": systems(rows),
        "family": families(rows),
        "count": np.log(count),
        "many": np.log(count / _NODE) * share,
        "beyond": np.log(np.maximum(count / domain, 1.0)) * share,
        "batch": np.log(batch),
        "work": np.log(short),
        "peak": np.log([each.peak("fp16") for each in chips]),
        "hbm": np.log([each.hbm_byte_s for each in chips]),
    }


def labels(rows: Rows) -> NDArray[np.str_]:
    """What to call each row (n)."""
    names = (rows.text(name) for name in ("benchmark", "n_accel", "accelerator", "system"))
    said = [f"{what} on {count} × {chip} ({system})" for what, count, chip, system in zip(*names, strict=True)]
    return np.array(said, dtype=np.str_)


def derived_step(rows: Rows) -> Numbers:
    """Global batch over throughput (n,), of all accelerators even where one's is stated."""
    count, throughput = rows.number("n_accel"), rows.number("throughput_samples_s_median")
    seen = rows.number("time_to_train_s") * throughput
    of_all = np.abs(np.log(seen / RETINANET_SAMPLES)) <= np.abs(np.log(seen * count / RETINANET_SAMPLES))
    each = (rows.text("benchmark") == "retinanet") & ~of_all
    return np.asarray(rows.number("global_batch_size") / np.where(each, throughput * count, throughput))
