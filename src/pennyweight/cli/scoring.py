"""`pennyweight score`: predictions for every row of a table of measurements, and how far they are off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pennyweight.cli.screen import say, say_json, say_table
from pennyweight.units import percent, si

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pennyweight.layout.rows import Rows
    from pennyweight.layout.scoring.score import Scored, Target

_WORST = 5


def tell_score(file: Path, output: Path | None, kind: str | None, calibration: Path | None, *, json: bool) -> None:
    """Predict every row of `file`, compare with what was measured, and write the rows to `output` if it is given."""
    from pennyweight.layout.rows import Rows
    from pennyweight.store.disk import check_plain, put

    if output is not None:
        check_plain(output)
    scored = _scored(Rows.read(file), kind, calibration)
    if output is not None:
        put(output, scored.text().encode(), "the predictions")
    if json:
        targets = {target.name: {"unit": target.unit, **target.summary()} for target in scored.targets}
        say_json({"kind": scored.kind, "targets": targets, "rows": list(scored.rows())})
        return
    _show(scored)
    say(f"Every row is in {output}." if output else "Every row: --output FILE.csv, or --json.")


def _scored(rows: Rows, name: str | None, calibration: Path | None) -> Scored:
    from pennyweight.layout.scoring.calibrating import Calibration
    from pennyweight.layout.scoring.score import score
    from pennyweight.layout.tables.finding import kind_named, kind_of

    kind = kind_named(name) if name else kind_of(rows)
    learnt = Calibration.load(calibration).learnt(kind.name) if calibration is not None else None
    return score(rows, learnt, kind)


def _show(scored: Scored) -> None:
    heads = ["target", "predicted", "measured", "answered", "mean error", "median", "90% interval holds"]
    say_table(scored.kind, heads, [_line(target) for target in scored.targets], range(1, 7))
    for what, lines in _remarks(scored):
        text, line = lines[0]
        others = f" and {len(lines) - 1:,} more" if len(lines) > 1 else ""
        say(f"{what}: line {line}{others}. {text[:1].upper()}{text[1:].rstrip('.')}.")
    worst = [each for target in scored.targets for each in _misses(scored, target)]
    if worst:
        heads = ["line", "target", "predicted", "measured", "90% interval"]
        worst.sort(key=lambda each: -each[0])
        say_table("Furthest off", heads, [cells for _, cells in worst[:_WORST]], (0, 2, 3, 4))


def _remarks(scored: Scored) -> Iterator[tuple[str, list[tuple[str, int]]]]:
    """What is to be said of how many rows, each with its text and its line."""
    answered = np.any([np.isfinite(target.forecast.value) for target in scored.targets], axis=0)
    unlike = np.zeros(len(answered), dtype=object)
    for target in scored.targets:
        unlike = np.where(np.char.str_len(target.forecast.outside) > 0, target.forecast.outside, unlike)
    chosen = {
        "Not predicted": np.where(answered, "", scored.notes),
        "Measured wrong": np.where(answered, scored.notes, ""),
        "Outside what was seen": np.where(unlike.astype(np.bool_), unlike, ""),
    }
    for what, texts in chosen.items():
        said = [(text, line) for text, line in zip(texts.tolist(), scored.lines.tolist(), strict=True) if text]
        if said:
            yield what, said


def _misses(scored: Scored, target: Target) -> list[tuple[float, list[str]]]:
    """The rows of a target that are furthest off, by how much."""
    forecast, unit = target.forecast, target.unit
    off = np.abs(np.log(forecast.value / target.measured))
    worst = np.argsort(np.where(target.told, -off, np.inf), kind="stable")[: min(_WORST, int(target.told.sum()))]
    return [
        (
            float(off[at]),
            [
                str(scored.lines[at]),
                target.name,
                _figure(forecast.value[at], unit),
                _figure(target.measured[at], unit),
                f"{_figure(forecast.low[at], unit)} to {_figure(forecast.high[at], unit)}",
            ],
        )
        for at in worst.tolist()
    ]


def _figure(value: float, unit: str) -> str:
    return si(float(value), unit) if unit else f"{value:.3g}"


def _line(target: Target) -> list[str]:
    found = target.summary()
    shares = [found.get(name) for name in ("answered", "mape", "median", "covered")]
    counts = [f"{found[name]:,.0f}" for name in ("predicted", "rows")]
    return [target.name, *counts, *("" if each is None else percent(each, 1) for each in shares)]
