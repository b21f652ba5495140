"""What came out of a training: how good, for how much, why it ended, and what to do next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pennyweight.core import Cost, Floor, Score
from pennyweight.units import percent, seconds, si, usd

_REACH = 1.96  # of a 95% interval, in standard errors


@dataclass(frozen=True, slots=True)
class Outcome:
    """A training that has ended: the run's name, the `score` on the select split, and what each part of it cost.

    `done` says that all steps were taken; `why` is the reason it ended. `parts` hold the cost of every part over all
    visits to this run, `artifact` is the digest of the finished model in the shop. `next` says what to do now.
    """

    run: str
    job: str
    score: Score
    floor: Floor
    parts: tuple[tuple[str, Cost], ...]
    epochs: float
    steps: int
    done: bool
    why: str
    artifact: str
    curve: tuple[tuple[float, float, float], ...] = ()
    next: str = ""

    @property
    def cost(self) -> Cost:
        """What the run cost in all."""
        return sum((cost for _, cost in self.parts), Cost())

    def facts(self) -> dict[str, Any]:
        """All of it as plain values, for JSON and the report."""
        score, cost = self.score, self.cost
        return {
            "run": self.run,
            "job": self.job,
            "score": {
                "metric": score.metric,
                "mean": score.mean,
                "se": score.se,
                "n": score.n,
                "low": score.mean - _REACH * score.se,
                "high": score.mean + _REACH * score.se,
            },
            "floor": str(self.floor),
            "cost": _cost(cost),
            "parts": {name: _cost(each) for name, each in self.parts},
            "epochs": self.epochs,
            "steps": self.steps,
            "done": self.done,
            "why": self.why,
            "artifact": self.artifact,
            "curve": [{"step": step, "mean": mean, "se": se} for step, mean, se in self.curve],
            "next": self.next,
        }

    def sentences(self) -> list[str]:
        """What a person reads: the score with its interval, what it cost, why it ended, what to do next."""
        score, cost = self.score, self.cost
        reach = _REACH * score.se
        share = 0 <= score.mean <= 1 and score.higher_is_better
        told = f"{percent(score.mean)} ± {percent(reach)}" if share else f"{score.mean:.4g} ± {reach:.2g}"
        spent = f"{seconds(cost.device_s)} of CPU, {seconds(cost.wall_s)} on the clock"
        return [
            f"{score.metric} {told} on the {score.n} examples of the select split (95% interval).",
            f"It cost {usd(cost.usd)}: {spent}, {si(cost.joule, 'J')}.",
            self.why,
            self.next,
        ]


def _cost(cost: Cost) -> dict[str, float]:
    return {"cpu_s": cost.device_s, "wall_s": cost.wall_s, "joule": cost.joule, "usd": cost.usd}
