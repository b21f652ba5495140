"""The screen of a training: loss, quality, dollars, the forecast of both, time left."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Self, final

from rich.console import Console
from rich.live import Live
from rich.text import Text

from pennyweight.core import higher_is_better
from pennyweight.units import percent, seconds, usd

if TYPE_CHECKING:
    from types import TracebackType

_REACH = 1.96


@final
class TrainingScreen:
    """A watcher of the shop that shows how a training goes, on standard error."""

    def __init__(self, job: str) -> None:
        self._job = job
        self._console = Console(stderr=True, highlight=False)
        self._live = Live(Text(f"{job}: starting"), console=self._console, refresh_per_second=4, transient=True)
        self._judged = 0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live.is_started:
            self._live.stop()

    def __call__(self, event: str, **facts: Any) -> None:
        """Show an event of the training."""
        if event == "training":
            self._live.update(Text(f"{self._job}: {now(**facts)}"))
            if facts["at"].judged > self._judged:
                self._judged = facts["at"].judged
                self._console.print(Text(f"  {now(**facts)}"), soft_wrap=True)
        elif "text" in facts and facts.get("decision") != "finished":
            self._console.print(Text(f"  {facts['text']}", style="dim"), soft_wrap=True)


def now(*, at: Any, score: Any, spent: Any, ahead: Any, asked: Any) -> str:
    """Where a training is, in one line."""
    metric = score.metric if score is not None else ""
    parts = [f"step {at.step} of {at.steps}", f"loss {at.loss:.4g}"]
    if score is not None:
        parts.append(f"{metric} {_number(metric, score.mean)} ± {_number(metric, _REACH * score.se)}")
    limit = f" of {usd(asked.usd)}" if asked.usd else ""
    parts.append(f"{usd(spent.usd)}{limit}")
    if ahead is not None:
        if ahead.score is not None:
            ends = (ahead.score.mean, ahead.score.low, ahead.score.high)
            middle, low, high = (_number(metric, each) for each in ends)
            parts.append(f"at the end {middle} ({low} to {high})")
        if not math.isnan(ahead.usd.mean):
            middle, low, high = (usd(spent.usd + each) for each in (ahead.usd.mean, ahead.usd.low, ahead.usd.high))
            parts += [f"for {middle} ({low} to {high})", f"{seconds(ahead.wall_s.mean)} left"]
    return " · ".join(parts)


def _number(metric: str, value: float) -> str:
    """A share as a percentage; an error, which has a unit of its own and may be below 1 too, as a number."""
    return percent(value) if higher_is_better(metric) and 0 <= value <= 1 else f"{value:.4g}"
