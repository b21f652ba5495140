"""What one process sees of one version: rows and answers pass by in constant time, and are looked at now and then."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.serve.watch import floor
from pennyweight.serve.watch.cbpe import Cbpe
from pennyweight.serve.watch.drift import drifts
from pennyweight.serve.watch.floor import Watched
from pennyweight.serve.watch.looks import Spending
from pennyweight.serve.watch.quality import right
from pennyweight.serve.watch.reference import Reference, flat
from pennyweight.store.team.alerts import Alert
from pennyweight.store.team.labels import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pennyweight.store.team.labels import Labelled
    from pennyweight.store.team.registry import Version

_MOST_NOTES = 10_000  # answers that wait to be kept; what comes then is not kept, and its labels join nothing
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Settings:
    """How a version is watched: rows of a window, rows of a first reference, chances of false alarms.

    `spending` is for looks at drift, of which there is one whenever a window is full and somebody looks; `floor` for
    labelled answers. `near`: how far from its label a value counts as right. `keep`: the share of answers that are
    kept so that labels can be joined.
    """

    window: int = 500
    first: int = 2000
    spending: Spending = field(default_factory=Spending)
    floor: floor.Terms = field(default_factory=floor.Terms)
    near: float = 0.0
    keep: float = 1.0


@final
@dataclass(slots=True, eq=False)
class Monitor:
    """Watches a version whose answers are to be right at least as often as `least` says (None: nobody said).

    `saw` and `take` belong to the event loop, `look` and `learn` to one thread; they share nothing that both change.
    """

    version: Version
    reference: Reference | None = None
    least: float | None = None
    settings: Settings = field(default_factory=Settings)
    labelled: Watched | None = field(default=None, init=False)
    estimated: Watched | None = field(default=None, init=False)
    until_ns: int = field(default=0, init=False)  # labels that came until then are in the evidence
    _cbpe: Cbpe | None = field(default=None, init=False)
    _rows: list[NDArray[Any]] = field(default_factory=list, init=False)
    _answers: list[NDArray[Any]] = field(default_factory=list, init=False)
    _notes: list[Answer] = field(default_factory=list, init=False)
    _held: int = field(default=0, init=False)
    _rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0), init=False)

    def __post_init__(self) -> None:
        """Begin the evidence about the floor, and calibrate where the reference has labels."""
        if self.least is not None:
            self.labelled = Watched.begin(self.least, self.settings.floor)
        reference = self.reference
        if reference is not None and reference.classes and reference.labels is not None:
            self._cbpe = Cbpe.fit(reference)
            self.estimated = None if self.least is None else Watched.begin(self.least, self.settings.floor)

    def saw(self, request: str, at_ns: int, rows: NDArray[Any], answers: NDArray[Any]) -> None:
        """Remember the rows (B, …) of a request and the answers (B, …) to them, while there is room."""
        if self._held < max(self.settings.window, self.settings.first):
            self._rows.append(rows)
            self._answers.append(answers)
            self._held += len(rows)
        if len(self._notes) < _MOST_NOTES and _drawn(request, self.settings.keep):
            self._notes.extend(noted(self.version, request, at_ns, answers))

    def take(self, *, due: bool = True) -> tuple[tuple[NDArray[Any], NDArray[Any]] | None, list[Answer]]:
        """The window, if it is full and a look is due, and the answers to be kept; both begin anew."""
        notes, self._notes = self._notes, []
        if not due or self._held < (self.settings.first if self.reference is None else self.settings.window):
            return None, notes
        rows, answers, self._rows, self._answers, self._held = self._rows, self._answers, [], [], 0
        return (flat(np.concatenate(rows)), flat(np.concatenate(answers))), notes

    def look(self, window: tuple[NDArray[Any], NDArray[Any]]) -> tuple[Alert, ...]:
        """Alerts about a window; the first one becomes the reference if there is none."""
        if self.reference is None:
            self.reference = Reference.of(*window)
            return ()
        if self._cbpe is not None and self.estimated is not None:
            self.estimated = self.estimated.saw(self._cbpe.generous(window[1]))
        findings = [each for each in drifts(self.reference, window, self.settings.spending, self._rng) if each.drifted]
        if not findings:
            return ()
        more = f" and {len(findings) - _SHOWN} more" if len(findings) > _SHOWN else ""
        text = f"{self.version}: {'; '.join(map(str, findings[:_SHOWN]))}{more}"
        return (Alert(self.version.model, self.version.number, "drift", text, findings[0].statistic),)

    def learn(self, seen: Sequence[Labelled], until_ns: int) -> None:
        """Take in answers whose labels came until a moment."""
        self.until_ns = until_ns
        if self.labelled is not None and seen:
            self.labelled = self.labelled.saw(right(seen, self.settings.near))

    @property
    def evidence(self) -> tuple[Watched, ...]:
        """What there is about the floor, by labels first."""
        return tuple(each for each in (self.labelled, self.estimated) if each is not None)


def noted(version: Version, request: str, at_ns: int, answers: NDArray[Any]) -> list[Answer]:
    """Answers (B, …) as they are kept: the class and its probability, or a value; others are not kept."""
    told = flat(answers)
    if told.shape[1] > 1:
        said, sure = told.argmax(axis=1).astype(float), told.max(axis=1).astype(float)
    else:
        said, sure = told[:, 0].astype(float), np.full(len(told), -1.0)
    rows = enumerate(zip(said.tolist(), sure.tolist(), strict=True))
    return [Answer(request, row, at_ns, version.model, version.number, a, b) for row, (a, b) in rows]


def _drawn(request: str, share: float) -> bool:
    """Whether a request is among those kept: the same for the same name."""
    from zlib import crc32

    return share >= 1 or crc32(request.encode()) < share * 2**32
