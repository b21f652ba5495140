"""Candidates one after the other, the most promising first: written, read beside the original, kept or struck."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from itertools import starmap
from typing import TYPE_CHECKING, final

import numpy as np

from pennyweight.core import Phase
from pennyweight.cost.meter import meter
from pennyweight.engine.booking import book
from pennyweight.engine.shrinking import shrink
from pennyweight.errors import CorruptError, PennyweightError, StorageError
from pennyweight.optimizing.checkpoints.candidates import EFFORT, Planned, Skipped
from pennyweight.optimizing.checkpoints.judging import Seen, far_beyond, seen
from pennyweight.optimizing.checkpoints.promising import Promise, promised
from pennyweight.optimizing.checkpoints.reading import Reader
from pennyweight.optimizing.checkpoints.work import Spent
from pennyweight.store.checkpoints.journal import FACTS, JOURNAL
from pennyweight.units import percent, si, usd

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from pennyweight.engine.quality.text import Text
    from pennyweight.optimizing.checkpoints.scene import Scene
    from pennyweight.optimizing.checkpoints.work import Work

    Losses = NDArray[np.float64]

CONTROL = "original"
_SUREST = "int8"  # always tried: to fall back on, and where bytes say little of seconds
_BEYOND_HELP = 12.0  # times the floor, by rounding to nearest: no other method here takes off so much


@final
@dataclass(frozen=True, slots=True)
class Tried:
    """A candidate, what was promised of it and what was seen."""

    planned: Planned
    promise: Promise
    seen: Seen

    @property
    def name(self) -> str:
        """The candidate's."""
        return self.planned.name

    @property
    def why(self) -> str:
        """Why it fell out; empty while it may keep the floor."""
        if self.seen.hopeful:
            return ""
        where = "" if self.seen.whole else f" on the first {self.seen.tokens:,} tokens, and no more were read"
        return f"perplexity rises by {percent(self.seen.rise)}{where}"


