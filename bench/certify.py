"""How often a certificate is false, and how often a truly good model gets one: ``python -m bench.certify [--quick]``.

Worlds are drawn in which the true quality of every candidate is known; the real `certify` runs on what is drawn, with
two other ways of deciding beside it on the same draws. Candidates that break the floor do so by a twentieth of what
may be given up: hard to tell from good ones. On the very edge, where it is hardest, no draws are needed for the exact
test: its level is summed up over all outcomes.
"""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import beta, binom, norm

from bench.report import emit, table
from pennyweight.certify import certify
from pennyweight.core import Floor, Slack
from pennyweight.evals import load
from pennyweight.evals.exact import Pairs, points
from pennyweight.testing.paper import RIGHT, Sheet, Split, labelled, number, paper_front

if TYPE_CHECKING:
    from collections.abc import Callable

    from pennyweight.core import Front

ALPHA = 0.05
BEYOND = 1.05  # candidates that break the floor give up so many times what they may


@dataclass(frozen=True)
class Scenario:
    """A floor and candidates, cheapest first; `good` says which truly keep the floor; `draw(n, generator)` a split."""

    name: str
    floor: Floor
    good: tuple[bool, ...]
    draw: Callable[[int, np.random.Generator], Split]

    def front(self) -> Front:
        """The candidates on a front: each dearer than the one before, and better, as a search would have found them."""
        return paper_front(self.floor, [0.9 * (i + 1) / len(self.good) for i in range(len(self.good))])


def agreeing(laws: list[tuple[float, float]]) -> Callable[[int, np.random.Generator], Split]:
    """Candidates that win and lose given shares of all examples against a control that is right on `RIGHT`."""
    return partial(labelled, laws)


def told(worse: list[float]) -> Callable[[int, np.random.Generator], Split]:
    """Log-likelihoods of sequences of 64 tokens; a candidate is worse by so many nats per token on average."""

    def draw(n: int, generator: np.random.Generator) -> Split:
        hard = generator.gamma(4.0, 0.4, size=(n, 1))
        control = -hard * generator.exponential(size=(n, 64))
        answers = [
            control - 0.5 - gap * generator.gamma(0.5, 2.0, size=(n, 1)) + 0.05 * generator.normal(size=(n, 64))
            for gap in worse
        ]
        return Split(np.zeros((n, 64), dtype=int), {None: control - 0.5, **dict(enumerate(answers))})

    return draw


def valued(spread: list[float]) -> Callable[[int, np.random.Generator], Split]:
    """Values with heavy-tailed errors; a candidate adds noise of its own with such a standard deviation."""

    def draw(n: int, generator: np.random.Generator) -> Split:
        y, error = 3 * generator.normal(size=n), generator.standard_t(8, size=n)
        answers = [y + error + wide * generator.normal(size=n) for wide in spread]
        return Split(y, {None: y + error, **dict(enumerate(answers))})

    return draw


def scenarios() -> list[tuple[Scenario, tuple[int, ...]]]:
    """What is simulated, each with the sizes of the certify split."""
    point, third = Floor("accuracy", 0.01), Floor("accuracy", 0.003)
    edge, edge_third = (0.005, 0.005 + 0.01 * BEYOND), (0.002, 0.002 + 0.003 * BEYOND)
    edge_share, edge_fixed = (0.005, 0.005 + 0.01 * RIGHT * BEYOND), (0.005, 0.005 + 0.01 * BEYOND)
    sizes = (500, 2000, 10_000)
    spread = float(np.sqrt(((1 + 0.05 * BEYOND) ** 2 - 1) * 8 / 6))  # on top of Student's t with 8 degrees of freedom
    nats = float(np.log1p(0.01 * BEYOND))
    return [
        (Scenario("one just below", point, (False,), agreeing([edge])), sizes),
        (Scenario("eight just below", point, (False,) * 8, agreeing([edge] * 8)), sizes),
        (Scenario("eight, 0.3 points", third, (False,) * 8, agreeing([edge_third] * 8)), sizes),
        (
            Scenario(
                "some below, one good",
                point,
                (False, False, False, True),
                agreeing([(0.01, 0.03), edge, edge, (0.005, 0.005)]),
            ),
            sizes,
        ),
        (
            Scenario("a good one first", point, (False, False, False, True), agreeing([edge, edge, edge, (0.0, 0.0)])),
            sizes,
        ),
        (
            Scenario(
                "share of the control",
                Floor("accuracy", 0.01, Slack.RATIO),
                (False,) * 3,
                agreeing([edge_share] * 3),
            ),
            sizes,
        ),
        (
            Scenario("against 94%", Floor("accuracy", 0.94, Slack.ABSOLUTE), (False,) * 3, agreeing([edge_fixed] * 3)),
            sizes,
        ),
        (
            Scenario("perplexity, 1%", Floor("perplexity", 0.01, Slack.RATIO), (False,) * 3, told([nats] * 3)),
            (50, 200, 1000),
        ),
        (
            Scenario("RMSE, 5%", Floor("rmse", 0.05, Slack.RATIO), (False,) * 3, valued([spread] * 3)),
            (100, 500, 2000),
        ),
    ]


def powers() -> dict[str, tuple[Scenario, tuple[int, ...]]]:
    """Truly good candidates: as accurate as the control, disagreeing with it on 1% of all examples."""
    same = agreeing([(0.005, 0.005)])
    sizes = (500, 1000, 2000, 5000, 10_000)
    return {
        "power": (Scenario("equal, floor 1 point", Floor("accuracy", 0.01), (True,), same), sizes),
        "power_tight": (Scenario("equal, floor 0.3 points", Floor("accuracy", 0.003), (True,), same), sizes),
    }


