"""A front drawn as SVG: dollars across, quality up, every run a dot, the floor a line."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from pennyweight.units import usd

if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDTH, _HEIGHT = 760, 380
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#5d6a66}.label{fill:#1c2321}path{fill:none;stroke:#d8dedb}"
    ".axis{stroke:#5d6a66}.grid{stroke-dasharray:2 4}.front{stroke:#0b7a5c;stroke-width:1.5}"
    ".floor{stroke:#c8501e;stroke-dasharray:6 4}.on circle{fill:#0b7a5c}.off circle{fill:#9aa7a2}"
    ".control circle{fill:#33507a}.winner circle{fill:#c8501e}"
)
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 20, 48


@dataclass(frozen=True, slots=True)
class Scale:
    """Data values to positions on one axis, logarithmic if the values span more than a factor of three."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float, *, log: bool = False) -> Scale:
        """Fit all values with a margin."""
        low, high = min(values), max(values)
        log = log and low > 0 and high / low > 3
        if log:
            margin = (high / low) ** 0.06
            return cls(low / margin, high * margin, start, end, log=True)
        margin = (high - low) * 0.08 or abs(high) * 0.05 or 1.0
        return cls(low - margin, high + margin, start, end)

    def at(self, value: float) -> float:
        """The position of a value."""
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round values to label, about five."""
        if self.log:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            fine = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
            inside = [value for value in fine if self.low <= value <= self.high]
            return inside[:: max(1, len(inside) // 6)]
        step = 10.0 ** math.floor(math.log10(self.high - self.low))
        while (self.high - self.low) / step < 4:
            step /= 2
        first = math.ceil(self.low / step)
        return [number * step for number in range(first, math.floor(self.high / step) + 1)]


def front_chart(facts: dict[str, Any]) -> str:
    """The SVG of a front's facts; colours come from the page's style sheet."""
    runs = [run for run in facts["runs"] if run["bill"]["total"]["usd"] > 0]
    floor = facts.get("floor_at")
    means = [run["score"]["mean"] for run in runs]
    across = Scale.over([run["bill"]["total"]["usd"] for run in runs], _LEFT, _WIDTH - _RIGHT, log=True)
    up = Scale.over([*means, *([floor] if floor is not None else [])], _HEIGHT - _BOTTOM, _TOP)
    parts = [*_axes(across, up, facts), *_floor(up, floor), *_line(runs, across, up)]
    parts += [_dot(run, across, up) for run in runs]
    label = f"Quality against dollars for {facts['job']}"
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'


def front_picture(facts: dict[str, Any]) -> str:
    """The same as a file of its own, for pages that show pictures: light colours, its own style sheet."""
    namespaced = front_chart(facts).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    paper = f'<style>{_STYLE}</style><rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff" rx="8"/>'
    return namespaced.replace(">", f">{paper}", 1)


def _axes(across: Scale, up: Scale, facts: dict[str, Any]) -> list[str]:
    base, demand = _HEIGHT - _BOTTOM, facts["demand"]
    parts = [f'<path class="axis" d="M{_LEFT} {_TOP}V{base}H{_WIDTH - _RIGHT}"/>']
    for value in across.ticks():
        x = f"{across.at(value):.1f}"
        parts += [f'<path class="grid" d="M{x} {_TOP}V{base}"/>', _text("tick", x, base + 18, usd(value), "middle")]
    for value in up.ticks():
        y = up.at(value)
        parts += [
            f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>',
            _text("tick", _LEFT - 8, f"{y + 4:.1f}", f"{value:.4g}", "end"),
        ]
    title = f"total over {demand['days']:g} days and {demand['predictions']:,.0f} predictions"
    if facts["objective"] == "train":
        title = "one training"
    metric = _text("label", 14, 0, escape(facts["control"]["score"]["metric"]), "middle")
    return [
        *parts,
        _text("label", (_LEFT + _WIDTH) / 2, _HEIGHT - 8, title, "middle"),
        f'<g transform="translate(0 {(_TOP + base) / 2}) rotate(-90 14 0)">{metric}</g>',
    ]


def _text(kind: str, x: float | str, y: float | str, body: str, anchor: str) -> str:
    return f'<text class="{kind}" x="{x}" y="{y}" text-anchor="{anchor}">{body}</text>'


def _floor(up: Scale, floor: float | None) -> list[str]:
    if floor is None:
        return []
    y = up.at(floor)
    return [
        f'<path class="floor" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>',
        f'<text class="tick" x="{_WIDTH - _RIGHT}" y="{y - 5:.1f}" text-anchor="end">floor</text>',
    ]


def _line(runs: list[dict[str, Any]], across: Scale, up: Scale) -> list[str]:
    front = sorted((run for run in runs if run["on_front"]), key=lambda run: run["bill"]["total"]["usd"])
    points = [f"{across.at(run['bill']['total']['usd']):.1f} {up.at(run['score']['mean']):.1f}" for run in front]
    return [f'<path class="front" d="M{" L".join(points)}"/>'] if len(points) > 1 else []


def _dot(run: dict[str, Any], across: Scale, up: Scale) -> str:
    x, y = across.at(run["bill"]["total"]["usd"]), up.at(run["score"]["mean"])
    kind = "control" if run["is_control"] else "winner" if run["is_winner"] else "on" if run["on_front"] else "off"
    reach = run["score"]["se"]
    top, bottom = up.at(run["score"]["mean"] + reach), up.at(run["score"]["mean"] - reach)
    told = f"{run['plan']}: {usd(run['bill']['total']['usd'])}, {run['score']['metric']} {run['score']['mean']:.4g}"
    whisker = f'<path class="whisker" d="M{x:.1f} {max(top, _TOP):.1f}V{min(bottom, _HEIGHT - _BOTTOM):.1f}"/>'
    size = 8 if kind == "winner" else 6 if kind == "control" else 4.5
    return f'<g class="{kind}"><title>{escape(told)}</title>{whisker}<circle cx="{x:.1f}" cy="{y:.1f}" r="{size}"/></g>'
