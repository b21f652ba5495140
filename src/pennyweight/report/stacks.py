"""Stacked bars as SVG: what a whole is made of, one bar for each thing compared, and how much room there is."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_WIDTH, _LEFT, _RIGHT, _BAR, _GAP, _LINE, _KEYS = 760, 180, 90, 24, 14, 20, 4
_COLOURS = 9  # of the style sheet; the last one is for what is too little to tell apart
_LEAST = 0.01  # of a bar
REST = "the rest"


@dataclass(frozen=True, slots=True)
class Bar:
    """A whole by its parts; `high` is the most it may be, `room` what there is for it (None: neither is shown)."""

    name: str
    parts: Mapping[str, float]
    high: float | None = None
    room: float | None = None

    @property
    def whole(self) -> float:
        """All parts together."""
        return sum(self.parts.values())


def stacks(bars: Sequence[Bar], tell: Callable[[float], str], name: str, title: str, *, shares: bool = False) -> str:
    """The SVG of `bars`, values told by `tell`; `name` makes its ids unique on a page, `title` says what it shows.

    With `shares` all bars are as long as each other, otherwise as their wholes are.
    """
    ends = [bar.whole if shares else max(bar.whole, bar.high or 0.0, bar.room or 0.0) for bar in bars]
    scales = [(_WIDTH - _LEFT - _RIGHT) / (end if shares else max(ends)) for end in ends]
    kept = told_apart(bars)
    drawn = [part for at, bar in enumerate(bars) for part in _bar(bar, at, kept, (scales[at], tell))]
    top = len(bars) * (_BAR + _GAP) + _GAP
    drawn += [part for at, part_name in enumerate(kept) for part in _key(part_name, at, kept, top)]
    height = top + -(-len(kept) // _KEYS) * _LINE + _GAP
    said = "; ".join(f"{bar.name}: {tell(bar.whole)}" for bar in bars)
    head = f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(said)}</desc>'
    labels = f'role="img" aria-labelledby="{name}-title {name}-desc"'
    return f'<svg viewBox="0 0 {_WIDTH} {height}" {labels}>{head}{"".join(drawn)}</svg>'


def told_apart(bars: Sequence[Bar]) -> list[str]:
    """The parts that get a colour of their own, in their order: the largest, and one colour for all others."""
    names = list(dict.fromkeys(name for bar in bars for name, value in bar.parts.items() if value > 0))
    most = {name: max(bar.parts.get(name, 0.0) / bar.whole for bar in bars) for name in names}
    large = [name for name in names if most[name] > _LEAST]
    if len(large) == len(names) and len(names) <= _COLOURS:
        return names
    chosen = set(sorted(large, key=lambda name: -most[name])[: _COLOURS - 1])
    return [*(name for name in names if name in chosen), REST]


def _bar(bar: Bar, at: int, kept: list[str], drawing: tuple[float, Callable[[float], str]]) -> list[str]:
    scale, tell = drawing
    y, x = _GAP + at * (_BAR + _GAP), float(_LEFT)
    drawn = [f'<text class="label" x="{_LEFT - 8}" y="{y + 16}" text-anchor="end">{escape(bar.name)}</text>']
    shown = {name: bar.parts.get(name, 0.0) for name in kept if name != REST}
    if REST in kept:
        shown[REST] = bar.whole - sum(shown.values())
    for name, value in shown.items():
        if value > 0:
            said = f"{bar.name}, {plain(name)}: {tell(value)}"
            box = f'x="{x:.1f}" y="{y}" width="{value * scale:.1f}" height="{_BAR}"'
            drawn.append(f'<rect class="{_colour(name, kept)}" {box}><title>{escape(said)}</title></rect>')
            x += value * scale
    drawn += _ends(bar, y, scale, tell)
    edge = max(x, _LEFT + max(bar.high or 0.0, bar.room or 0.0) * scale)
    return [*drawn, f'<text x="{edge + 6:.1f}" y="{y + 16}">{escape(tell(bar.whole))}</text>']


def _ends(bar: Bar, y: int, scale: float, tell: Callable[[float], str]) -> list[str]:
    """The upper end as a whisker, and the room as a dashed line."""
    drawn = []
    if bar.high is not None:
        start, end, middle = _LEFT + bar.whole * scale, _LEFT + bar.high * scale, y + _BAR / 2
        path = f"M{start:.1f} {middle}H{end:.1f}M{end:.1f} {y + 5}V{y + _BAR - 5}"
        drawn.append(f'<path class="whisker" d="{path}"><title>at most {escape(tell(bar.high))}</title></path>')
    if bar.room is not None:
        x = _LEFT + bar.room * scale
        told = f"<title>there is {escape(tell(bar.room))}</title>"
        drawn.append(f'<path class="floor" d="M{x:.1f} {y - 5}V{y + _BAR + 5}">{told}</path>')
    return drawn


def _key(name: str, at: int, kept: list[str], top: int) -> list[str]:
    x, y = _LEFT + at % _KEYS * 145, top + at // _KEYS * _LINE
    return [
        f'<rect class="{_colour(name, kept)}" x="{x}" y="{y}" width="11" height="11"/>',
        f'<text x="{x + 16}" y="{y + 10}">{escape(plain(name))}</text>',
    ]


def _colour(name: str, kept: list[str]) -> str:
    return f"part{_COLOURS - 1 if name == REST else kept.index(name)}"


def plain(name: str) -> str:
    """A part's name as people write it."""
    return name.replace("_", " ")
