"""`pennyweight score`: predictions for every row of a table of measurements, and how far they are off."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pennyweight.cli.screen import say, say_json, say_table
from pennyweight.units import percent, si

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pennyweight.layout.scoring import Scored, Target

_WORST = 5


def tell_score(file: Path, output: Path | None, *, json: bool) -> None:
    """Predict every row of `file`, compare with what was measured, and write the rows to `output` if it is given."""
    from pennyweight.layout.scoring import score
    from pennyweight.layout.tables.rows import Rows

    scored = score(Rows.read(file))
    if output is not None:
        scored.write(output)
    if json:
        targets = {target.name: {"unit": target.unit, **target.summary()} for target in scored.targets}
        say_json({"kind": scored.kind, "targets": targets, "rows": list(scored.rows())})
        return
    _show(scored)
    say(f"Every row is in {output}." if output else "Every row: --output FILE.csv, or --json.")


def _show(scored: Scored) -> None:
    heads = ["target", "rows", "answered", "mean error", "median", "90% interval holds"]
    say_table(scored.kind, heads, [_line(target) for target in scored.targets], range(1, 6))
    unlike = [row for row in scored.rows() if row["outside"]]
    if unlike:
        say(f"{len(unlike):,} predictions are outside what was seen; the first, line {unlike[0]['line']}: "
            f"{unlike[0]['outside']}")  # fmt: skip
    worst = sorted(_misses(scored), reverse=True)[:_WORST]
    if worst:
        heads = ["line", "target", "predicted", "measured", "90% interval"]
        say_table("Furthest off", heads, [cells for _, _, cells in worst], (0, 2, 3, 4))


def _misses(scored: Scored) -> Iterator[tuple[float, int, list[str]]]:
    for row in scored.rows():
        if row["measured"]:
            predicted, found, low, high = (
                si(row[name], row["unit"]) for name in ("predicted", "measured", "low", "high")
            )
            off = abs(math.log(row["predicted"] / row["measured"]))
            yield off, row["line"], [f"{row['line']}", row["target"], predicted, found, f"{low} to {high}"]


def _line(target: Target) -> list[str]:
    found = target.summary()
    shares = [found.get(name) for name in ("answered", "mape", "median", "covered")]
    return [target.name, f"{found['rows']:,.0f}", *("" if each is None else percent(each, 1) for each in shares)]
