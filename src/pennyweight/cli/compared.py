"""What `compare` finds out and prints."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pennyweight.cli.screen import say, say_json, say_table, shout
from pennyweight.engine.quality import Asked
from pennyweight.errors import BadInputError
from pennyweight.units import parse_share, percent, seconds, si

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from pennyweight.engine.quality import Comparison, OnTasks, Retrieved


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for, as it was typed: `shares` are --give-up, --give-up-tasks and --sure."""

    texts: tuple[Path, ...]
    tasks: Path | None
    lengths: str | None
    shares: tuple[str, str, str]
    windows: tuple[int | None, int | None, int | None]

    def asked(self, *, by_length: bool, dtype: str, together: bool | None) -> Asked:
        """The same, read; raises `BadInputError` for what cannot be."""
        give_up, give_up_tasks, sure = map(parse_share, self.shares)
        window, stride, most = self.windows
        return Asked(
            self.texts,
            tasks=self.tasks,
            lengths=self._lengths(),
            give_up=give_up,
            give_up_tasks=give_up_tasks,
            confidence=sure,
            window=window,
            stride=stride,
            most_tokens=most,
            by_length=by_length,
            dtype=dtype,
            together=together,
        )

    def _lengths(self) -> tuple[int, ...]:
        words = [word.strip() for word in (self.lengths or "").split(",") if word.strip()]
        if not all(word.isdecimal() for word in words):
            raise BadInputError(f"{self.lengths!r} are no lengths.", "give numbers of tokens, such as 512,2048.")
        return tuple(map(int, words))


def tell_comparison(first: Path, second: Path, asked: Asked, *, json: bool) -> bool:
    """Compare two checkpoints; returns whether every floor is certified."""
    from pennyweight.engine.quality import compare

    with _bar() as watch:
        found = compare(first, second, asked, watch)
    if json:
        say_json(found.facts())
    else:
        _tell(found, (first.name or str(first), second.name or str(second)))
    return found.held


def _tell(found: Comparison, names: tuple[str, str]) -> None:
    _tell_text(found, names)
    if found.tasks:
        rows = [_task_row(task) for task in found.tasks]
        heads = [
            "task",
            "questions",
            *names,
            *(f"{name} by length" for name in names),
            "only the first",
            "only the second",
        ]
        say_table("Right answers", heads, rows, range(1, 8))
    if found.retrieved:
        rows = [_found_row(each) for each in found.retrieved]
        heads = ["tokens", "depth", "numbers", *names, *(f"rank, {name}" for name in names)]
        say_table("Numbers found in a long context (of ten: 10% by luck)", heads, rows, range(7))
    for check in found.checks:
        if check.held:
            say(f"Certified: {check.what} (p {check.p_value:.2g}, {check.test}, n = {check.n:,}).")
        else:
            shout(f"Not certified: {check.what}: {check.why}.")
    cost = found.cost
    say(
        f"It took {seconds(cost.seconds)}, {seconds(cost.cpu_s)} of a core, {si(cost.joule, 'J')} ({cost.joule_basis})."
    )


def _tell_text(found: Comparison, names: tuple[str, str]) -> None:
    text, apart = found.text, found.divergence
    rows = [
        ["perplexity", *(f"{each:.4g}" for each in text.perplexity), f"{text.ratio - 1:+.3%}"],
        ["bits per byte", *(f"{each:.4f}" for each in text.bits_per_byte), ""],
    ]
    documents = "1 document" if text.documents == 1 else f"{text.documents:,} documents"
    say(f"{text.tokens:,} tokens of {documents}, in windows of {text.window}, each scored once.")
    say_table("On text", ["", *names, "apart"], rows, (1, 2, 3))
    if text.most is not None:
        say(f"Perplexity is at most {text.most - 1:+.3%} apart, as sure as was asked for.")
    if apart is None:
        say("Vocabularies differ, or one rules out what the other does not, so there is no divergence.")
        return
    least = "" if apart.exact else "at least "
    between = f" ({apart.interval[0]:.3g} to {apart.interval[1]:.3g})" if apart.interval else ""
    say(f"Divergence is {least}{apart.mean:.3g} nats a token{between}.")
    shares = (
        f" ({percent(apart.agree_interval[0])} to {percent(apart.agree_interval[1])})" if apart.agree_interval else ""
    )
    say(f"Both would guess the same token at {percent(apart.agree)}{shares}.")


def _task_row(task: OnTasks) -> list[str]:
    shares = map(_share, (*task.plain, *task.by_length))
    return [task.task, f"{task.n:,}", *shares, str(task.only_first), str(task.only_second)]


def _found_row(found: Retrieved) -> list[str]:
    ranks = (f"{rank:.1f}" for rank in found.rank)
    return [f"{found.length:,}", percent(found.depth, 0), str(found.n), *map(_share, found.found), *ranks]


def _share(share: float) -> str:
    return percent(share, 1)


@contextmanager
def _bar() -> Generator[Callable[[str, float], None]]:
    """What is done now and how far it is, on standard error; nothing without a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task, now = progress.add_task("looking at the checkpoints", total=1.0), ""

        def watch(stage: str, share: float) -> None:
            nonlocal now
            if stage != now:
                progress.reset(task, description=stage)
                now = stage
            progress.update(task, completed=share)

        yield watch
