"""What may be tried: numbers of so many bits, in groups, by a method; planned from heads alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from pennyweight.engine.shrinking import Calibration, Plan, Wish, plan
from pennyweight.engine.shrinking.wish import METHODS
from pennyweight.errors import PennyweightError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EFFORT = ("rtn", "hqq", "awq", "gptq")  # what takes least first
_GROUPS = (128, 64, 32)
_FINE = 32
_AVERAGES = ("4.5", "5.5")  # bits of a weight, where layers get 4 or 8


@final
@dataclass(frozen=True, slots=True)
class Candidate:
    """Weights rounded `to` numbers, `group` of which share a scale, by a `method`.

    With `among` several kinds, `to` is how many bits a weight has on average, and each layer gets one of them.
    """

    to: str
    group: int | None
    method: str
    among: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """As it is called on screen, and its folder."""
        kind = f"mixed{self.to}" if self.among else self.to
        return f"{kind}{'' if self.group is None else f'-g{self.group}'}-{self.method}"

    @property
    def grid(self) -> tuple[str, int | None]:
        """What it shares with candidates of other methods."""
        return self.to, self.group

    def plan(self, folder: Path, calibration: Calibration) -> Plan:
        """What will be written; raises what `shrinking.plan` raises for what cannot be done."""
        if self.among:
            wish = Wish(self.to, self.group, method=self.method, calibration=calibration, among=self.among)
            return plan(folder, wish)
        text = calibration if METHODS[self.method] else None
        return plan(folder, Wish(self.to, self.group, method=self.method, calibration=text))


@final
@dataclass(frozen=True, slots=True)
class Planned:
    """A candidate and what will be written of it."""

    candidate: Candidate
    plan: Plan

    @property
    def name(self) -> str:
        """The candidate's."""
        return self.candidate.name


@final
@dataclass(frozen=True, slots=True)
class Skipped:
    """What was not tried, or not to the end, and why."""

    name: str
    why: str


def planned(folder: Path, calibration: Calibration) -> tuple[list[Planned], list[Skipped]]:
    """Every candidate that can be made of the checkpoint in `folder`, and those that cannot.

    Raises what `shrinking.plan` raises where not even whole numbers of 8 bits to nearest can be made.
    """
    group = _group(folder)
    found, skipped = list[Planned](), list[Skipped]()
    for each in _all(group):
        try:
            found.append(Planned(each, each.plan(folder, calibration)))
        except PennyweightError as error:
            skipped.append(Skipped(each.name, error.problem.rstrip(".")))
    return found, skipped


def _group(folder: Path) -> int:
    """The most weights that can share a scale in all layers."""
    for group in _GROUPS[:-1]:
        try:
            kept = plan(folder, Wish("int8", group)).choice.kept.values()
        except PennyweightError:
            continue
        if not any("no multiple" in why for why in kept):
            return group
    plan(folder, Wish("int8", _GROUPS[-1]))
    return _GROUPS[-1]


def _all(group: int) -> Iterator[Candidate]:
    for method in EFFORT:
        yield Candidate("int3", group, method)
    yield Candidate("mxfp4", None, "rtn")
    for size in dict.fromkeys((group, _FINE)):
        for method in EFFORT:
            yield Candidate("int4", size, method)
    for bits in _AVERAGES:
        yield Candidate(bits, group, "gptq", ("int4", "int8"))
    yield Candidate("int8", group, "rtn")
