"""The guarantee: candidates in a fixed sequence, tested on the part of the text that nothing else has looked at.

The sequence is fixed on the part that selects: the surest first, each next one cheaper somewhere; each is tested at the
same level until the first that fails, so testing many costs no level (see `certify`). Every look at a part of a text is
on the ledger for good, and the next look at the same part has less of the level.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, final

from pennyweight.core import Look, Score
from pennyweight.core.look import SPENT, left
from pennyweight.engine import Shop
from pennyweight.evals import blocks
from pennyweight.evals.metric import standard_error
from pennyweight.optimizing.checkpoints.judging import grown
from pennyweight.optimizing.checkpoints.trying import CONTROL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pennyweight.optimizing.checkpoints.pricing import Price
    from pennyweight.optimizing.checkpoints.scene import Scene
    from pennyweight.optimizing.checkpoints.trying import Trials, Tried

PART = "certify"
TEST = "paired by blocks of text"


@final
@dataclass(frozen=True, slots=True)
class Tested:
    """One test: the candidate, the share by which perplexity rose on `tokens`, the p-value and the level it is held to.

    `test` names how it was found; `needed` is how many tokens would be enough, None if none would or it passed.
    """

    name: str
    rise: float
    p_value: float
    level: float
    test: str
    tokens: int
    needed: int | None = None

    @property
    def passed(self) -> bool:
        """Whether it keeps the floor."""
        return self.p_value <= self.level


def sequence(hopes: Sequence[Tried], prices: Mapping[str, Sequence[Price]]) -> list[Tried]:
    """Those worth testing: the surest first, each cheaper on some device than the original and all before it."""
    best = {each.device: each for each in _cheapest_first(prices[CONTROL])}
    chain: list[Tried] = []
    for hope in sorted(hopes, key=lambda each: (-min(each.seen.sureness, 1e9), each.promise.share, each.name)):
        below = [each for each in prices[hope.name] if _below(each, best.get(each.device))]
        if hope.seen.hopeful and below:
            chain.append(hope)
            best |= {each.device: each for each in _cheapest_first(below)}
    return chain


def certified(trials: Trials, scene: Scene, chain: Sequence[Tried], fingerprint: str) -> list[Tested]:
    """The tests of this chain, by this search and by those before; only here is the part that certifies read."""
    shop = Shop.at(prices=scene.ask.prices)
    split = sha256(f"{fingerprint} {scene.parts.fresh_sha256} {scene.windows.window}".encode()).hexdigest()
    floor, made = scene.ask.floor, scene.parts.sha256[:12]
    while True:
        looks = shop.ledger.looks(split)
        mine = [look for look in looks if look.floor == floor]
        known = {name for look in mine for name in look.runs}
        new = [each for each in chain if f"{each.name}@{made}" not in known]
        if not new:
            break
        level = SPENT * left(looks) * (1 - floor.confidence)
        names = tuple(f"{each.name}@{made}" for each in new)
        look = _look(Look(len(looks) + 1, floor, CONTROL, names, (), level), new, trials, scene)
        if shop.ledger.look(look, job=f"optimize {scene.name}", fingerprint=split, session=shop.session):
            break
    looks = shop.ledger.looks(split)
    told = [each for look in looks if look.floor == floor for each in _tests(look, made)]
    names_now = {each.name for each in trials.tried if each.seen.hopeful}
    return [each for each in told if each.name in names_now]


def _look(look: Look, chain: Sequence[Tried], trials: Trials, scene: Scene) -> Look:
    """Test one after the other until one fails."""
    text, owners = {PART: scene.parts.certify}, scene.parts.certify.owners
    ours = trials.read(CONTROL, lambda: scene.ask.folder, text)[0]
    look = replace(look, scores=(_score(ours, owners),), n=len(ours))
    for each in chain:
        theirs = trials.read(each.name, lambda each=each: trials.made(each.planned), text)[0]  # type: ignore[misc]
        apart = theirs - ours
        test = blocks.at_most(apart, math.log1p(scene.ask.give_up), owners, 1 - look.level)
        scores, p_values = (*look.scores, _score(theirs, owners)), (*look.p_values, test.p_value)
        look = replace(look, scores=scores, p_values=p_values, test=test.test)
        if test.p_value > look.level:
            return replace(look, needed=blocks.tokens_needed(test, len(ours), 1 - look.level))
    return look


def _tests(look: Look, made: str) -> list[Tested]:
    """What a look found of candidates that were made in the same way."""
    found = []
    for name, p_value, score in zip(look.runs, look.p_values, look.scores[1:], strict=False):
        rise = score.mean / look.scores[0].mean - 1
        needed = look.needed if p_value > look.level else None
        plain, _, how = name.partition("@")
        if how == made:
            found.append(Tested(plain, rise, p_value, look.level, look.test or TEST, look.n, needed))
    return found


def _score(losses: NDArray[Any], owners: NDArray[Any]) -> Score:
    cut = next(blocks.blocks_of(owners))
    mean = grown(float(losses.mean()))
    return Score("perplexity", mean, mean * standard_error(cut.units(losses), None), len(losses))


def _below(price: Price, best: Price | None) -> bool:
    return best is None or price.usd < best.usd


def _cheapest_first(prices: Sequence[Price]) -> list[Price]:
    """Sorted so that of one device the cheapest comes last, and stays in a dictionary."""
    return sorted(prices, key=lambda each: -each.usd)
