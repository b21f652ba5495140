"""One training as a self-contained HTML page: what came out, the learning curve, and what each part cost."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any

from pennyweight.store.disk import put
from pennyweight.units import percent, seconds, si, usd

if TYPE_CHECKING:
    from pathlib import Path

_WIDTH, _HEIGHT, _EDGE = 720.0, 240.0, 40.0
_REACH = 1.96


def write_run_page(path: Path, facts: dict[str, Any], sentences: list[str]) -> None:
    """Write the page of one training to `path`; all of it appears, or nothing."""
    put(path, run_page(facts, sentences).encode(), "the report")


def run_page(facts: dict[str, Any], sentences: list[str]) -> str:
    """The page as text, from the facts of an outcome and the sentences about it."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"usd": usd, "seconds": seconds, "percent": percent, "si": si}
    room = files("pennyweight.report")
    template = environment.from_string(room.joinpath("run.html").read_text(encoding="utf-8"))
    style = room.joinpath("style.css").read_text(encoding="utf-8")
    return template.render(run=facts, sentences=sentences, style=style, chart=_chart(facts["curve"]))


def _chart(curve: list[dict[str, float]]) -> dict[str, Any] | None:
    """The learning curve as points of an SVG, with the band of its 95% intervals; None for fewer than two points."""
    if len(curve) < 2:
        return None
    lows = [each["mean"] - _REACH * each["se"] for each in curve]
    highs = [each["mean"] + _REACH * each["se"] for each in curve]
    least, most, last = min(lows), max(highs), curve[-1]["step"]

    def place(step: float, value: float) -> str:
        x = _EDGE + (_WIDTH - 2 * _EDGE) * step / last
        y = _HEIGHT - _EDGE - (_HEIGHT - 2 * _EDGE) * (value - least) / ((most - least) or 1)
        return f"{x:.1f},{y:.1f}"

    steps = [each["step"] for each in curve]
    band = [
        *map(place, steps, highs),
        *map(place, reversed(steps), reversed(lows)),
    ]
    line = [place(each["step"], each["mean"]) for each in curve]
    return {
        "line": " ".join(line),
        "band": " ".join(band),
        "least": f"{least:.4g}",
        "most": f"{most:.4g}",
        "last": last,
    }
