"""`pennyweight heal`: what it will take is said first, then how far it is, then what came of it."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pennyweight.cli.screen import say, say_json, say_table
from pennyweight.errors import BadInputError
from pennyweight.units import parse_count, parse_usd, percent, seconds, si, usd

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from pennyweight.training.healing import Asked, Healed, Now, Plan

_MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class Typed:
    """What was asked for, as it was typed: `limits` are --tokens, --budget and --minutes.

    `learning` are --lr, --temperature and --mix, `sizes` --batch and --window.
    """

    teacher: Path
    texts: tuple[Path, ...]
    lora: int
    only: tuple[str, ...]
    limits: tuple[str | None, str | None, float | None]
    learning: tuple[float | None, float, float]
    sizes: tuple[int, int | None]
    dtype: str
    seed: int

    def asked(self) -> Asked:
        """The same, read; raises `BadInputError` for what cannot be."""
        from pennyweight.training.healing import Asked

        tokens, budget, minutes = self.limits
        return Asked(
            self.teacher,
            self.texts,
            lora=self.lora,
            only=tuple(word for given in self.only for word in given.split(",") if word),
            tokens=None if tokens is None else round(parse_count(tokens)),
            usd=None if budget is None else parse_usd(budget),
            wall_s=None if minutes is None else _MINUTE_S * minutes,
            lr=self.learning[0],
            temperature=self.learning[1],
            mix=self.learning[2],
            batch=self.sizes[0],
            window=self.sizes[1],
            dtype=self.dtype,
            seed=self.seed,
        )


@dataclass(frozen=True, slots=True)
class Place:
    """Where to write, and whether to go on with what was begun or to begin again."""

    out: Path
    resume: bool
    force: bool


def tell_healing(folder: Path, typed: Typed, place: Place, *, json: bool) -> None:
    """Heal a checkpoint, and say what came of it."""
    from pennyweight.training.healing import heal, needed_byte, plan

    if place.resume and place.force:
        raise BadInputError("--resume goes on and --force begins again.", "give one of them.")
    made = plan(folder, typed.asked())
    if not json:
        _foretell(made, needed_byte(made))
    with _bar(folder.name) as watch:
        healed = heal(made, place.out, resume=place.resume, force=place.force, watch=watch)
    if json:
        say_json({"out": str(place.out), **healed.facts()})
    else:
        _tell(place.out, healed)


def _foretell(plan: Plan, most_byte: float) -> None:
    least = "at most " if plan.asked.usd or plan.asked.wall_s else ""
    say(f"Learns from {least}{plan.tokens:,} tokens of {plan.train.tokens:,}; {plan.held.tokens:,} others judge.")
    say(f"Needs at most {si(most_byte, 'B')} of memory: both models, gradients, and what is said of a few windows.")


def _tell(out: Path, healed: Healed) -> None:
    rows = [
        ["as it came", f"{healed.before:.4g}", f"{healed.before / healed.teacher - 1:+.2%}"],
        ["healed", f"{healed.after:.4g}", f"{healed.after / healed.teacher - 1:+.2%}"],
        ["the teacher", f"{healed.teacher:.4g}", ""],
    ]
    say_table(f"Perplexity on {healed.held_tokens:,} tokens held out", ["", "perplexity", "apart"], rows, (1, 2))
    share = percent(healed.learning / max(1, healed.parameters), 1)
    learnt = f"{healed.updates} steps of {healed.learning:,} weights ({share})"
    say(f"{out}: {healed.tokens:,} tokens, {learnt}. {healed.why}")
    spent = f"{seconds(healed.cpu_s)} of a core, {si(healed.joule, 'J')} ({healed.joule_basis}), {usd(healed.usd)}"
    say(f"It took {seconds(healed.seconds)}, {spent}; at most {si(healed.peak_byte, 'B')} of memory.")


@contextmanager
def _bar(name: str) -> Generator[Callable[[Now], None]]:
    """How far it is, on standard error; nothing without a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), TaskProgressColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(f"{name}: opening", total=1.0)
        yield lambda now: progress.update(task, completed=now.share, description=f"{name}: {told(now)}")


def told(now: Now) -> str:
    """Where a healing is, in one line."""
    if math.isnan(now.perplexity):
        return now.stage
    left = f" · {seconds(now.left_s)} left" if math.isfinite(now.left_s) else ""
    beside = f"perplexity {now.perplexity:.4g} (teacher {now.teacher:.4g})"
    return f"{now.stage} · loss {now.loss:.4g} · {beside} · {usd(now.usd)}{left}"
