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
from multiprocessing import get_context
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from scipy.stats import beta, binom, norm

from bench.report import emit, table
from pennyweight.certify import certify
from pennyweight.core import (
    YES,
    Basis,
    Bill,
    Cost,
    DataSpec,
    Floor,
    Form,
    Front,
    Job,
    Kind,
    Lever,
    Op,
    Plan,
    Run,
    Score,
    Slack,
    Spec,
    Stage,
    Task,
    Verdict,
    Work,
    higher_is_better,
)
from pennyweight.evals import load
from pennyweight.evals.exact import Pairs, points

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ALPHA = 0.05
RIGHT = 0.95  # the control's accuracy
BEYOND = 1.05  # candidates that break the floor give up so many times what they may


@dataclass(frozen=True, slots=True)
class Candidate(Lever):
    """A lever that stands for a candidate of known quality."""

    number: int = 0
    stage: ClassVar[Stage] = Stage.COMPRESS
    source: ClassVar[str] = "a simulation"

    @classmethod
    def choices(cls, job: Job) -> Iterator[Self]:
        """Nothing to choose."""
        del job
        yield cls()

    def fits(self, spec: Spec) -> Verdict:  # ruff: ignore[unused-method-argument]
        """It always does."""
        return YES

    def rewrite(self, spec: Spec) -> Spec:
        """Nothing changes on paper."""
        return spec

    def pull(self, work: Work) -> Work:
        """Nothing changes for real."""
        return work


@dataclass(frozen=True)
class Split:
    """True answers and what the control and the candidates answer."""

    y: np.ndarray
    control: np.ndarray
    candidates: list[np.ndarray]


@dataclass(frozen=True)
class World:
    """What certify looks at: a select and a certify split, drawn alike."""

    select: Split
    certify: Split
    groups_select: None = None
    groups_certify: None = None

    @property
    def y_select(self) -> np.ndarray:
        """True answers of the select split."""
        return self.select.y

    @property
    def y_certify(self) -> np.ndarray:
        """True answers of the certify split."""
        return self.certify.y

    def seen(self, run: Run) -> np.ndarray:
        """What the run answers on the select split."""
        return _of(self.select, run)

    def fresh(self, run: Run) -> np.ndarray:
        """What the run answers on the certify split."""
        return _of(self.certify, run)


def _of(split: Split, run: Run) -> np.ndarray:
    return split.candidates[run.plan.levers[0].number] if run.plan.levers else split.control  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Scenario:
    """A floor and candidates, cheapest first; `good` says which truly keep the floor; `draw(n, generator)` a split."""

    name: str
    floor: Floor
    good: tuple[bool, ...]
    draw: Callable[[int, np.random.Generator], Split]

    def front(self) -> Front:
        """The candidates on a front: each dearer than the one before, and better, as a search would have found them."""
        task = {"rmse": Task.REGRESS, "perplexity": Task.LANGUAGE}.get(self.floor.metric, Task.CLASSIFY)
        spec = Spec(Form.MODULE, (Op("fc", Kind.LINEAR, 4, 2),), DataSpec(1000, 16.0, task))
        job = Job("simulated", spec, self.floor)
        sign = 1 if higher_is_better(self.floor.metric) else -1

        def run(plan: Plan, usd: float) -> Run:
            score = Score(self.floor.metric, 2.0 + sign * usd, 0.01, 1000)
            return Run(plan, Bill.of(Basis.MEASURED, serve=Cost(usd=usd)), score)

        front = Front.of(run(Plan(job), 1.0))
        for number in range(len(self.good)):
            front = front.add(run(Plan(job, (Candidate(number),)), 0.9 * (number + 1) / len(self.good)))
        return front


def labelled(laws: list[tuple[float, float]]) -> Callable[[int, np.random.Generator], Split]:
    """Candidates that win and lose given shares of all examples against a control that is right on `RIGHT`."""

    def draw(n: int, generator: np.random.Generator) -> Split:
        wrong = generator.random(n) < 1 - RIGHT
        answers = [
            (generator.random(n) < np.where(wrong, 1 - won / (1 - RIGHT), lost / RIGHT)).astype(int)
            for won, lost in laws
        ]
        return Split(np.zeros(n, dtype=int), wrong.astype(int), answers)

    return draw


def told(worse: list[float]) -> Callable[[int, np.random.Generator], Split]:
    """Log-likelihoods of sequences of 64 tokens; a candidate is worse by so many nats per token on average."""

    def draw(n: int, generator: np.random.Generator) -> Split:
        hard = generator.gamma(4.0, 0.4, size=(n, 1))
        control = -hard * generator.exponential(size=(n, 64))
        answers = [
            control - gap * generator.gamma(0.5, 2.0, size=(n, 1)) + 0.05 * generator.normal(size=(n, 64))
            for gap in worse
        ]
        return Split(np.zeros((n, 64), dtype=int), control - 0.5, [answer - 0.5 for answer in answers])

    return draw


def valued(spread: list[float]) -> Callable[[int, np.random.Generator], Split]:
    """Values with heavy-tailed errors; a candidate adds noise of its own with such a standard deviation."""

    def draw(n: int, generator: np.random.Generator) -> Split:
        y, error = 3 * generator.normal(size=n), generator.standard_t(8, size=n)
        answers = [y + error + wide * generator.normal(size=n) for wide in spread]
        return Split(y, y + error, answers)

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
        (Scenario("one just below", point, (False,), labelled([edge])), sizes),
        (Scenario("eight just below", point, (False,) * 8, labelled([edge] * 8)), sizes),
        (Scenario("eight, 0.3 points", third, (False,) * 8, labelled([edge_third] * 8)), sizes),
        (
            Scenario(
                "some below, one good",
                point,
                (False, False, False, True),
                labelled([(0.01, 0.03), edge, edge, (0.005, 0.005)]),
            ),
            sizes,
        ),
        (
            Scenario("a good one first", point, (False, False, False, True), labelled([edge, edge, edge, (0.0, 0.0)])),
            sizes,
        ),
        (
            Scenario(
                "share of the control",
                Floor("accuracy", 0.01, Slack.RATIO),
                (False,) * 3,
                labelled([edge_share] * 3),
            ),
            sizes,
        ),
        (
            Scenario("against 94%", Floor("accuracy", 0.94, Slack.ABSOLUTE), (False,) * 3, labelled([edge_fixed] * 3)),
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
    same = labelled([(0.005, 0.005)])
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
    bad = [number for number, good in enumerate(scenario.good) if good == power]
    counts = np.zeros(3, dtype=int)
    for _ in range(cell.repeats):
        world = World(scenario.draw(max(cell.n // 2, 60), generator), scenario.draw(cell.n, generator))
        passed = {
            trial.run.plan.levers[0].number for trial in certify(front, world, alpha=ALPHA).trials if trial.passed
        }  # type: ignore[attr-defined]
        peers = [_peers(scenario.floor, world.certify, number) for number in bad]
        counts += [bool(passed & set(bad)), any(unpaired for unpaired, _ in peers), any(naive for _, naive in peers)]
    return Counted(*counts.tolist())


def _peers(floor: Floor, split: Split, number: int) -> tuple[bool, bool]:
    """Whether two usual ways accept a candidate: error bars of both scores added up, and the score alone."""
    metric = load(floor.metric)
    ours, control = metric.score(split.y, split.candidates[number]), metric.score(split.y, split.control)
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
