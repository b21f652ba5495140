"""Dollars against seconds of a served model as SVG, and how near each way comes to what is promised."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from pennyweight.report.chart import Scale
from pennyweight.units import percent, seconds, usd

if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 760, 400, 76, 24, 20, 48
_SPREAD = 20.0  # beyond this factor between the ends, an axis is logarithmic
_NAMES, _BAR, _GAP, _FURTHEST = 230, 16, 10, 2.0


def serving_chart(facts: dict[str, Any]) -> str:
    """The SVG of the front of a plan's facts (see `report.serving_costs`): dollars per million tokens upwards."""
    ways = facts["front"]
    times = [each["tpot_s"][end] for each in ways for end in ("value", "low", "high")]
    dollars = [each["usd_million"][end] for each in ways for end in ("value", "low", "high")]
    across = Scale.over(times, _LEFT, _WIDTH - _RIGHT, log=max(times) > _SPREAD * min(times))
    up = Scale.over(dollars, _HEIGHT - _BOTTOM, _TOP, log=max(dollars) > _SPREAD * min(dollars))
    points = [(across.at(each["tpot_s"]["value"]), up.at(each["usd_million"]["value"])) for each in ways]
    stairs = "".join(f"V{y:.1f}H{x:.1f}" for x, y in points[1:])
    line = f'<path class="front" d="M{points[0][0]:.1f} {points[0][1]:.1f}{stairs}"/>'
    dots = [_dot(each, number, across, up) for number, each in enumerate(ways, start=1)]
    said = f"{len(ways)} ways: from {_told(ways[0])} to {_told(ways[-1])}."
    title = f"Dollars against seconds per token of serving {facts['model']}"
    return _svg("front", _HEIGHT, (title, said), [*_axes(across, up), *_limit(facts["slo"], across), line, *dots])


def limits_chart(facts: dict[str, Any]) -> str:
    """The SVG of seconds to the first token and per token of each way as shares of the most that is promised."""
    rows = [
        (f"{at}: {limit['what']} at p{limit['percent']:g}", each[f"{limit['what']}_s"], limit["most_s"])
        for at, each in enumerate(facts["front"], start=1)
        for limit in facts["slo"]
    ]
    scale = (_WIDTH - _NAMES - 90) / _FURTHEST
    drawn = [part for at, row in enumerate(rows) for part in _share(row, at, scale)]
    height = _GAP * 2 + len(rows) * (_BAR + _GAP) + 16
    at_one = _NAMES + scale
    drawn += [
        f'<path class="floor" d="M{at_one:.1f} {_GAP}V{height - 22}"/>',
        f'<text x="{at_one:.1f}" y="{height - 8}" text-anchor="middle">promised</text>',
    ]
    said = "; ".join(f"{name}: {percent(ends['value'] / most, 0)} of {seconds(most)}" for name, ends, most in rows)
    return _svg("limits", height, ("What requests take of what is promised", said), drawn)


def machines(each: dict[str, Any]) -> str:
    """Which machines, of whom, spare or not; of two pools those that answer, and those that read if they are others."""
    found = _machines(each["machines"], each["accelerator"])
    reads = each["reads"]
    if reads and reads["machines"]:
        found += f" and {_machines(reads['machines'], reads['accelerator'])}"
    return found


def _machines(rent: dict[str, Any], accelerator: str) -> str:
    spare = ", spare" if rent["spare"] else ""
    return f"{rent['count']:,} × {rent['cloud']} {rent['instance']} ({rent['devices']} {accelerator}){spare}"


def _told(each: dict[str, Any]) -> str:
    dollars, time = usd(each["usd_million"]["value"]), seconds(each["tpot_s"]["value"])
    pools = ", with a pool for prompts" if each["reads"] else ""
    return f"{dollars} per million tokens at {time} per token on {machines(each)}{pools}"


