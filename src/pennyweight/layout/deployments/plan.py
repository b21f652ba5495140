"""The cheapest ways to serve a model to its users under an objective: every offer, engine, layout and precision."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING

from pennyweight.errors import BadInputError
from pennyweight.layout.deployments.ahead import PLAIN, Ahead
from pennyweight.layout.deployments.choices import Choices, Wanted
from pennyweight.layout.deployments.demand import MOST_REQUESTS, Demand
from pennyweight.layout.deployments.lessons import Lessons
from pennyweight.layout.deployments.pairs import Pairs
from pennyweight.layout.deployments.rent import Market
from pennyweight.layout.deployments.search import Missed, Search, unbeaten
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
    `considered` ways to run a replica, and pairs of a pool that reads and one that answers, fit in memory; `followed`
    times some of them were put to the arrivals. `said` is what was assumed.
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

    `wanted` says on which engines, in which precisions and pools; its lengths are those of the `demand`. Each way to
    run a replica gets the fewest replicas that keep the objective. A `calibration` moves the seconds of engines on
    accelerators that it holds served rows of. Raises `BadInputError` where the model fits nowhere.
    """
    wanted = replace(wanted, prompt=demand.prompt, output=demand.output)
    shop = market or Market.open()
    lessons = Lessons.of(calibration)
    choices = Choices.of(wanted, shop.most(), lessons)
    search = Search(choices, shop, demand.arrivals, slo)
    together = search.found() if wanted.pools != "disaggregated" else []
    pairs = Pairs(search, lessons) if wanted.pools != "aggregated" else None
    found = unbeaten([*together, *(pairs.found(together) if pairs else [])])
    missed = None if found else _missed(search, pairs, wanted)
    ways = ways_of(found, search, demand, lessons, wanted.ahead)
    considered = len(choices) * (wanted.pools != "disaggregated")
    considered += len(pairs.pairs.read) if pairs else 0
    return ServePlan(
        model=wanted.model,
        demand=demand,
        slo=slo,
        front=ways,
        why=missed.why if missed else "",
        fix=missed.fix if missed else "",
        considered=considered,
        followed=search.followed + (pairs.followed if pairs else 0),
        said=_said(ways, demand, lessons, wanted),
        ahead=wanted.ahead,
    )


def _missed(search: Search, pairs: Pairs | None, wanted: Wanted) -> Missed:
    """What comes nearest to the objective, of all that was looked at."""
    together = search.nearest() if wanted.pools != "disaggregated" else None
    apart = pairs.nearest() if pairs else None
    found = [each for each in (together, apart) if each]
    if not found:
        raise BadInputError(
            f"No two pools that are rented in one place serve {wanted.model.name}.",
            "allow more accelerators (--on), or one pool (--pools aggregated).",
        )
    return min(found, key=lambda each: each.times)


def _pools_said(ways: tuple[ServedWay, ...]) -> list[str]:
    """What was assumed of pools that are apart."""
    if not any(way.reads for way in ways):
        return []
    composed = (
        "disaggregated ways are composed of a queue for prompts, one for the network and one for room, as DistServe "
        "(Zhong et al. 2024) and Splitwise (Patel et al. 2024) divide them; of 156 measured deployments so divided "
        "reading for less than 80% of the time, half were within 10% per token and 46% to the first one, often above; "
        "so these intervals are wider"
    )
    moved = (
        "keys and values move after a whole prompt was read, over the network even within a machine, in one region, "
        "for no dollars; joules are those of serving with one pool"
    )
    return [composed, moved]


def _said(ways: tuple[ServedWay, ...], demand: Demand, lessons: Lessons, wanted: Wanted) -> tuple[str, ...]:
    """What was assumed."""
    model, ahead = wanted.model, wanted.ahead
    task = task_of(demand.prompt, demand.output)
    said = [f"joules are those of {task}, of the measured tasks the one with requests most like these", *ahead.said()]
    said += _pools_said(ways)
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
