"""The screen: live progress on standard error, tables and JSON on standard output."""

from __future__ import annotations

import json
import math
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self, final

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from pennyweight.units import percent, seconds, si, usd

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from types import TracebackType

    from pennyweight.core import Run


def say_json(facts: object) -> None:
    """Print one JSON object; numbers that JSON does not have become null."""
    sys.stdout.write(json.dumps(_finite(facts), indent=2, ensure_ascii=False) + "\n")


def say_table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> None:
    """Print a table on standard output; the columns in `numbers` are aligned to the right."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=None, pad_edge=False)
    for at, head in enumerate(heads):
        table.add_column(head, justify="right" if at in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def say(text: str) -> None:
    """Print a line on standard output."""
    sys.stdout.write(text + "\n")


def shout(text: str) -> None:
    """Print a line that must not be missed on standard output."""
    Console(highlight=False).print(Text(text, style="bold red"), soft_wrap=True)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def byte_bar(whole: int, title: str) -> Generator[Callable[[int], None]]:
    """A bar on standard error with bytes per second and the time that is left; nothing without a terminal."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    shown = Progress(*columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal)
    with shown as progress:
        task = progress.add_task(title, total=whole)
        yield lambda byte: progress.advance(task, byte)


@final
class Progress:
    """Live progress of a search: what is done now, since when, what was found; a plain line per run without a tty."""

    def __init__(self, job: str) -> None:
        self._job = job
        self._console = Console(stderr=True, highlight=False)
        self._spinner = Spinner("dots", Text(f"{job}: starting"))
        self._live = Live(self._spinner, console=self._console, refresh_per_second=8, transient=True)
        self._started = time.monotonic()
        self._runs = 0
        self._best = ""

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
        """Show an event of the engine or the search."""
        if event == "run":
            self._runs += 1
            self._line(facts["run"], recalled=facts.get("recalled", False))
        elif event in {"struck", "stop", "note"}:
            self._console.print(Text(f"  {facts['text']}", style="dim"))
        else:
            self._spinner.update(text=Text(self._now(event, facts)))

    def best(self, run: Run, control: Run) -> None:
        """Remember the best so far for the status line."""
        self._best = f" · best so far {usd(run.bill.usd)} of {usd(control.bill.usd)}"

    def _now(self, event: str, facts: dict[str, Any]) -> str:
        spent = seconds(time.monotonic() - self._started)
        runs = f" · {self._runs} runs" if self._runs else ""
        return f"{self._job}: {event} {facts.get('text', '')}{runs} · {spent}{self._best}"

    def _line(self, run: Run, *, recalled: bool) -> None:
        unit = si(run.bill.unit.device_s, "s")
        score = run.score
        mean = percent(score.mean) if 0 <= score.mean <= 1 and score.higher_is_better else f"{score.mean:.4g}"
        note = "  (from the ledger)" if recalled else ""
        share = "" if run.plan.fidelity >= 1 else f"  on {percent(run.plan.fidelity, 0)} of the data"
        text = f"  {usd(run.bill.usd):>10}  {unit:>8}/prediction  {score.metric} {mean}  {run.plan}{share}{note}"
        self._console.print(Text(text), soft_wrap=True)