def _svg(name: str, height: int, texts: tuple[str, str], parts: Sequence[str]) -> str:
    head = f'<title id="{name}-title">{escape(texts[0])}</title><desc id="{name}-desc">{escape(texts[1])}</desc>'
    labels = f'role="img" aria-labelledby="{name}-title {name}-desc"'
    return f'<svg viewBox="0 0 {_WIDTH} {height}" {labels}>{head}{"".join(parts)}</svg>'


def _dot(each: dict[str, Any], number: int, across: Scale, up: Scale) -> str:
    time, dollars = each["tpot_s"], each["usd_million"]
    x, y = across.at(time["value"]), up.at(dollars["value"])
    left, right = (across.at(time[end]) for end in ("low", "high"))
    low, high = (up.at(dollars[end]) for end in ("low", "high"))
    kind = "spare" if each["machines"]["spare"] else "on"
    kind += " pair" if each["reads"] else ""
    whisker = f'<path class="whisker" d="M{left:.1f} {y:.1f}H{right:.1f}M{x:.1f} {low:.1f}V{high:.1f}"/>'
    mark = f'<text class="mark" x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle">{number}</text>'
    dot = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="9"/>'
    return f'<g class="{kind}"><title>{escape(f"{number}: {_told(each)}")}</title>{whisker}{dot}{mark}</g>'


def _axes(across: Scale, up: Scale) -> list[str]:
    base = _HEIGHT - _BOTTOM
    parts = [f'<path class="axis" d="M{_LEFT} {_TOP}V{base}H{_WIDTH - _RIGHT}"/>']
    for value in across.ticks():
        x = f"{across.at(value):.1f}"
        parts += [
            f'<path class="grid" d="M{x} {_TOP}V{base}"/>',
            f'<text x="{x}" y="{base + 18}" text-anchor="middle">{seconds(value)}</text>',
        ]
    for value in up.ticks():
        y = up.at(value)
        parts += [
            f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>',
            f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{usd(value)}</text>',
        ]
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    told = "seconds per token" + ", logarithmic" * across.log + "; dollars per million tokens upwards"
    told += ", logarithmic" * up.log
    return [*parts, f'<text class="label" x="{middle}" y="{_HEIGHT - 8}" text-anchor="middle">{told}</text>']


def _limit(slo: Sequence[dict[str, Any]], across: Scale) -> list[str]:
    """The tightest limit per token, where it is on the chart."""
    most_s = min((each["most_s"] for each in slo if each["what"] == "tpot"), default=None)
    if most_s is None or not across.low <= most_s <= across.high:
        return []
    x = across.at(most_s)
    return [
        f'<path class="floor" d="M{x:.1f} {_TOP}V{_HEIGHT - _BOTTOM}"/>',
        f'<text x="{x - 5:.1f}" y="{_TOP + 12}" text-anchor="end">promised</text>',
    ]


def _share(row: tuple[str, dict[str, float], float], at: int, scale: float) -> list[str]:
    name, ends, most = row
    y, middle = _GAP + at * (_BAR + _GAP), _GAP + at * (_BAR + _GAP) + _BAR / 2
    low, value, high = (min(ends[end] / most, _FURTHEST) * scale + _NAMES for end in ("low", "value", "high"))
    told = f"{name}: {seconds(ends['value'])} ({seconds(ends['low'])} to {seconds(ends['high'])}) of {seconds(most)}"
    beyond = " …" if ends["high"] / most > _FURTHEST else ""
    box = f'x="{_NAMES}" y="{y}" width="{value - _NAMES:.1f}" height="{_BAR}"'
    return [
        f'<text class="label" x="{_NAMES - 8}" y="{y + 13}" text-anchor="end">{escape(name)}</text>',
        f'<rect class="part0" {box}><title>{escape(told)}</title></rect>',
        f'<path class="whisker" d="M{low:.1f} {middle}H{high:.1f}M{high:.1f} {y + 3}V{y + _BAR - 3}"/>',
        f'<text x="{max(value, high) + 6:.1f}" y="{y + 13}">{seconds(ends["value"])}{beyond}</text>',
    ]
