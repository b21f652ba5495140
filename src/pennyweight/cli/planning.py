"""`pennyweight plan train`: the cheapest machines and layouts to train a large model, under a deadline and a budget."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isfinite
from typing import TYPE_CHECKING, Any

from pennyweight.cli.screen import say, say_json, say_table
from pennyweight.errors import OverBudgetError
from pennyweight.units import money, parse_seconds, parse_usd, percent, seconds, si

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pennyweight.cli.estimating import Trained
    from pennyweight.cli.launching import Told
    from pennyweight.layout.plans.planning import Limits
    from pennyweight.layout.plans.renting import Terms


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits as they were typed, on which accelerators, spare or not (None: both), and how much to show."""

    deadline: str | None
    budget: str | None
    most_devices: int | None
    on: Sequence[str]
    spare: bool | None
    top: int

    def limits(self) -> Limits:
        """The same as numbers."""
        from math import inf

        from pennyweight.layout.plans.planning import MOST_DEVICES, Limits

        deadline = inf if self.deadline is None else parse_seconds(self.deadline)
        budget = inf if self.budget is None else parse_usd(self.budget)
        return Limits(deadline, budget, self.most_devices or MOST_DEVICES)

    def accelerators(self) -> list[str]:
        """Each name by itself."""
        return [name for given in self.on for name in given.split(",") if name]


def tell_plan(trained: Trained, bounds: Bounds, terms: Terms, told: Told) -> None:
    """Tell the front of dollars against days; nothing within the limits is an error that says by how little."""
    from pennyweight.cli.calibrated import STEPS, calibration_of, say_calibration
    from pennyweight.cli.launching import check_target, launch_file
    from pennyweight.layout.plans.planning import plan_train
    from pennyweight.report.costs import plan_facts

    check_target(told.emit, "train")
    terms = replace(terms, calibration=calibration_of(told.calibration))
    plan = plan_train(trained.work(), bounds.limits(), bounds.accelerators(), bounds.spare, terms)
    launch = launch_file(plan, told.emit) if told.emit and plan.front else None
    facts = plan_facts(plan, bounds.top)
    if told.report is not None:
        from pennyweight.report.plan_page import write_plan

        write_plan(facts, told.report)
    if told.json:
        say_json(facts)
    if not plan.front:
        raise OverBudgetError(
            f"There is no way to train {plan.work.dims.name} within these limits. {' '.join(plan.why)}",
            _fix(plan.limits, fits="fits nowhere" not in plan.why[0]),
        )
    if not told.json:
        _show(facts)
        say_calibration(terms.calibration, told.calibration, STEPS)
        if told.report is not None:
            say(f"The report is in {told.report}.")
    if launch is not None:
        launch.tell(json=told.json)


def _fix(limits: Limits, *, fits: bool) -> str:
    """What to change of what was given."""
    if not fits:
        return "allow more --max-devices, devices with more memory (--on), shorter sequences or fewer bits."
    given = {"a longer --deadline": limits.deadline_s, "a larger --budget": limits.budget_usd}
    return f"give {' or '.join(what for what, most in given.items() if isfinite(most))}, or more --max-devices."


def _show(facts: dict[str, Any]) -> None:
    from pennyweight.cli.estimating import say_near
    from pennyweight.report.costs import layout_words

    work, shown = facts["work"], facts["shown"]
    what = f"{work['global_batch']:,} sequences of {work['sequence']:,} tokens in {work['precision']}"
    say(f"Training {work['model']} on {si(work['tokens'], '').strip()} tokens: {work['steps']:,.0f} steps of {what}")
    heads = ["cost", "90% interval", "time", "90% interval", "devices", "", "machines", "MFU", "layout"]
    rows = [
        [*_figures(each), _machines(each), percent(each["mfu"]["value"], 0), layout_words(each["layout"])]
        for each in shown
    ]
    say_table("What nothing beats in both dollars and days", heads, rows, (0, 2, 4, 7))
    say_near(f"the cheapest: {shown[0]['nearest']}")
    say(f"{len(shown)} of {len(facts['front'])} ways on the front; {facts['configurations']:,} were considered.")
    say("Whether so many machines are to be had is for their seller to say.")


def _figures(each: dict[str, Any]) -> list[str]:
    usd, time = each["usd"], each["seconds"]
    return [
        money(usd["value"]),
        f"{money(usd['low'])} to {money(usd['high'])}",
        seconds(time["value"]),
        f"{seconds(time['low'])} to {seconds(time['high'])}",
        f"{each['devices']:,}",
        each["accelerator"],
    ]


def _machines(each: dict[str, Any]) -> str:
    rent = each["rented"]
    spare = ", spare" if rent["spare"] else ""
    return f"{rent['cloud']} {rent['instance']}, {rent['region']}{spare}"
