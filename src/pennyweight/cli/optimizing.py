"""`pennyweight optimize`: read the wish, search, show and keep what came out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pennyweight.cli.screen import Progress, say, say_json, say_table
from pennyweight.core import Floor, Limits, Slack
from pennyweight.errors import BadInputError
from pennyweight.units import parse_count, parse_seconds, parse_share, parse_usd, percent, si, usd

if TYPE_CHECKING:
    from pennyweight.cli.optimizing_large import Large
    from pennyweight.cli.outputs import Outputs
    from pennyweight.core import Front, Job

_WINNER = Path("winner.pw")
_RATIO_METRICS = frozenset({"perplexity", "rmse", "mae", "log_loss"})


@dataclass(frozen=True, slots=True)
class Wish:
    """What the person typed, not yet understood."""

    data: Path | None
    give_up: str | None
    floor: str | None
    sure: str | None
    strategy: str
    use: str | None
    budget: str | None
    trials: int | None
    time: str | None
    predictions: str | None
    seed: int
    prices: str
    dry_run: bool
    fresh: bool
    objective: str
    options: tuple[str, ...] = ()

    def apply(self, job: Job) -> Job:
        """The recipe's job with the floor, the demand and the limits that were typed."""
        from pennyweight.jobs.checks import check_power

        floor = self._floor(job.floor)
        asked = replace(job, floor=floor, demand=self._demand(job), limits=self._limits(job.limits))
        check_power(floor, job.material.splits.certify)
        return asked

    def _floor(self, asked: Floor) -> Floor:
        if self.give_up and self.floor:
            raise BadInputError("--give-up and --floor are two floors.", "give one of them.")
        confidence = parse_share(self.sure) if self.sure else asked.confidence
        if self.floor:
            return Floor.parse(self.floor, confidence)
        if self.give_up:
            slack = Slack.RATIO if asked.metric in _RATIO_METRICS else Slack.POINTS
            return Floor(asked.metric, parse_share(self.give_up), slack, confidence)
        return replace(asked, confidence=confidence)

    def _demand(self, job: Job) -> Any:
        return replace(job.demand, predictions=parse_count(self.predictions)) if self.predictions else job.demand

    def _limits(self, asked: Limits) -> Limits:
        return Limits(
            parse_usd(self.budget) if self.budget else asked.usd,
            parse_seconds(self.time) if self.time else asked.wall_s,
            asked.memory_byte,
            self.trials or asked.trials,
        )


def run_any(
    given: list[Path], wish: Wish, large: Large, places: tuple[Path, Path | None, Path | None], *, json: bool
) -> None:
    """Optimise recipes, or the folder of a language model; `places` are report, winner and picture."""
    from pennyweight.cli.optimizing_large import is_checkpoint, tell_checkpoint
    from pennyweight.cli.outputs import Outputs

    report, out, picture = places
    if any(map(is_checkpoint, given)):
        tell_checkpoint(given, wish, large, Outputs(report, out or _beside(given[0]), picture), json=json)
        return
    large.check_unused()
    run_all(given, wish, Outputs(report, out or _WINNER, picture), json=json)


def _beside(folder: Path) -> Path:
    return folder.resolve().with_name(f"{folder.resolve().name}-cheap")


def run_all(recipes: list[Path], wish: Wish, outputs: Outputs, *, json: bool) -> None:
    """Optimise every recipe; print the fronts, write the report and the winners. Ctrl-C ends it all."""
    from pennyweight.jobs import load_recipe
    from pennyweight.jobs.recipe import options_of
    from pennyweight.report.facts import front_facts

    options = options_of(wish.options)
    jobs = [wish.apply(load_recipe(recipe, wish.data, **options)) for recipe in recipes]
    outputs.check(jobs)
    fronts = _search_all(jobs, wish)
    if not json:
        for front in fronts:
            show(front)
    written = {} if wish.dry_run else outputs.write(fronts)
    if json:
        facts = [{**front_facts(front), **written.get(front.control.plan.job.name, {})} for front in fronts]
        say_json(facts[0] if len(facts) == 1 else facts)
    elif written:
        paths = [row["winner_path"] for row in written.values() if "winner_path" in row]
        say(f"The report is in {'; '.join([str(outputs.report), ', '.join(paths)]).removesuffix('; ')}.")
    if not wish.dry_run and fronts[-1].certificate is None:
        raise KeyboardInterrupt


