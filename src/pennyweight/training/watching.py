"""Whether a training goes on: the person and the governor of its budget, forecast and floor are asked, and obeyed."""

from __future__ import annotations

import math
import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, final

from pennyweight.control.earlier import Earlier, curves_of
from pennyweight.control.effort import Effort
from pennyweight.control.halting import Goal, Governor, Tick, Why
from pennyweight.control.shapes import Curve
from pennyweight.core import Phase, Slack, higher_is_better

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from torch import nn

    from pennyweight.control.halting import Ahead, Decision
    from pennyweight.core import Cost, Score
    from pennyweight.train.how import Progress
    from pennyweight.training.receipts import Receipts

_TELL_S = 0.25
_MOST = 0.03  # of the time may go into forecasts
_BEFORE = {Why.REACHED: "The floor is reached: ", Why.HOPELESS: "", Why.BUDGET: "The budget is used: "}


@final
class Watching:
    """Watches one run from the first step to the last.

    `score` says how good a model is on the select split. `why` is the reason the run was stopped, empty while it goes
    on. A training that begins again from good weights (see `train.nursing`) is one run: its `step`s add up.
    """

    def __init__(self, receipts: Receipts, score: Callable[[nn.Module], Score], resumed: int) -> None:
        self.receipts, self._score = receipts, score
        self.asked = receipts.asked
        self.points = receipts.folder.curve(resumed)
        self.last: Score | None = None
        self.why = ""
        self.ahead: Ahead | None = None
        self._governor: Governor | None = None
        self._effort: Callable[[float], float] = float
        self._endings: list[Cost] = []
        self._told_s = self._thought_until = 0.0
        self._judged = self.step = resumed
        self._earlier_steps = 0
        self._interrupted = threading.Event()

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

    def _hear(self, number: int, _frame: Any) -> None:
        if self._interrupted.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._interrupted.set()

    @property
    def interrupted(self) -> bool:
        """Whether somebody asked to stop."""
        return self._interrupted.is_set()

    @property
    def curve(self) -> Curve | None:
        """The scores so far against what the steps were worth under the schedule; None without any."""
        found: list[tuple[float, float, float]] = []
        for step in sorted(self.points):
            at = self._effort(step)
            if at > (found[-1][0] if found else 0.0):
                found.append((at, *self.points[step]))
        if not found:
            return None
        x, y, se = zip(*found, strict=True)
        return Curve.of(x, y, se, rises=higher_is_better(self.asked.floor.metric))

    def keep_back(self, ending: Cost) -> None:
        """Keep back what ending the run took when it was tried."""
        self._endings.append(ending)

    def judge(self, model: nn.Module) -> float:
        """The score of a model on the select split, remembered for the curve."""
        self.last = self._score(model)
        return self.last.mean

    def __call__(self, at: Progress) -> bool:
        """Hear how the training goes; False to stop it."""
        begins_again = self._earlier_steps + at.step < self.step
        if begins_again:
            self._earlier_steps = self.step
        if begins_again or self._governor is None:
            self._governor = self._begun(self._earlier_steps + at.steps)
        self.step = self._earlier_steps + at.step
        new = self.last is not None and self._earlier_steps + at.judged > self._judged and at.judged == at.step
        if new:
            self._take_in()
        if time.perf_counter() - self._told_s > _TELL_S or new:
            self._tell(at)
        if self.interrupted:
            return self._stop("interrupted", "It was interrupted; its state is kept.")
        decision = self._decided(self._governor, at.loss, new=new)
        return decision is None or self._obey(decision)

    def _begun(self, steps: int) -> Governor:
        """The governor of this run, who knows what earlier runs of the job were like."""
        asked, shop = self.asked, self.receipts.shop
        floor, self._effort = asked.floor, Effort(asked.settings, steps)
        goal = Goal(
            steps,
            floor.threshold() if floor.slack is Slack.ABSOLUTE else None,
            higher_is_better(floor.metric),
            math.inf if asked.usd is None else asked.usd,
            math.inf if asked.wall_s is None else asked.wall_s,
            floor.confidence,
        )
        kept = curves_of(shop.ledger.entries(asked.job, phase=Phase.TRAIN), floor.metric)
        earlier = Earlier.of(kept, kept[-1].space, steps) if kept else None
        governor = Governor(goal, earlier=earlier, effort=self._effort)
        for ending in self._endings:
            governor.reserve(ending.usd, ending.wall_s)
        return governor

    def _take_in(self) -> None:
        score = self.last
        if score is None:
            return
        self._judged = self.step
        self.points[self._judged] = score.mean, score.se
        self.receipts.folder.add(self._judged, score.mean, score.se)
        self.receipts.flush_sometimes()

    def _decided(self, governor: Governor, loss: float, *, new: bool) -> Decision | None:
        """What the governor says of this step; it hears of a score if there is time to think, or it meets the floor."""
        spent, score = self.receipts.spent, self.last
        if not new or score is None or not (self._idle or self._meets(score)):
            return governor.tell(Tick(self.step, spent.usd, spent.wall_s, loss))
        began = time.perf_counter()
        decision = governor.tell(Tick(self.step, spent.usd, spent.wall_s, loss, score.mean, score.se))
        self._thought(began)
        return decision

    def _meets(self, score: Score) -> bool:
        floor = self.asked.floor
        return floor.slack is Slack.ABSOLUTE and floor.holds(score)

    def _tell(self, at: Progress) -> None:
        self._told_s = time.perf_counter()
        if self._idle and self._governor is not None:
            self.ahead = self._governor.ahead()
            self._thought(self._told_s)
        self.receipts.shop.watch(
            "training", at=at, score=self.last, spent=self.receipts.spent, ahead=self.ahead, asked=self.asked
        )

    @property
    def _idle(self) -> bool:
        return time.perf_counter() >= self._thought_until

    def _thought(self, began: float) -> None:
        ended = time.perf_counter()
        self._thought_until = ended + (ended - began) / _MOST

    def _obey(self, decision: Decision) -> bool:
        return self._stop(decision.why.value, _BEFORE[decision.why] + decision.reason, decision.numbers)

    def _stop(self, decision: str, reason: str, numbers: dict[str, float] | None = None) -> bool:
        if not self.why:
            self.why = reason
            self.receipts.decide(decision, reason, step=self.step, numbers=numbers or {})
        return False
