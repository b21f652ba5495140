"""What came of a search over a checkpoint, as one self-contained page: no script, no font, no link to anywhere."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from pennyweight.report.checkpoint_chart import checkpoint_chart, priced_on
from pennyweight.store.disk import put
from pennyweight.units import percent, seconds, si, usd

if TYPE_CHECKING:
    from pathlib import Path

_ROOM = "pennyweight.report"


def write_checkpoint(facts: dict[str, Any], path: Path) -> None:
    """Write the page of a result's facts to `path`; all of it, or nothing."""
    put(path, checkpoint_page(facts).encode(), "the report")


def checkpoint_page(facts: dict[str, Any]) -> str:
    """The page as text."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"usd": usd, "seconds": seconds, "percent": percent, "byte": _byte, "rise": _rise}
    charts = {device: checkpoint_chart(facts, device) for device in facts["devices"] if priced_on(facts, device)}
    ways = [("original", price, "control") for price in facts["original"]["prices"]]
    ways += [(each["name"], price, _kind(each)) for each in facts["tried"] if each["whole"] for price in each["prices"]]
    return environment.from_string(_read("checkpoint.html")).render(
        facts=facts,
        charts=charts,
        ways=sorted(ways, key=lambda way: (way[1]["device"], way[1]["usd"])),
        style=_read("style.css") + _read("plan.css"),
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    )


def _kind(each: dict[str, Any]) -> str:
    return "winner" if each["winner"] else "" if each["certified"] else "off"


def _byte(byte: float) -> str:
    return si(byte, "B")


def _rise(share: float) -> str:
    return f"{share:+.2%}"


def _read(name: str) -> str:
    return files(_ROOM).joinpath(name).read_text(encoding="utf-8")
