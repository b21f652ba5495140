"""Pages from templates: what users wrote is always escaped, only charts drawn here are not."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from pennyweight.report.chart import front_chart
from pennyweight.serve.money.tariffs import NUSD
from pennyweight.units import money, percent, seconds, si, usd

if TYPE_CHECKING:
    from jinja2 import Environment

_ROOM = "pennyweight.web"
_STATIC = {
    "htmx.min.js": "text/javascript",
    "uplot.min.js": "text/javascript",
    "uplot.min.css": "text/css",
    "live.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}


def environment() -> Environment:
    """The templates, with the units of the product as filters."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader(_ROOM),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"usd": usd, "seconds": seconds, "percent": percent, "si": si, "nusd": _nusd, "when": _when}
    made.filters |= {"chart": _chart, "off": _off, "measure": _measure, "ago": _ago}
    return made


def static() -> dict[str, tuple[str, bytes]]:
    """Every file that is not a page, by name: its type and its bytes."""
    room = files(_ROOM).joinpath("static")
    found = {name: (kind, room.joinpath(name).read_bytes()) for name, kind in _STATIC.items()}
    shared = files("pennyweight.report").joinpath("style.css").read_bytes()
    return found | {"style.css": ("text/css", shared + room.joinpath("web.css").read_bytes())}


def _chart(job: dict[str, Any]) -> Any:
    """The front of a job; nothing where no run costs anything, for there is no place to draw it."""
    from markupsafe import Markup

    drawn = any(run["bill"]["total"]["usd"] > 0 for run in job["runs"])
    return Markup(front_chart(job)) if drawn else ""  # ruff: ignore[unsafe-markup-use] - it escapes names itself


def _nusd(value: int) -> str:
    return money(value / NUSD)


def _when(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _ago(at_ns: int) -> str:
    return seconds(max(0, round((time.time_ns() - at_ns) / 1e9)))


def _off(share: float | None) -> str:
    return "" if share is None else f"{100 * share:+.0f}%"


def _measure(value: float | None, unit: str) -> str:
    """A number in its unit; nothing if it is not known."""
    if value is None:
        return ""
    return seconds(value) if unit == "s" else si(value, {"byte": "B", "joule": "J"}[unit])