@dataclass(frozen=True)
class Cell:
    """One scenario at one size: its place in the list, and how often to draw."""

    kind: str
    place: int
    n: int
    repeats: int


@dataclass(frozen=True)
class Counted:
    """In how many repeats a false (or, for power, any) candidate was accepted: by us, unpaired, by the mean alone."""

    ours: int
    unpaired: int
    naive: int


def simulate(cell: Cell) -> Counted:
    """Draw a cell's worlds and count."""
    power = cell.kind != "false"
    scenario = powers()[cell.kind][0] if power else scenarios()[cell.place][0]
    front, generator = scenario.front(), np.random.default_rng([cell.place, cell.n, int(power)])
    bad = [i for i, good in enumerate(scenario.good) if good == power]
    counts = np.zeros(3, dtype=int)
    for _ in range(cell.repeats):
        world = Sheet(scenario.draw(max(cell.n // 2, 60), generator), scenario.draw(cell.n, generator))
        passed = {number(trial.run) for trial in certify(front, world, alpha=ALPHA).trials if trial.passed}
        peers = [_peers(scenario.floor, world.certify, i) for i in bad]
        counts += [bool(passed & set(bad)), any(unpaired for unpaired, _ in peers), any(naive for _, naive in peers)]
    return Counted(*counts.tolist())


def _peers(floor: Floor, split: Split, candidate: int) -> tuple[bool, bool]:
    """Whether two usual ways accept a candidate: error bars of both scores added up, and the score alone."""
    metric = load(floor.metric)
    ours, control = (metric.score(split.y, split.answers[i]) for i in (candidate, None))
    sign = 1 if metric.higher_is_better else -1
    clear = sign * (ours.mean - floor.threshold(control))
    error = ours.se if floor.slack is Slack.ABSOLUTE else float(np.hypot(ours.se, control.se))
    return bool(clear > norm.isf(ALPHA) * error), clear >= 0


def interval(count: int, repeats: int) -> tuple[float, float]:
    """The exact 95% interval for a rate."""
    low = float(beta.ppf(0.025, count, repeats - count + 1)) if count else 0.0
    high = float(beta.ppf(0.975, count + 1, repeats - count)) if count < repeats else 1.0
    return low, high


def exact_level(n: int, margin: float) -> float:
    """The chance that the paired test accepts a candidate exactly `margin` below, summed over all outcomes.

    The largest over how often the two disagree, from hardly more than they must to 10% of all examples.
    """
    most = int(binom.isf(1e-9, n, 0.06))
    least_wins = np.array([_least_wins(n, lost, margin) for lost in range(most + 1)])
    lost, levels = np.arange(most + 1), []
    for wins in np.concatenate([[0.0], np.geomspace(1e-4, 0.045, 24)]):
        accepted = binom.sf(least_wins - 1, n - lost, wins / (1 - wins - margin))
        levels.append(float(binom.pmf(lost, n, wins + margin) @ accepted))
    return max(levels)


def _least_wins(n: int, lost: int, margin: float) -> int:
    low, high = -1, n - lost + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if points(Pairs(n, middle, lost, 0), margin) <= ALPHA else (middle, high)
    return high


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer repeats and no split above 2,000")
    quick = parser.parse_args().quick
    repeats, most = (200, 2000) if quick else (2000, 10_000)
    cells = [
        Cell("false", place, n, repeats) for place, (_, sizes) in enumerate(scenarios()) for n in sizes if n <= most
    ]
    powered = [Cell(kind, 0, n, repeats // 2) for kind, (_, sizes) in powers().items() for n in sizes if n <= most]
    with ProcessPoolExecutor(max(1, len(os.sched_getaffinity(0))), mp_context=get_context("spawn")) as pool:
        counted = dict(zip([*cells, *powered], pool.map(simulate, [*cells, *powered]), strict=True))
    figures = _false_table(cells, counted) | _power_table(powered, counted)
    figures["exact_level"] = max(exact_level(n, 0.01) for n in ((200, 500) if quick else (200, 500, 1000, 2000)))
    print(f"Level of the exact paired test on the edge of 1 point, worst case: {figures['exact_level']:.5f}\n")
    emit("certify", figures, repeats)


def _false_table(cells: list[Cell], counted: dict[Cell, Counted]) -> dict[str, float]:
    rows, rates = [], []
    for cell in cells:
        found = counted[cell]
        low, high = interval(found.ours, cell.repeats)
        rates.append((found.ours / cell.repeats, low))
        rows.append([
            scenarios()[cell.place][0].name, cell.n, found.ours / cell.repeats, f"{low:.3f} to {high:.3f}",
            found.unpaired / cell.repeats, found.naive / cell.repeats,
        ])  # fmt: skip
    print(f"False certificates at alpha = {ALPHA:g} (any candidate that breaks the floor accepted)\n")
    table(["scenario", "n", "certify", "95% interval", "unpaired error bars", "mean alone"], rows)
    print()
    worst, low = max(rates)
    return {
        "alpha": ALPHA,
        "false_certificate_rate": worst,
        "false_certificate_rate_low": low,
        "false_certificate_rate_mean": float(np.mean([rate for rate, _ in rates])),
        "false_rate_mean_alone": max(counted[cell].naive / cell.repeats for cell in cells),
    }


def _power_table(cells: list[Cell], counted: dict[Cell, Counted]) -> dict[str, float]:
    rows = [
        [powers()[cell.kind][0].name, cell.n, counted[cell].ours / cell.repeats, counted[cell].unpaired / cell.repeats]
        for cell in cells
    ]
    print("How often a truly good candidate is certified\n")
    table(["candidate", "n", "certify", "unpaired error bars"], rows)
    print()
    return {f"{cell.kind}_n{cell.n}": counted[cell].ours / cell.repeats for cell in cells}


if __name__ == "__main__":
    main()
