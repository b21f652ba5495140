"""Whether a healing goes on: the person, the governor of its budget and who judges it are asked, and obeyed."""

from __future__ import annotations

import math
import signal
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from pennyweight.control.halting import Goal, Governor, Tick

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from pennyweight.core import Cost
    from pennyweight.train.how import Progress
    from pennyweight.training.healing.asking import Asked
    from pennyweight.training.healing.judging import Judging
    from pennyweight.training.healing.spending import Spending

    Watch = Callable[["Now"], None]

_TELL_S = 0.25


@final
@dataclass(frozen=True, slots=True)
class Now:
    """How far a healing is: `stage` is what is done, `share` how far that is.

    While it learns, also the mini-batch's `loss`, the `perplexity` of the student on what is held out when it was last
    judged beside that of the `teacher`, the dollars spent so far and the seconds that are left.
    """

    stage: str
    share: float = 0.0
    loss: float = math.nan
    perplexity: float = math.nan
    teacher: float = math.nan
    usd: float = math.nan
    left_s: float = math.nan


@final
class Watching:
    """Watches from the first step to the last; `why` is the reason it was stopped for, empty while it goes on."""

    def __init__(self, asked: Asked, judging: Judging, spending: Spending, teacher: float, tell: Watch) -> None:
        self._asked, self._judging, self._spending = asked, judging, spending
        self._teacher, self._watch = math.exp(teacher), tell
        self._governor: Governor | None = None
        self._ending: Cost | None = None
        self._told_s = 0.0
        self.why = ""
        self._interrupted = threading.Event()

    @property
    def interrupted(self) -> bool:
        """Whether somebody asked to stop."""
        return self._interrupted.is_set()

    def keep_back(self, ending: Cost) -> None:
        """Keep back what judging the student once took."""
        self._ending = ending

    @contextmanager
    def listening(self) -> Generator[None]:
        """Take the first Ctrl-C (or a polite request to end) as a wish to stop after the next step."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        kinds = (signal.SIGINT, signal.SIGTERM)
        before = {kind: signal.signal(kind, self._hear) for kind in kinds}
        try:
            yield
        finally:
            for kind, handler in before.items():
                signal.signal(kind, handler)

    def __call__(self, at: Progress) -> bool:
        """Hear of a step; False to stop."""
        governor = self._governor = self._governor or self._begun(at.steps)
        spent = self._spending.spent
        decision = governor.tell(Tick(at.step, spent.usd, spent.wall_s, at.loss))
        if time.perf_counter() - self._told_s > _TELL_S:
            self._tell(at, governor)
        if self.interrupted:
            self.why = "It was interrupted; its state is kept."
        elif self._judging.tired:
            self.why = "Perplexity on what is held out no longer fell."
        elif decision is not None:
            self.why = f"The budget is used: {decision.reason}"
        return not self.why

    def _hear(self, number: int, _frame: Any) -> None:
        if self._interrupted.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._interrupted.set()

    def _begun(self, steps: int) -> Governor:
        asked, ending = self._asked, self._ending
        limits = [math.inf if limit is None else limit for limit in (asked.usd, asked.wall_s)]
        governor = Governor(Goal(steps, usd=limits[0], wall_s=limits[1]))
        if ending is not None:
            governor.reserve(ending.usd, ending.wall_s)
        spent = self._spending.spent
        governor.tell(Tick(0, spent.usd, spent.wall_s, math.nan))
        return governor

    def _tell(self, at: Progress, governor: Governor) -> None:
        self._told_s = time.perf_counter()
        left_s, loss = governor.ahead().wall_s.mean, self._judging.points[-1][1]
        now = (at.loss, math.exp(min(loss, 700.0)), self._teacher, self._spending.spent.usd, left_s)
        self._watch(Now("learning", at.step / at.steps, *now))