def _search_all(jobs: list[Job], wish: Wish) -> list[Front]:
    """The fronts of all jobs, up to one that was interrupted."""
    fronts: list[Front] = []
    for job in jobs:
        fronts.append(_search(job, wish))
        if fronts[-1].certificate is None and not wish.dry_run:
            break
    return fronts


def _search(job: Job, wish: Wish) -> Front:
    from pennyweight.engine import Shop
    from pennyweight.optimizing import Search, foresee, optimize

    names = tuple(name.strip() for name in wish.use.split(",")) if wish.use else None
    how = Search(wish.strategy, names, wish.seed, wish.objective)
    with Progress(job.name) as progress:
        shop = Shop.at(prices=wish.prices, watch=progress, recall=not wish.fresh)
        return foresee(job, how, shop=shop) if wish.dry_run else optimize(job, how, shop=shop)


def show(front: Front) -> None:
    """Print a front as a table, the certificate, the bill of the search and the break-even volume."""
    from pennyweight.report.facts import front_facts

    facts = front_facts(front)
    ordered = sorted(facts["runs"], key=lambda run: run["bill"]["total"]["usd"])
    rows = [
        _row(run)
        for run in ordered
        if run["on_front"] or run["is_control"] or run["is_winner"] or front.certificate is None
    ]
    measured = facts["basis"] == "measured"
    heads = ["", "total", "error", "CPU/prediction", "cheaper", facts["floor"].split()[0] if measured else "", "levers"]
    say_table(f"{facts['job']}: {facts['floor']}", heads, rows, range(1, 6))
    for line in verdict(facts):
        say(line)


def verdict(facts: dict[str, Any]) -> list[str]:
    """What came out, in sentences."""
    if facts["basis"] != "measured":
        return ["Predicted, nothing was run; quality is only known by measuring."]
    if not facts["certificate"]:
        return ["Interrupted before anything was certified; run the same command again to go on."]
    lines = [facts["certificate"]["text"]]
    if facts["objective"] == "train":
        lines.append("Only finding and training count: predictions and storage are left out of every total.")
    if facts["certificate"]["held"]:
        lines.append(f"It saves {percent(facts['saving'], 1)} of {usd(facts['control']['bill']['total']['usd'])}.")
    if facts["search"]:
        lines.append(f"The search cost {usd(facts['search']['total']['usd'])}; {_pays(facts)}.")
    return lines


def _pays(facts: dict[str, Any]) -> str:
    if facts["objective"] == "train":
        again = facts["break_even_trainings"]
        return f"it has paid for itself after {again:,.0f} trainings" if again else "no training is cheaper by it"
    even = facts["break_even_predictions"]
    if even is None:
        return "nothing is saved that could pay for it"
    if even == 0:
        return "what the winner saves to train and to store pays for it, before the first prediction"
    return f"it has paid for itself after {even:,.0f} predictions"


def _row(run: dict[str, Any]) -> list[str]:
    score, cheaper = run["score"], run["times_cheaper_to_serve"]
    mark = "★" if run["is_winner"] and not run["is_control"] else "·" if run["is_control"] else ""
    quality = f"{score['mean']:.4f} ±{(score['high'] - score['mean']):.4f}" if score["n"] else ""
    return [
        mark,
        usd(run["bill"]["total"]["usd"]),
        f"±{percent(run['bill']['error'], 0)}",
        si(run["bill"]["unit"]["device_s"], "s"),
        f"{cheaper:.1f}×" if cheaper else "",
        quality,
        run["plan"],
    ]
