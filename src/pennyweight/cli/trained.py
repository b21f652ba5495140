"""`pennyweight train`: read the order, train alone or start the workers, show what came out."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pennyweight.cli.screen import say, say_json, say_table
from pennyweight.cli.training_screen import TrainingScreen
from pennyweight.core import Floor, Limits
from pennyweight.errors import BadInputError
from pennyweight.units import parse_seconds, parse_usd, percent, seconds, si, usd

if TYPE_CHECKING:
    from pathlib import Path

    from pennyweight.core import Job
    from pennyweight.training import Outcome


@dataclass(frozen=True, slots=True)
class Order:
    """What the person typed; `settings`, `regular` and `team` are fields of the training's spec."""

    recipe: Path
    data: Path | None
    floor: str | None
    budget: str | None
    time: str | None
    settings: dict[str, Any]
    regular: dict[str, Any]
    team: dict[str, Any]
    resume: str
    seed: int
    prices: str
    out: Path
    report: Path | None
    cure: bool = False
    options: tuple[str, ...] = ()

    def job(self) -> Job:
        """The recipe's job with what was typed."""
        from pennyweight.jobs import load_recipe
        from pennyweight.jobs.recipe import options_of

        job = load_recipe(self.recipe, self.data, **options_of(self.options))
        train = job.spec.train
        train = replace(
            train,
            regular=replace(train.regular, **self.regular),
            team=replace(train.team, **self.team),
            **self.settings,
        )
        asked = job.limits
        limits = Limits(
            parse_usd(self.budget) if self.budget else asked.usd,
            parse_seconds(self.time) if self.time else asked.wall_s,
            asked.memory_byte,
            asked.trials,
        )
        floor = Floor.parse(self.floor, job.floor.confidence) if self.floor else job.floor
        return replace(job, spec=replace(job.spec, train=train), floor=floor, limits=limits)

    def check(self) -> None:
        """Refuse before anything is spent what could not be done or written."""
        from pennyweight.store.artifacts import check_free
        from pennyweight.store.disk import check_plain

        typed = (self.floor, self.budget, self.time, self.settings, self.regular, self.team, self.cure)
        if self.resume and any(typed):
            raise BadInputError(
                "A run goes on as it was asked for.", "leave out all settings beside --resume, or begin a new run."
            )
        check_free(self.out)
        if self.report:
            check_plain(self.report)


def carry_out(order: Order, *, json: bool) -> None:
    """Train, and write and show what came out; a run that was interrupted ends as interrupted commands do."""
    from pennyweight.engine import Shop

    order.check()
    job = order.job()
    if "RANK" in os.environ:
        _visit(job, order, Shop.at(prices=order.prices))
        return
    with TrainingScreen(job.name) as screen:
        shop = Shop.at(prices=order.prices, watch=screen)
        outcome = _visit(job, order, shop)
    _write(outcome, job, order, shop)
    if json:
        say_json({**outcome.facts(), "path": str(order.out)})
    else:
        _show(outcome, order)
    if outcome.next.startswith("Go on with"):
        raise KeyboardInterrupt


def _visit(job: Job, order: Order, shop: Any) -> Outcome:
    from pennyweight.train.server.order import is_asynchronous
    from pennyweight.training import Training, train_job
    from pennyweight.training.run import begin

    training = Training(order.seed, order.resume, order.cure)
    folder = begin(job, training, shop)
    team = folder.asked.settings.team
    if team.workers > 1 and not is_asynchronous(team) and "RANK" not in os.environ:
        return _together(folder, order)
    return train_job(job, replace(training, resume=folder.name), shop=shop)


def _together(folder: Any, order: Order) -> Outcome:
    """Start the workers of a run, wait for them, and read what the first has left."""
    from pennyweight.train.distributed.launch import launch

    words = ["train", str(order.recipe), *(["--data", str(order.data)] if order.data else [])]
    words += [word for option in order.options for word in ("--with", option)]
    words += ["--resume", folder.name, "--prices", order.prices, "--out", str(order.out)]
    program = "from pennyweight.cli import main; main()"
    launch([sys.executable, "-c", program, *words], folder.asked.settings.team.workers, folder.path / "logs")
    outcome: Outcome = folder.outcome
    return outcome


def _write(outcome: Outcome, job: Job, order: Order, shop: Any) -> None:
    from pennyweight.serve.watch.recording import with_sample
    from pennyweight.store.artifacts import save

    save(with_sample(shop.artifacts.get(outcome.artifact), job), order.out)
    if order.report:
        from pennyweight.report.run_page import write_run_page

        write_run_page(order.report, outcome.facts(), outcome.sentences())


def _show(outcome: Outcome, order: Order) -> None:
    whole = outcome.cost
    rows = [
        [name, seconds(cost.device_s), seconds(cost.wall_s), si(cost.joule, "J"), usd(cost.usd), _share(cost, whole)]
        for name, cost in outcome.parts
    ]
    heads = ["part", "CPU", "clock", "energy", "dollars", "share"]
    say_table(f"{outcome.job}: run {outcome.run}", heads, rows, range(1, 6))
    for line in outcome.sentences():
        say(line)
    written = f"{order.out}, {order.report}" if order.report else str(order.out)
    say(f"Written: {written}.")


def _share(cost: Any, whole: Any) -> str:
    return percent(cost.device_s / whole.device_s, 0) if whole.device_s else ""