@final
class Trials:
    """Carries candidates out in the work folder; what was measured before is not measured again."""

    def __init__(self, scene: Scene, work: Work) -> None:
        self._scene, self._work = scene, work
        self._control = self._read_control()
        self.tried: list[Tried] = []
        self.skipped: list[Skipped] = []

    @property
    def perplexity(self) -> float:
        """The original's, on the tokens that select."""
        return float(np.exp(np.concatenate(self._control).mean()))

    def run(self, candidates: Sequence[Planned]) -> None:
        """Try them in the order of what they promise, until the limits end it."""
        queue = [(promised(each, self._scene), each) for each in candidates]
        queue.sort(key=lambda pair: (pair[0].share, EFFORT.index(pair[1].candidate.method)))
        for promise, each in queue:
            if why := self._not_worth(each, promise) or self._over():
                self.skipped.append(Skipped(each.name, why))
                continue
            self._try(each, promise)
        for why in dict.fromkeys(each.why for each in self.skipped):
            names = ", ".join(each.name for each in self.skipped if each.why == why)
            self._scene.watch("struck", text=f"not tried: {why}: {names}")

    def _try(self, planned: Planned, promise: Promise) -> None:
        """Try one; what cannot be carried out is left out, unless nothing can be written any more."""
        try:
            found = Tried(planned, promise, self._seen(planned))
        except StorageError:
            raise
        except PennyweightError as error:
            self.skipped.append(Skipped(planned.name, error.problem.rstrip(".")))
            return
        self.tried.append(found)
        self._scene.watch("note", text=_told(found))

    def made(self, planned: Planned) -> Path:
        """The folder of a candidate, written if it is not there; what was begun goes on."""
        to = self._work.place / planned.name
        begun = (to / JOURNAL).exists()
        if (to / FACTS).exists() and not begun:
            return to
        if to.exists() and not begun:
            shutil.rmtree(to)
        whole, done = planned.plan.source.byte, 0

        def hear(byte: int) -> None:
            nonlocal done
            done += byte
            self._scene.watch("writing", text=f"{planned.name} {min(1, done / max(1, whole)):.0%}")

        receipt = shrink(planned.plan, to, resume=begun, watch=hear)
        what = f"write {planned.name}"
        self._work.spend(Spent(what, receipt.cpu_s, receipt.seconds, receipt.joule, receipt.peak_byte))
        return to

    def read(self, name: str, folder: Callable[[], Path], texts: dict[str, Text]) -> list[Losses]:
        """The losses of a checkpoint on each of `texts`, as far as they are known; else it is opened and reads."""
        known = [self._work.losses(f"{name}-{part}") for part in texts]
        found = [each for each in known if each is not None]
        if len(found) == len(texts):
            return found
        with self._opened(name, folder()) as reader:
            return list(starmap(reader.losses, texts.items()))

    def _read_control(self) -> tuple[Losses, Losses]:
        parts = self._scene.parts
        texts = {"opening": parts.opening, "rest": parts.rest}
        opening, rest = self.read(CONTROL, lambda: self._scene.ask.folder, texts)
        return opening, rest

    def _seen(self, planned: Planned) -> Seen:
        """What is seen of a candidate: first on the opening, then on the rest if there is hope."""
        name, parts, floor = planned.name, self._scene.parts, self._scene.ask.floor
        first = self._work.losses(f"{name}-opening")
        rest = self._work.losses(f"{name}-rest")
        if first is None or (rest is None and not far_beyond((self._control[0], first), parts.opening.owners, floor)):
            with self._opened(name, self.made(planned)) as reader:
                first = reader.losses("opening", parts.opening)
                if not far_beyond((self._control[0], first), parts.opening.owners, floor):
                    rest = reader.losses("rest", parts.rest)
        if rest is None:
            found = seen((self._control[0], first), parts.opening.owners, floor, whole=False)
        else:
            both = np.concatenate(self._control), np.concatenate([first, rest])
            found = seen(both, parts.select, floor, whole=True)
        if not found.hopeful:
            shutil.rmtree(self._work.place / name, ignore_errors=True)
        return found

    def _opened(self, name: str, folder: Path) -> _Sitting:
        return _Sitting(name, folder, self._scene, self._work)

    def _not_worth(self, planned: Planned, promise: Promise) -> str:
        """Why a candidate is not tried; empty if it is."""
        if not promise.saves:
            return f"nothing among {', '.join(self._scene.ask.devices)} would serve it for less"
        for each in self.tried:
            promised_more = each.promise.share > promise.share or planned.candidate.to == _SUREST
            if each.seen.clear and not promised_more:
                return f"{each.name} clearly keeps the floor and is promised to cost no more"
            same = each.planned.candidate.grid == planned.candidate.grid
            if same and each.planned.candidate.method == "rtn" and self._beyond_help(each.seen):
                return f"{each.name} raises perplexity by {percent(each.seen.rise)}, too much for any method to mend"
        return ""

    def _beyond_help(self, found: Seen) -> bool:
        floor = self._scene.ask.floor.amount
        return floor > 0 and found.low > _BEYOND_HELP * floor

    def _over(self) -> str:
        """Why nothing more is tried; empty if there is room under the limits."""
        limits, spent = self._scene.ask.limits, self._work.spent
        if limits.trials is not None and len(self.tried) >= limits.trials:
            return f"{limits.trials} were tried, as many as was allowed"
        if limits.usd is not None and self._scene.usd(spent) >= limits.usd:
            return f"the budget of {usd(limits.usd)} is spent"
        if limits.wall_s is not None and sum(each.wall_s for each in spent) >= limits.wall_s:
            return "the time is over"
        return ""


@final
class _Sitting:
    """A checkpoint that is open and reads; what that takes is measured, booked and counted when it ends."""

    def __init__(self, name: str, folder: Path, scene: Scene, work: Work) -> None:
        self._name, self._folder, self._scene, self._work = name, folder, scene, work
        self._window, self._read = meter(), list[str]()

    def __enter__(self) -> _Sitting:
        self._window.__enter__()
        try:
            self._scene.watch("opening", text=self._name)
            self._reader = Reader.at(self._folder, self._scene.windows)
        except BaseException:
            self._window.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *error: object) -> None:
        del self._reader
        self._window.__exit__(None, None, None)
        measured, read = self._window.measured, " and ".join(self._read) or "nothing"
        self._work.spend(Spent.of(f"{self._name} reads {read}", measured))
        book(f"optimize {self._scene.name}", Phase.FIND, measured, f"{self._name} reads {read}", {})

    def losses(self, part: str, text: Text) -> Losses:
        """The losses of one part, kept; not read again if they are known."""
        known = self._work.losses(f"{self._name}-{part}")
        if known is not None and len(known) == text.scored:
            return known
        found = self._reader.losses(
            text, lambda share: self._scene.watch("reading", text=f"{self._name} {part} {share:.0%}")
        )
        if len(found) != text.scored:
            raise CorruptError("A part of the text was not read to its end.", "run the same again.")
        self._work.keep(f"{self._name}-{part}", found)
        self._read.append(f"{text.scored:,} tokens")
        return found


def _told(found: Tried) -> str:
    rise, how = found.seen, "may keep the floor" if found.seen.hopeful else found.why
    if found.seen.hopeful:
        how = f"perplexity {percent(rise.rise)} higher ({percent(rise.low)} to {percent(rise.high)}): {how}"
    return f"{found.name}, {si(found.planned.plan.byte, 'B')}: {how}"
