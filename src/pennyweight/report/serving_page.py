"""What a large model costs to serve, as one self-contained page: no script, no font, no link to anywhere."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from pennyweight.report.serving_chart import limits_chart, machines, serving_chart
from pennyweight.report.stacks import Bar, stacks
from pennyweight.store.disk import put
from pennyweight.units import money, percent, seconds, si, usd

if TYPE_CHECKING:
    from pathlib import Path

_ROOM = "pennyweight.report"


def write_serving(facts: dict[str, Any], path: Path) -> None:
    """Write the page of a plan's facts (see `report.serving_costs`) to `path`; all of it, or nothing."""
    put(path, serving_page(facts).encode(), "the report")


def serving_page(facts: dict[str, Any]) -> str:
    """The page as text."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals |= {"money": money, "usd": usd, "seconds": seconds, "byte": _byte, "joule": _joule}
    environment.filters |= {"machines": machines, "each": _each, "share": _share}
    ways = facts["front"]
    parts = list(dict.fromkeys(name for way in ways for name, value in way["usd_hour_by"].items() if value > 0))
    return environment.from_string(_read("serving.html")).render(
        plan=facts,
        ways=ways,
        parts=parts,
        charts=_charts(ways, facts) if ways else {},
        sources=_sources(ways),
        style=_read("style.css") + _read("plan.css"),
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    )


def _charts(ways: list[dict[str, Any]], facts: dict[str, Any]) -> dict[str, str]:
    bars = [Bar(f"{at}: {_devices(way)}", way["usd_hour_by"]) for at, way in enumerate(ways, start=1)]
    return {
        "front": serving_chart(facts),
        "limits": limits_chart(facts),
        "split": stacks(bars, money, "split", "What an hour is paid for"),
    }


def _sources(ways: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The offers behind the prices, each once."""
    pools = [way["reads"] for way in ways if way["reads"]]
    rents = [rent for each in (*ways, *pools) if (rent := each["machines"])]
    return list({(each["cloud"], each["region"], each["instance"], each["spare"]): each for each in rents}.values())


def _each(way: dict[str, Any]) -> str:
    """How a replica runs; of two pools one that answers, then one that reads."""
    found = f"{way['engine']} in {way['precision']}, {_spread(way)}, {way['requests_at_once']:,} at once"
    reads = way["reads"]
    if not reads:
        return found
    return f"{found}; prompts are read by {reads['replicas']:,} × {_spread(reads)} on {reads['accelerator']}"


def _spread(pool: dict[str, Any]) -> str:
    degrees = [f"{name} {pool[key]}" for name, key in (("dp", "attention_dp"), ("ep", "ep")) if pool[key] > 1]
    return " · ".join([f"tp {pool['tp']}", *degrees])


def _devices(way: dict[str, Any]) -> str:
    """Devices of all pools."""
    reads = way["reads"]
    beside = f" + {reads['devices']:,} {reads['accelerator']}" if reads else ""
    return f"{way['devices']:,} {way['accelerator']}{beside}"


def _share(share: float) -> str:
    return percent(share, 0)


def _byte(byte: float) -> str:
    return si(byte, "B")


def _joule(joule: float) -> str:
    return f"{joule:.2g} J" if math.isfinite(joule) else "not measured"


def _read(name: str) -> str:
    return files(_ROOM).joinpath(name).read_text(encoding="utf-8")
