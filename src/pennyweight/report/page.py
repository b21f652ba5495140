"""A front as one self-contained HTML page: no script, no font, no link to anywhere."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from pennyweight.report.chart import front_chart
from pennyweight.report.facts import front_facts
from pennyweight.store.disk import put
from pennyweight.units import percent, seconds, si, usd

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pennyweight.core import Front


def write_page(path: Path, fronts: Sequence[Front]) -> None:
    """Write the page of one or several fronts to `path`; all of it appears, or nothing."""
    put(path, page(fronts).encode(), "the report")


def page(fronts: Sequence[Front]) -> str:
    """The page as text."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"usd": usd, "seconds": seconds, "percent": percent, "si": si}
    room = files("pennyweight.report")
    template = environment.from_string(room.joinpath("page.html").read_text(encoding="utf-8"))
    style = room.joinpath("style.css").read_text(encoding="utf-8")
    jobs = [_job(front) for front in fronts]
    return template.render(jobs=jobs, style=style, made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC")


def _job(front: Front) -> dict[str, Any]:
    """The facts of a front with what only a page needs: the chart, and how far predictions were off."""
    facts = front_facts(front)
    facts["runs"] = sorted(facts["runs"], key=lambda run: run["bill"]["total"]["usd"])
    for run in facts["runs"]:
        run["off"] = _off(run)
    errors = [abs(run["off"]) for run in facts["runs"] if run["off"] is not None]
    facts["mean_off"] = sum(errors) / len(errors) if errors else None
    facts["break_even"] = facts[f"break_even_{'trainings' if facts['objective'] == 'train' else 'predictions'}"]
    facts["chart"] = front_chart(facts)
    return facts


def _off(run: dict[str, Any]) -> float | None:
    """By what share the predicted total was off the measured one."""
    measured, predicted = run["bill"]["total"]["usd"], run["predicted"] and run["predicted"]["total"]["usd"]
    return predicted / measured - 1 if predicted and measured else None
