"""Dollars per million tokens against perplexity of a searched checkpoint as SVG, one picture for each device."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from pennyweight.report.chart import Scale
from pennyweight.units import percent, usd

if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 760, 360, 76, 24, 20, 48


def checkpoint_chart(facts: dict[str, Any], device: str) -> str:
    """The SVG of all priced ways on one device: dollars across, the rise of perplexity up, the floor a line."""
    dots = _dots(facts, device)
    floor = facts["floor"]["give_up"]
    across = Scale.over([end for dot in dots for end in dot["usd"]], _LEFT, _WIDTH - _RIGHT, log=True)
    up = Scale.over([floor, *(end for dot in dots for end in dot["rise"])], _HEIGHT - _BOTTOM, _TOP)
    parts = [*_axes(across, up), *_floor(up, floor), *(_dot(dot, across, up) for dot in dots)]
    title = f"Perplexity against dollars per million tokens on {device}"
    said = "; ".join(dot["told"] for dot in dots)
    head = f'<title id="{device}-title">{escape(title)}</title><desc id="{device}-desc">{escape(said)}</desc>'
    labels = f'role="img" aria-labelledby="{device}-title {device}-desc"'
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" {labels}>{head}{"".join(parts)}</svg>'


def priced_on(facts: dict[str, Any], device: str) -> bool:
    """Whether anything has a price on that device."""
    return bool(_dots(facts, device))


def _dots(facts: dict[str, Any], device: str) -> list[dict[str, Any]]:
    original = {"name": "original", "rise": 0.0, "low": 0.0, "high": 0.0, "kind": "control", **facts["original"]}
    tried = [each | {"kind": _kind(each)} for each in facts["tried"] if each["whole"]]
    return [
        {
            "kind": each["kind"],
            "rise": (each["low"], each["rise"], each["high"]),
            "usd": (price["low"], price["usd"], price["high"]),
            "told": f"{each['name']} by {price['runtime']}: {usd(price['usd'])}, perplexity {each['rise']:+.2%}",
        }
        for each in [original, *tried]
        for price in each["prices"]
        if price["device"] == device
    ]


def _kind(each: dict[str, Any]) -> str:
    return "winner" if each["winner"] else "on" if each["certified"] else "off"


def _dot(dot: dict[str, Any], across: Scale, up: Scale) -> str:
    left, x, right = (across.at(end) for end in dot["usd"])
    low, y, high = (up.at(end) for end in dot["rise"])
    whisker = f'<path class="whisker" d="M{left:.1f} {y:.1f}H{right:.1f}M{x:.1f} {low:.1f}V{high:.1f}"/>'
    circle = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{8 if dot["kind"] == "winner" else 6}"/>'
    return f'<g class="{dot["kind"]}"><title>{escape(dot["told"])}</title>{whisker}{circle}</g>'


def _axes(across: Scale, up: Scale) -> list[str]:
    base = _HEIGHT - _BOTTOM
    parts = [f'<path class="axis" d="M{_LEFT} {_TOP}V{base}H{_WIDTH - _RIGHT}"/>']
    parts += [_tick(f"{across.at(value):.1f}", base + 18, usd(value), "middle") for value in across.ticks()]
    parts += [_tick(f"{_LEFT - 8}", up.at(value) + 4, percent(value), "end") for value in up.ticks()]
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    told = "dollars per million generated tokens; how much higher perplexity is upwards"
    return [*parts, f'<text class="label" x="{middle}" y="{_HEIGHT - 8}" text-anchor="middle">{told}</text>']


def _tick(x: str, y: float, body: str, anchor: str) -> str:
    return f'<text x="{x}" y="{y:.1f}" text-anchor="{anchor}">{body}</text>'


def _floor(up: Scale, floor: float) -> Sequence[str]:
    y = up.at(floor)
    return [
        f'<path class="floor" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>',
        f'<text x="{_WIDTH - _RIGHT}" y="{y - 5:.1f}" text-anchor="end">floor</text>',
    ]
