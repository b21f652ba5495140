"""What came of a search, as values; `facts` is all of it, for JSON and the report."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any, final

from pennyweight.optimizing.checkpoints.pricing import MILLION, Price, cheapest
from pennyweight.optimizing.checkpoints.trying import CONTROL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pennyweight.core import Floor
    from pennyweight.optimizing.checkpoints.asking import Load
    from pennyweight.optimizing.checkpoints.candidates import Skipped
    from pennyweight.optimizing.checkpoints.certifying import Tested
    from pennyweight.optimizing.checkpoints.trying import Tried


@final
@dataclass(frozen=True, slots=True)
class Bill:
    """What finding took: dollars, seconds of cores, seconds on the clock, joules."""

    usd: float
    cpu_s: float
    wall_s: float
    joule: float


@final
@dataclass(frozen=True, slots=True)
class Judged:
    """The text: tokens used in all, those that select and certify, its SHA-256; the original's perplexity on it."""

    tokens: int
    select: int
    certify: int
    sha256: str
    perplexity: float


@final
@dataclass(frozen=True, slots=True)
class Result:
    """What was found; the answer is a checkpoint with a price, the original's where nothing better is certified."""

    folder: Path
    fingerprint: str
    byte: int
    floor: Floor
    devices: tuple[str, ...]
    load: Load
    text: Judged
    tried: tuple[Tried, ...]
    skipped: tuple[Skipped, ...]
    prices: Mapping[str, Sequence[Price]]
    tests: tuple[Tested, ...]
    search: Bill
    out: Path | None = None

    @property
    def passed(self) -> dict[str, Tested]:
        """The tests that were passed, by candidate."""
        return {each.name: each for each in self.tests if each.passed}

    def answer(self, device: str | None = None) -> tuple[str, Price] | None:
        """The cheapest way that is certified, or needs no certificate because it is the original; None without any."""
        names = (CONTROL, *self.passed)
        ways = [(name, each) for name in names for each in self.prices[name] if device in {None, each.device}]
        best = cheapest(each for _, each in ways)
        return next((way for way in ways if way[1] is best), None)

    def control(self, device: str) -> Price | None:
        """The original's price on a device, as anybody would serve it: the first runtime that it is priced for."""
        return next((each for each in self.prices[CONTROL] if each.device == device), None)

    @property
    def kept(self) -> tuple[str, Price] | None:
        """The way whose checkpoint is written: the answer, or where that is the original, what saves most elsewhere."""
        found = [way for device in (None, *self.devices) if (way := self.answer(device)) and way[0] != CONTROL]
        if found and found[0] == self.answer():
            return found[0]
        return min(found, key=lambda way: way[1].usd / self._before(way[1]), default=None)

    @property
    def winner(self) -> str:
        """The checkpoint that is written, or the original."""
        return self.kept[0] if self.kept else CONTROL

    @property
    def held(self) -> bool:
        """Whether a candidate is certified, and on some device the cheapest."""
        return self.kept is not None

    @property
    def saving(self) -> float:
        """The share of the original's price that is saved on the device of what is kept, or of the answer."""
        found = self.kept or self.answer()
        return 1 - found[1].usd / self._before(found[1]) if found else 0.0

    @property
    def break_even_tokens(self) -> float | None:
        """Generated tokens after which the search has paid for itself; None if nothing is saved."""
        found = self.kept or self.answer()
        if found is None or self.saving <= 0:
            return None
        return self.search.usd / (self._before(found[1]) - found[1].usd) * MILLION

    def _before(self, price: Price) -> float:
        """The original's price on the same device; infinite where it does not fit."""
        before = self.control(price.device)
        return before.usd if before else float("inf")

    @property
    def least_give_up(self) -> tuple[str, float] | None:
        """What would have to be given up, at the least, for a candidate that was read to its end, by its interval."""
        whole = [(each.name, each.seen.high) for each in self.tried if each.seen.whole and each.seen.high > 0]
        return min(whole, key=itemgetter(1)) if whole else None

    def facts(self) -> dict[str, Any]:
        """All of it, for JSON."""
        found = self.answer()
        return {
            "folder": str(self.folder),
            "fingerprint": self.fingerprint,
            "byte": self.byte,
            "floor": {"metric": "perplexity", "give_up": self.floor.amount, "confidence": self.floor.confidence},
            "devices": list(self.devices),
            "load": asdict(self.load),
            "text": asdict(self.text),
            "original": {"prices": [each.facts() for each in self.prices[CONTROL]]},
            "tried": [self._tried(each) for each in self.tried],
            "skipped": [asdict(each) for each in self.skipped],
            "held": self.held,
            "answer": {"name": found[0], **found[1].facts()} if found else None,
            "answers": [{"name": way[0], **way[1].facts()} for each in self.devices if (way := self.answer(each))],
            "saving": self.saving,
            "kept": {"name": self.kept[0], **self.kept[1].facts()} if self.kept else None,
            "certificate": asdict(self.passed[self.winner]) if self.held else None,
            "search": asdict(self.search),
            "break_even_tokens": self.break_even_tokens,
            "least_give_up": dict([self.least_give_up]) if self.least_give_up else None,
            "out": str(self.out) if self.out else None,
        }

    def _tried(self, each: Tried) -> dict[str, Any]:
        test = next((test for test in self.tests if test.name == each.name), None)
        candidate = each.planned.candidate
        return {
            "name": each.name,
            "to": candidate.to,
            "group": candidate.group,
            "method": candidate.method,
            "byte": each.planned.plan.byte,
            **asdict(each.seen),
            "why": each.why or self._fell(each.name, test),
            "prices": [price.facts() for price in self.prices.get(each.name, ())],
            "test": {**asdict(test), "passed": test.passed} if test else None,
            "certified": bool(test and test.passed),
            "winner": each.name == self.winner,
        }

    def _fell(self, name: str, test: Tested | None) -> str:
        """Why a hopeful one is not what is kept; empty if it is."""
        if name == self.winner:
            return ""
        if test is None:
            return "not tested: another that is surer costs no more, or one before it failed"
        if test.passed:
            return "certified, but not the cheapest"
        more = f"; about {test.needed:,} tokens would be enough" if test.needed else ""
        return f"not certain on fresh text (p = {test.p_value:.2g}){more}"
