"""From what both models said to figures and verdicts."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from pennyweight.core import Floor, Slack
from pennyweight.engine.quality.results import Check, Divergence, OnTasks, OnText, Retrieved
from pennyweight.engine.quality.retrieving import NUMBERS
from pennyweight.evals import blocks, exact, paired
from pennyweight.evals.metric import standard_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from pennyweight.engine.quality.answering import Answers
    from pennyweight.engine.quality.asking import Asked
    from pennyweight.engine.quality.retrieving import Found, Probe
    from pennyweight.engine.quality.scoring import Scores
    from pennyweight.engine.quality.tasks import Sample
    from pennyweight.engine.quality.text import Text

_MOST_LOG = 700.0  # of which the exponential is still a number


def on_text(text: Text, scores: Scores, windows: tuple[int, int], confidence: float) -> OnText:
    """Perplexities, bits per byte, and by what share the second is worse."""
    losses = [float(each.mean()) for each in (scores.first, scores.second)]
    bits = [loss * text.scored / (math.log(2) * text.byte) for loss in losses]
    apart = scores.second - scores.first
    most = blocks.upper(apart, text.owners, confidence) if _enough(text) else math.inf
    return OnText(
        text.scored,
        text.byte,
        len(text.documents),
        *windows,
        (_exp(losses[0]), _exp(losses[1])),
        (bits[0], bits[1]),
        _exp(float(apart.mean())),
        _exp(most) if math.isfinite(most) else None,
    )


def divergence_of(text: Text, scores: Scores) -> Divergence | None:
    """How far apart the models are; None if their vocabularies differ, or the second rules out what the first says."""
    if not np.isfinite(scores.divergence).all():
        return None
    apart, agree = np.maximum(scores.divergence, 0), scores.agree.astype(np.float64)
    owners = text.owners
    known = _enough(text)
    return Divergence(
        float(apart.mean()),
        _bounded(blocks.interval(apart, owners), math.inf) if known else None,
        float(agree.mean()),
        _bounded(blocks.interval(agree, owners), 1.0) if known else None,
        scores.exact,
    )


def perplexity_check(text: Text, scores: Scores, asked: Asked) -> Check:
    """Is the second's perplexity higher by no more than was given up? Refused on too little text."""
    what = f"perplexity at most {100 * asked.give_up:g}% higher"
    least = blocks.LEAST_BLOCKS * blocks.LEAST_TOKENS
    if not _enough(text):
        found = next(blocks.blocks_of(text.owners)).n
        why = (
            f"too little text: {text.scored:,} tokens are {found} blocks of {blocks.LEAST_TOKENS}, and "
            f"{blocks.LEAST_BLOCKS} are needed: {least:,} tokens, about {_size(text, least)}"
        )
        return Check(what, held=False, p_value=None, test="", n=found, why=why, needed=least)
    apart = scores.second - scores.first
    test = blocks.at_most(apart, math.log1p(asked.give_up), text.owners, asked.confidence)
    held = test.p_value <= 1 - asked.confidence
    needed = None if held else blocks.tokens_needed(test, text.scored, asked.confidence)
    if held:
        why = ""
    elif needed is None:
        why = f"on this text it is {_exp(float(apart.mean())) - 1:.3%} higher, and more text would not mend that"
    else:
        needed = max(needed, text.scored + 1)
        why = f"too little text to be sure: about {needed:,} tokens ({_size(text, needed)}) would be enough"
    return Check(what, held, test.p_value, test.test, test.n, why, needed)


def right_check(what: str, first: NDArray[np.bool_], second: NDArray[np.bool_], asked: Asked) -> Check:
    """Is the second right no more than the points given up less often than the first? An exact paired test."""
    floor = Floor("accuracy", asked.give_up_tasks, Slack.POINTS, asked.confidence)
    what = f"{what} at most {100 * asked.give_up_tasks:g} points fewer"
    pairs = exact.Pairs.of(second, first)
    p, name = exact.points(pairs, asked.give_up_tasks), "exact paired (Tango score)"
    if p <= 1 - asked.confidence:
        return Check(what, held=True, p_value=p, test=name, n=pairs.n, why="")
    gains = second.astype(np.float64) - first
    effect = float(gains.mean()) + asked.give_up_tasks
    se = standard_error(gains - gains.mean(), 1.0)
    needed = paired.needed(floor, paired.PairedTest(p, name, pairs.n, effect, math.nan, se))
    if needed is None:
        why = "it is right on too few"
    else:
        needed = max(needed, pairs.n + 1)
        why = f"{pairs.n:,} are too few to be sure: about {needed:,} would be enough"
    return Check(what, held=False, p_value=p, test=name, n=pairs.n, why=why, needed=needed)


def found_check(first: Found, second: Found, asked: Asked) -> Check:
    """The same of numbers that were hidden; refused if the first model finds no more of them than luck would."""
    check = right_check("numbers found", first.rank == 0, second.rank == 0, asked)
    found = int((first.rank == 0).sum())
    if exact.binomial(found, check.n, 1 / NUMBERS) <= 1 - asked.confidence:
        return check
    why = f"the first finds {found} of {check.n}, no more than luck would: this says nothing of the second"
    return replace(check, held=False, why=why, needed=None)


def on_tasks(samples: Sequence[Sample], first: Answers, second: Answers, *, by_length: bool) -> Iterable[OnTasks]:
    """Shares of right answers, task by task."""
    names = np.array([sample.task for sample in samples])
    for name in dict.fromkeys(names.tolist()):
        mine = names == name
        one, other = (each.by_length[mine] if by_length else each.plain[mine] for each in (first, second))
        yield OnTasks(
            name,
            int(mine.sum()),
            (float(first.plain[mine].mean()), float(second.plain[mine].mean())),
            (float(first.by_length[mine].mean()), float(second.by_length[mine].mean())),
            int((one & ~other).sum()),
            int((other & ~one).sum()),
        )


def retrieved(asked: Sequence[Probe], first: Found, second: Found) -> Iterable[Retrieved]:
    """What was found, by length and depth."""
    at = 0
    for (length, depth), group in groupby(asked, key=lambda probe: (probe.length, probe.depth)):
        n = len(list(group))
        mine = slice(at, at + n)
        ranks = [each.rank[mine] for each in (first, second)]
        said = [float(each.said[mine].mean()) for each in (first, second)]
        found = [float((each == 0).mean()) for each in ranks]
        mean = [float(each.mean()) + 1 for each in ranks]
        yield Retrieved(length, depth, n, (found[0], found[1]), (mean[0], mean[1]), (said[0], said[1]))
        at += n


def _enough(text: Text) -> bool:
    return next(blocks.blocks_of(text.owners)).n >= blocks.LEAST_BLOCKS


def _size(text: Text, tokens: int) -> str:
    from pennyweight.units import si

    return si(tokens * text.byte / text.scored, "B", 2)


def _bounded(pair: tuple[float, float], most: float) -> tuple[float, float]:
    return max(0.0, pair[0]), min(most, pair[1])


def _exp(log: float) -> float:
    return math.exp(min(log, _MOST_LOG))
