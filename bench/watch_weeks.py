"""Weeks without any change, in which every alarm is false, and changes of stated size that should be seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.report import table
from pennyweight.serve.watch.costs import oddness
from pennyweight.serve.watch.drift import drifts
from pennyweight.serve.watch.floor import Watched
from pennyweight.serve.watch.looks import Spending
from pennyweight.serve.watch.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

WEEK = 28  # looks at drift: one every six hours
LABELS = 10_000  # a week
FEATURES, WINDOW, FIRST = 8, 500, 2000


def floors(repeats: int) -> dict[str, float]:
    """Weeks of labels at the floor exactly, and weeks in which quality falls below it after 4,000 labels."""
    rng, floor, broken_at = np.random.default_rng(2), 0.97, 4000
    lines, figures = [], {}
    for fall in (0.0, 0.02, 0.05):
        level = np.where(np.arange(LABELS) < broken_at, floor, floor - fall)
        watched, found = Watched.begin(floor, shape=(repeats,)), np.full(repeats, np.inf)
        for first in range(0, LABELS, 100):
            chunk = level[first : first + 100]
            watched = watched.saw(rng.random((repeats, 100)) < chunk)
            found = np.where(np.isinf(found) & watched.broken, first + 100, found)
        after = found - broken_at
        alarmed = np.isfinite(found)
        early = float((found <= broken_at).mean())
        late = np.where(after > 0, after, np.nan)
        if not fall:
            figures["floor_false_alarms"] = float(alarmed.mean())
            lines.append([f"at the floor of {floor:.0%}", "-", "-", f"{alarmed.mean():.1%} of weeks"])
            continue
        points = round(100 * fall)
        figures |= {f"floor_{points}_median": float(np.nanmedian(late)), f"floor_{points}_found": float(alarmed.mean())}
        lines.append(
            [f"{points} points below it", np.nanmedian(late), np.nanquantile(late, 0.95), f"{alarmed.mean():.1%}"]
        )
        figures[f"floor_{points}_too_early"] = early
    table(["quality", "median labels", "95%", "alarmed"], lines)
    return figures


def drift(repeats: int) -> dict[str, float]:
    """Weeks of 28 looks without drift, and single looks at drifts of stated size."""
    rng, spending = np.random.default_rng(3), Spending(0.05, WEEK)
    alarms = 0
    for _ in range(repeats):
        reference = _reference(rng)
        alarms += any(drifts(reference, _window(rng), spending, rng)[0].drifted for _ in range(WEEK))
    figures = {"drift_false_alarms": alarms / repeats}
    lines = [["none, a week of 28 looks", f"{alarms / repeats:.1%}", "-"]]
    changes: dict[str, Callable[[Numbers], Numbers]] = {
        "one_input_by_0.25_sd": lambda x: x + 0.25 * np.eye(FEATURES)[0],
        "one_input_by_0.5_sd": lambda x: x + 0.5 * np.eye(FEATURES)[0],
        "one_input_spread_1.5": lambda x: x * (1 + 0.5 * np.eye(FEATURES)[0]),
        "all_inputs_by_0.15_sd": lambda x: x + 0.15,
        "two_inputs_correlate_0.7": _correlated,
    }
    for name, change in changes.items():
        hits = [_found(rng, spending, change) for _ in range(max(40, repeats // 5))]
        power, what = float(np.mean([bool(each) for each in hits])), [each for each in hits if each]
        most = max(set(what), key=what.count) if what else "-"
        figures[f"drift_power_{name}"] = power
        lines.append([name.replace("_", " "), f"{power:.0%}", most])
    table([f"drift ({WINDOW} rows)", "alarmed", "first of all by"], lines)
    return figures


def _found(rng: np.random.Generator, spending: Spending, change: Callable[[Numbers], Numbers]) -> str:
    first = drifts(_reference(rng), _window(rng, change), spending, rng)[0]
    return f"{first.method} of {first.of.split()[0]}" if first.drifted else ""


def _reference(rng: np.random.Generator) -> Reference:
    return Reference.of(*_window(rng, rows=FIRST))


def _window(
    rng: np.random.Generator, change: Callable[[Numbers], Numbers] | None = None, rows: int = WINDOW
) -> tuple[Numbers, Numbers]:
    x = rng.normal(size=(rows, FEATURES))
    x = x if change is None else change(x)
    logits = x[:, :3] * 1.5
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return x, e / e.sum(axis=1, keepdims=True)


def _correlated(x: Numbers) -> Numbers:
    found = x.copy()
    found[:, 1] = 0.7 * x[:, 0] + np.sqrt(1 - 0.49) * x[:, 1]
    return found


def costs(repeats: int) -> dict[str, float]:
    """Weeks of 168 hours of one tenant's cost per request, log-normal or with heavier tails; then dearer hours."""
    rng, hours, past = np.random.default_rng(4), 168, 336
    level = Spending(0.05, hours).level
    lines, figures = [], {}
    for name, draw in (("normal", rng.standard_normal), ("heavy", lambda shape: rng.standard_t(5, shape) / 1.29)):
        logs = 0.05 * draw((repeats, past + hours))
        views = np.lib.stride_tricks.sliding_window_view(np.exp(logs), past, axis=1)[:, :-1]
        each = [oddness(views[:, n], np.exp(logs[:, past + n]))[1] <= level for n in range(hours)]
        alarmed = float(np.any(each, axis=0).mean())
        last = np.exp(logs[:, -1])
        power = [float((oddness(views[:, -1], times * last)[1] <= level).mean()) for times in (1.5, 2.0)]
        figures |= {f"cost_{name}_false_alarms": alarmed, f"cost_{name}_power_50pct": power[0]}
        figures[f"cost_{name}_power_100pct"] = power[1]
        lines.append([name, f"{alarmed:.1%}", *(f"{each:.0%}" for each in power)])
    table(["spread of 5%", "weeks with a false alarm", "an hour 50% dearer is seen", "twice as dear"], lines)
    return figures
