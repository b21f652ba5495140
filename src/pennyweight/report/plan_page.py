"""What a large model costs to train, as one self-contained page: no script, no font, no link to anywhere."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from pennyweight.report.costs import layout_words
from pennyweight.report.plan_chart import machines, plan_chart
from pennyweight.report.stacks import Bar, plain, stacks
from pennyweight.store.disk import put
from pennyweight.units import energy, mass, money, percent, seconds, si

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_ROOM = "pennyweight.report"


def write_plan(facts: dict[str, Any], path: Path) -> None:
    """Write the page of an estimate's or a plan's facts (see `report.costs`) to `path`; all of it, or nothing."""
    put(path, page(facts).encode(), "the report")


def page(facts: dict[str, Any]) -> str:
    """The page as text: of a plan (whose facts have a `front`), or of an estimate."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    tell = {
        "money": money,
        "seconds": seconds,
        "energy": energy,
        "mass": mass,
        "share": _share,
        "byte": _byte,
        "count": _count,
    }
    environment.globals |= tell
    environment.filters |= {
        **tell,
        "plain": plain,
        "layout": layout_words,
        "machines": machines,
        "capitalize_first": _opened,
    }
    plan = facts if "front" in facts else None
    ways, around = facts["shown"] if plan else [facts], facts.get("around")
    return environment.from_string(_read("plan.html")).render(
        work=facts["work"],
        plan=plan,
        ways=ways,
        titles=_titles(ways),
        around=around,
        charts=_charts(plan or around, ways) if ways else {},
        parts={key: _names(ways, key) for key in ("parts_s", "memory")},
        sources=_sources(ways),
        said=list(dict.fromkeys(line for each in ways for line in each["said"])),
        style=_read("style.css") + _read("plan.css"),
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    )


def _charts(plan: dict[str, Any] | None, ways: Sequence[dict[str, Any]]) -> dict[str, str]:
    names = _titles(ways)
    steps = [Bar(name, each["parts_s"]) for name, each in zip(names, ways, strict=True)]
    memory = [
        Bar(name, each["memory"], high=each["memory_high_byte"], room=each["capacity_byte"])
        for name, each in zip(names, ways, strict=True)
    ]
    return {
        "front": plan_chart(plan) if plan else "",
        "step": stacks(steps, seconds, "step", "Where the time of a step goes", shares=True),
        "memory": stacks(memory, _byte, "memory", "Memory of the fullest device, by what fills it"),
    }


def _titles(ways: Sequence[dict[str, Any]]) -> list[str]:
    """A short name for each way: its number, where there are several, and its devices."""
    numbers = [f"{at}: " if len(ways) > 1 else "" for at in range(1, len(ways) + 1)]
    return [f"{number}{each['devices']:,} {each['accelerator']}" for number, each in zip(numbers, ways, strict=True)]


def _names(ways: Sequence[dict[str, Any]], key: str) -> list[str]:
    """The parts that anything has, in their order."""
    return list(dict.fromkeys(name for each in ways for name, value in each[key].items() if value > 0))


def _sources(ways: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The offers behind the prices, each once."""
    rents = [each["rented"] for each in ways if each["rented"]]
    found = {(rent["cloud"], rent["region"], rent["instance"], rent["spare"]): rent for rent in rents}
    return list(found.values())


def _share(share: float) -> str:
    return percent(share, 1)


def _opened(text: str) -> str:
    """As a sentence begins."""
    return text[:1].upper() + text[1:]


def _byte(byte: float) -> str:
    return si(byte, "B")


def _count(number: float) -> str:
    words = {1e12: "trillion", 1e9: "billion", 1e6: "million"}
    scale = next((scale for scale in words if number >= scale), 1.0)
    return f"{number / scale:,.3g} {words[scale]}" if scale > 1 else f"{number:,.0f}"


def _read(name: str) -> str:
    return files(_ROOM).joinpath(name).read_text(encoding="utf-8")
