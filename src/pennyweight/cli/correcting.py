"""`pennyweight calibrate SOURCE`: what a few measured steps or requests of one's own say about later predictions."""

from __future__ import annotations

from itertools import starmap
from typing import TYPE_CHECKING

from pennyweight.cli.screen import say, say_json, say_table
from pennyweight.units import percent

if TYPE_CHECKING:
    from pathlib import Path

    from pennyweight.layout.correction import Correction
    from pennyweight.layout.scoring.calibrating import Lesson


def tell_correction(source: Path, output: Path, kind: str | None, *, json: bool) -> None:
    """Learn from `source`, keep it in `output` beside what other kinds taught before, and say what was learned."""
    from pennyweight.layout.scoring.calibrating import Calibration, learn_own
    from pennyweight.store.disk import check_plain

    check_plain(output)
    before = Calibration.load(output) if output.exists() else Calibration({})
    lesson = learn_own(source, kind)
    before.with_kind(lesson.kind, lesson.taught).save(output)
    if json:
        targets = {
            name: {**each.to_dict(), "factor": each.factor, "interval": each.interval}
            for name, each in lesson.taught.corrections.items()
        }
        left = [{"line": line, "why": why} for line, why in lesson.left_out]
        facts = {"kind": lesson.kind, "rows": lesson.used, "targets": targets, "left_out": left}
        say_json({**facts, "misfits": dict(lesson.misfits), "file": str(output)})
        return
    _show(lesson)
    say(f"Kept in {output}; use it with --calibration {output}.")


def _show(lesson: Lesson) -> None:
    corrections = lesson.taught.corrections
    if corrections:
        heads = ["target", "rows", "misfits", "measured / predicted", "at twice the size", "90% within"]
        say_table(lesson.kind, heads, list(starmap(_line, corrections.items())), range(1, 6))
    else:
        rows = "1 row" if lesson.used == 1 else f"{lesson.used} rows"
        say(f"{rows} of {lesson.kind} kept: how others of the same stack will differ is told from the ones most alike.")
    for target, lines in lesson.misfits.items():
        if lines:
            say(f"Misfits of {target}, which differ too much from the others: line {', '.join(map(str, lines))}.")
    if lesson.left_out:
        line, why = lesson.left_out[0]
        say(f"Left out: {len(lesson.left_out)}; the first, line {line}: {why.rstrip('.')}.")


def _line(name: str, found: Correction) -> list[str]:
    grown = f"× {2**found.slope:.3f}" if found.slope else "the same"
    low, high = found.interval
    within = f"{percent(low - 1, 1)} to +{percent(high - 1, 1)}"
    return [name, str(found.rows), str(found.misfits), f"{found.factor:.3f}", grown, within]
