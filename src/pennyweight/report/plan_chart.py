"""Dollars against days as SVG: the ways that nothing beats in both, those of the table numbered, with intervals."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, Any

from pennyweight.report.chart import Scale
from pennyweight.units import money, seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 760, 400, 76, 24, 20, 48
_DAY_S = 86400.0
_SPREAD = 20.0  # beyond this factor between the ends, an axis is logarithmic


def plan_chart(facts: dict[str, Any]) -> str:
    """The SVG of a plan's facts (see `report.costs`); colours come from the page's style sheet."""
    front, shown = facts["front"], facts["shown"]
    days = [figure / _DAY_S for figure in _ends(front, shown, "seconds")]
    dollars = _ends(front, shown, "usd")
    across = Scale.over(days, _LEFT, _WIDTH - _RIGHT, log=max(days) > _SPREAD * min(days))
    up = Scale.over(dollars, _HEIGHT - _BOTTOM, _TOP, log=max(dollars) > _SPREAD * min(dollars))
    numbered = {_place(each): number for number, each in enumerate(shown, start=1)}
    small = [_small(each, across, up) for each in front if _place(each) not in numbered]
    large = [_large(each, number, across, up) for number, each in enumerate(shown, start=1)]
    parts = [*_axes(across, up), *_limits(facts["limits"], across, up), _line(front, across, up), *small, *large]
    return _svg(facts, parts)


def _svg(facts: dict[str, Any], parts: Sequence[str]) -> str:
    front, model = facts["front"], escape(facts["work"]["model"])
    first, last = front[0], front[-1]
    said = (
        f"{len(front)} ways: from {money(first['usd'])} in {seconds(first['seconds'])} on {machines(first)} to "
        f"{money(last['usd'])} in {seconds(last['seconds'])} on {machines(last)}."
    )
    head = f'<title id="front-title">Dollars against days of training {model}</title>'
    labels = 'role="img" aria-labelledby="front-title front-desc"'
    desc = f'<desc id="front-desc">{escape(said)}</desc>'
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" {labels}>{head}{desc}{"".join(parts)}</svg>'


def machines(each: dict[str, Any]) -> str:
    """Which devices, of whom, spare or not."""
    rent = each["rented"]
    place = f", {rent['cloud']}{', spare' * rent['spare']}" if rent else ""
    return f"{each['devices']:,} {each['accelerator']}{place}"


def _ends(front: Sequence[dict[str, Any]], shown: Sequence[dict[str, Any]], name: str) -> list[float]:
    """All values of a figure that the chart must hold: of every point, and the ends of the intervals."""
    return [each[name] for each in front] + [each[name][end] for each in shown for end in ("low", "high")]


def _place(each: dict[str, Any]) -> str:
    """What makes a point of the front the same way as a row of the table."""
    rent = each["rented"]
    return repr(
        (
            each["devices"],
            each["accelerator"],
            each["layout"],
            rent["cloud"],
            rent["instance"],
            rent["region"],
            rent["spare"],
        )
    )


def _line(front: Sequence[dict[str, Any]], across: Scale, up: Scale) -> str:
    """The front as stairs: between two points the dearer one is the next that is faster."""
    points = [(across.at(each["seconds"] / _DAY_S), up.at(each["usd"])) for each in front]
    stairs = "".join(f"V{y:.1f}H{x:.1f}" for x, y in points[1:])
    return f'<path class="front" d="M{points[0][0]:.1f} {points[0][1]:.1f}{stairs}"/>'


def _kind(each: dict[str, Any]) -> str:
    return "spare" if each["rented"]["spare"] else "on"


def _small(each: dict[str, Any], across: Scale, up: Scale) -> str:
    x, y = across.at(each["seconds"] / _DAY_S), up.at(each["usd"])
    said = f"{machines(each)}: {money(each['usd'])} in {seconds(each['seconds'])}"
    dot = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>'
    return f'<g class="{_kind(each)} small"><title>{escape(said)}</title>{dot}</g>'


def _large(each: dict[str, Any], number: int, across: Scale, up: Scale) -> str:
    time, dollars = each["seconds"], each["usd"]
    x, y = across.at(time["value"] / _DAY_S), up.at(dollars["value"])
    left, right = (across.at(time[end] / _DAY_S) for end in ("low", "high"))
    low, high = (up.at(dollars[end]) for end in ("low", "high"))
    said = f"{number}: {machines(each)}: {money(dollars['value'])} in {seconds(time['value'])}"
    whisker = f'<path class="whisker" d="M{left:.1f} {y:.1f}H{right:.1f}M{x:.1f} {low:.1f}V{high:.1f}"/>'
    mark = f'<text class="mark" x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle">{number}</text>'
    dot = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="9"/>'
    return f'<g class="{_kind(each)}"><title>{escape(said)}</title>{whisker}{dot}{mark}</g>'


def _axes(across: Scale, up: Scale) -> list[str]:
    base = _HEIGHT - _BOTTOM
    parts = [f'<path class="axis" d="M{_LEFT} {_TOP}V{base}H{_WIDTH - _RIGHT}"/>']
    for value in across.ticks():
        x = f"{across.at(value):.1f}"
        parts += [
            f'<path class="grid" d="M{x} {_TOP}V{base}"/>',
            f'<text x="{x}" y="{base + 18}" text-anchor="middle">{value:,.3g}</text>',
        ]
    for value in up.ticks():
        y = up.at(value)
        parts += [
            f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>',
            f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{money(value)}</text>',
        ]
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    told = "days" + ", logarithmic" * across.log + "; dollars upwards" + ", logarithmic" * up.log
    return [*parts, f'<text class="label" x="{middle}" y="{_HEIGHT - 8}" text-anchor="middle">{told}</text>']


def _limits(limits: dict[str, Any], across: Scale, up: Scale) -> list[str]:
    """The deadline and the budget, where they are on the chart."""
    drawn, base = [], _HEIGHT - _BOTTOM
    days = (limits["deadline_s"] or math.inf) / _DAY_S
    if across.low <= days <= across.high:
        x = across.at(days)
        drawn += [
            f'<path class="floor" d="M{x:.1f} {_TOP}V{base}"/>',
            f'<text x="{x - 5:.1f}" y="{_TOP + 12}" text-anchor="end">deadline</text>',
        ]
    budget = limits["budget_usd"] or math.inf
    if up.low <= budget <= up.high:
        y = up.at(budget)
        drawn += [
            f'<path class="floor" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>',
            f'<text x="{_WIDTH - _RIGHT}" y="{y - 5:.1f}" text-anchor="end">budget</text>',
        ]
    return drawn
