"""The cheapest ways to serve a model to its users under an objective: every offer, engine, layout and precision."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING

from pennyweight.layout.deployments.ahead import PLAIN, Ahead
from pennyweight.layout.deployments.choices import Choices, Wanted
from pennyweight.layout.deployments.demand import MOST_REQUESTS, Demand
from pennyweight.layout.deployments.lessons import Lessons
from pennyweight.layout.deployments.rent import Market
from pennyweight.layout.deployments.search import Search
from pennyweight.layout.deployments.ways import ServedWay, task_of, ways_of

if TYPE_CHECKING:
    from pennyweight.core.dims import Dims
    from pennyweight.layout.scoring.calibrating import Calibration
    from pennyweight.layout.serving.objectives import Slo

__all__ = ["MOST_REQUESTS", "Demand", "ServePlan", "ServedWay", "plan_serve"]


@dataclass(frozen=True, slots=True)
class ServePlan:
    """The front of dollars against seconds per token among ways that keep the objective, the cheapest first.

    Where it is empty, `why` says in one sentence what came nearest and what it misses, and `fix` what would be kept.
    `considered` ways to run a replica fit in memory, of which `followed` were put to the arrivals. `said` is what was
    assumed.
    """

    model: Dims
    demand: Demand
    slo: Slo
    front: tuple[ServedWay, ...]
    why: str
    fix: str
    considered: int
    followed: int
    said: tuple[str, ...] = ()
    ahead: Ahead = PLAIN

    @property
    def cheapest(self) -> ServedWay | None:
        """The one of fewest dollars; None where nothing keeps the objective."""
        return self.front[0] if self.front else None


def plan_serve(
    wanted: Wanted,
    demand: Demand,
    slo: Slo,
    market: Market | None = None,
    calibration: Calibration | None = None,
) -> ServePlan:
    """Plan a model on all offers of the `market` (none: of all accelerators, on demand and spare).

    `wanted` says on which engines and in which precisions; its lengths are those of the `demand`. Each way to run a
    replica gets the fewest replicas that keep the objective. A `calibration` moves the seconds of engines on
    accelerators that it holds served rows of. Raises `BadInputError` where the model fits nowhere.
    """
    wanted = replace(wanted, prompt=demand.prompt, output=demand.output)
    shop = market or Market.open()
    lessons = Lessons.of(calibration)
    choices = Choices.of(wanted, shop.most(), lessons)
    search = Search(choices, shop, demand.arrivals, slo)
    found = search.front()
    why, fix = ("", "") if found else search.nearest()
    ways = ways_of(found, search, demand, lessons, wanted.ahead)
    said = _said(ways, demand, lessons, wanted)
    return ServePlan(wanted.model, demand, slo, ways, why, fix, len(choices), search.followed, said, wanted.ahead)


def _said(ways: tuple[ServedWay, ...], demand: Demand, lessons: Lessons, wanted: Wanted) -> tuple[str, ...]:
    """What was assumed."""
    model, ahead = wanted.model, wanted.ahead
    task = task_of(demand.prompt, demand.output)
    said = [f"joules are those of {task}, of the measured tasks the one with requests most like these", *ahead.said()]
    if ahead.tokens or ahead.prefix_hit:
        said.append("joules are those of serving without a prefix cache and without guesses ahead")
    too_long = float((demand.arrivals.prompt + demand.arrivals.output > (model.max_context or inf)).mean())
    if too_long:
        said.append(f"{too_long:.2%} of the requests are longer than the {model.max_context:,} tokens the model reads")
    if lessons.own is not None:
        mine = lessons.mine([way.serving for way in ways])
        what = f"moved {int(mine.sum())} of the {len(ways)} ways" if mine.any() else "say nothing of these ways"
        pairs = ", ".join(f"{engine} on {device}" for engine, device in sorted(lessons.pairs))
        said.append(f"{lessons.said}, {pairs}, {what}")
    return tuple(said)
