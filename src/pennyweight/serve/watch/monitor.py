"""What one process sees of one version: rows and answers pass by in constant time, and are looked at now and then."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from time import sleep
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.serve.watch.cbpe import Cbpe
from pennyweight.serve.watch.drift import drifts
from pennyweight.serve.watch.floor import Terms, Watched
from pennyweight.serve.watch.looks import Spending
from pennyweight.serve.watch.quality import right
from pennyweight.serve.watch.reference import Reference, flat
from pennyweight.serve.watch.seen import Seen, drawn
from pennyweight.serve.watch.window import Window
from pennyweight.store.team.alerts import Alert
from pennyweight.store.team.labels import Answer
from pennyweight.store.team.registry import PRODUCTION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pennyweight.serve.watch.seen import Passed, Passing
    from pennyweight.store.team.labels import Labelled
    from pennyweight.store.team.registry import Version

_SHOWN = 3
_TOGETHER, _TURN_S = 500, 1e-3


@dataclass(frozen=True, slots=True)
class Settings:
    """How a version is watched: rows of a window, rows of a first reference, chances of false alarms.

    `spending` is for looks at drift, of which there is one whenever a window is full and somebody looks; `floor` for
    labelled answers, `guessed` for those whose quality is estimated. `near`: how far from its label a value counts as
    right.
    """

    window: int = 500
    first: int = 2000
    spending: Spending = field(default_factory=Spending)
    floor: Terms = field(default_factory=Terms)
    guessed: Terms = field(default_factory=Terms)
    near: float = 0.0


@final
@dataclass(slots=True, eq=False)
class Monitor:
    """Watches a version whose answers are to be right at least as often as `least` says (None: nobody said).

    The event loop adds to `seen`; all else is done by one thread. `alias` is what production goes back by, "" where
    the version was asked for by its number.
    """

    version: Version
    reference: Reference | None = None
    least: float | None = None
    settings: Settings = field(default_factory=Settings)
    seen: Seen = field(default_factory=Seen)
    alias: str = PRODUCTION
    labelled: Watched | None = field(default=None, init=False)
    estimated: Watched | None = field(default=None, init=False)
    since_ns: int = field(default=0, init=False)  # the evidence is what came after that
    until_ns: int = field(default=0, init=False)  # labels that came until then are in the evidence
    missed: int = field(default=0, init=False)  # answers of the last take that there was no room for
    _cbpe: Cbpe | None = field(default=None, init=False)
    _window: Window = field(init=False)
    _rng: np.random.Generator | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Begin the evidence, and an empty window."""
        self.begin(0)
        self._open()

    def begin(self, since_ns: int) -> None:
        """Begin the evidence about the floor, with the labels that come after a moment."""
        self.since_ns = self.until_ns = since_ns
        self.labelled = None if self.least is None else Watched.begin(self.least, self.settings.floor)
        guesses = self.least is not None and self._calibrates
        self.estimated = Watched.begin(self.least, self.settings.guessed) if guesses and self.least else None

    def take(self, *, due: bool = True) -> tuple[tuple[NDArray[Any], NDArray[Any]] | None, list[Answer]]:
        """A window, if it is full and a look is due, and the answers to be kept; both begin anew.

        The first window of a version without a reference is always due.
        """
        passed = self.seen.take()
        self.missed = passed.missed
        self._window.add((rows, answers) for _, _, rows, answers in passed.requests if rows is not None)
        found = self._window.take() if due or self.reference is None else None
        return found, self._noted(passed)

    def look(self, window: tuple[NDArray[Any], NDArray[Any]]) -> tuple[Alert, ...]:
        """Alerts about a window; the first one becomes the reference if there is none."""
        if self.reference is None:
            self.reference = Reference.of(*window)
            self._open()
            return ()
        if self.estimated is not None:
            self._cbpe = self._cbpe or Cbpe.fit(self.reference)
            self.estimated = self.estimated.saw(self._cbpe.generous(window[1]))
        self._rng = self._rng or np.random.default_rng(0)
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

    @property
    def _calibrates(self) -> bool:
        reference = self.reference
        return reference is not None and reference.classes and reference.labels is not None

    def _noted(self, passed: Passed) -> list[Answer]:
        """The answers to be kept; between some of them the other threads of the process have their turn."""
        kept = [each for each in passed.requests if drawn(each[0], self.seen.keep)]
        notes: list[Answer] = []
        for first in range(0, len(kept), _TOGETHER):
            notes += all_noted(self.version, kept[first : first + _TOGETHER])
            sleep(_TURN_S if first + _TOGETHER < len(kept) else 0)
        return notes

    def _open(self) -> None:
        """Begin a window of rows like the reference's, or one that is to be the reference."""
        if self.reference is None:
            self._window = Window(self.settings.first)
        else:
            width = self.reference.rows.shape[1], self.reference.answers.shape[1]
            self._window = Window(self.settings.window, width)


def all_noted(version: Version, kept: Sequence[Passing]) -> list[Answer]:
    """The answers to some requests as they are kept, looked at together; see `noted`."""
    if not kept:
        return []
    told = [flat(answers) for *_, answers in kept]
    wide = told[0].shape[1]
    said, sure = _said(np.concatenate([each for each in told if each.shape[1] == wide]))
    rows = [
        (request, row, at_ns)
        for (request, at_ns, _, answers), each in zip(kept, told, strict=True)
        if each.shape[1] == wide
        for row in range(len(answers))
    ]
    return [
        Answer(*row, version.model, version.number, a, b)
        for row, a, b in zip(rows, said, sure, strict=True)
        if isfinite(a) and isfinite(b)
    ]


def noted(version: Version, request: str, at_ns: int, answers: NDArray[Any]) -> list[Answer]:
    """Answers (B, …) as they are kept: the class and its probability, or a value and -1; only those that are finite."""
    return all_noted(version, [(request, at_ns, None, answers)])


def _said(told: NDArray[Any]) -> tuple[list[float], list[float]]:
    """What answers (N, K) say, and how sure they are of it."""
    if told.shape[1] > 1:
        best = told.argmax(axis=1)
        return best.astype(float).tolist(), told[np.arange(len(told)), best].astype(float).tolist()
    return told[:, 0].astype(float).tolist(), [-1.0] * len(told)
