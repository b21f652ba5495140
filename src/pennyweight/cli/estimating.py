"""`pennyweight estimate`: what training a large model costs on so many devices of one kind."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pennyweight.cli.screen import say, say_json, say_table, shout
from pennyweight.errors import BadInputError
from pennyweight.units import energy, mass, money, percent, seconds, si

if TYPE_CHECKING:
    from collections.abc import Callable

    from pennyweight.cli.launching import Told
    from pennyweight.layout.plans.estimating import Estimate
    from pennyweight.layout.plans.renting import Terms
    from pennyweight.layout.plans.spreading import Choices
    from pennyweight.layout.plans.training import TrainWork

_SHOWN_SHARE = 0.001
_AROUND, _SHOWN_AROUND = 8, 8  # times as many devices are looked at for a report, and so many ways are drawn large


@dataclass(frozen=True, slots=True)
class Trained:
    """What is trained, as it was typed."""

    model: str
    tokens: str
    sequence: int
    global_batch: int
    precision: str

    def work(self) -> TrainWork:
        """The same as numbers."""
        from pennyweight.cost.hf_config import dims_of
        from pennyweight.layout.plans.training import TrainWork
        from pennyweight.units import parse_count

        dims = dims_of(self.model)
        return TrainWork(dims, parse_count(self.tokens), self.sequence, self.global_batch, self.precision)


@dataclass(frozen=True, slots=True)
class Asked:
    """Which devices, and what of the layout and the terms is fixed."""

    on: str
    choices: Choices
    terms: Terms


def tell_estimate(trained: Trained, asked: Asked, told: Told) -> None:
    """Tell what it costs, and write the report and the launch file that are asked for."""
    from pennyweight.cli.calibrated import STEPS, calibration_of, say_calibration
    from pennyweight.cli.launching import check_target, launch_file
    from pennyweight.layout.plans.estimating import estimate
    from pennyweight.report.costs import estimate_facts

    check_target(told.emit, "train")
    count, name = cluster(asked.on)
    terms = replace(asked.terms, calibration=calibration_of(told.calibration))
    found = estimate(trained.work(), name, count, asked.choices, terms)
    launch = launch_file(found, told.emit) if told.emit else None
    facts = estimate_facts(found)
    if told.report is not None:
        from pennyweight.report.plan_page import write_plan

        write_plan(facts | {"around": _around(found, terms)}, told.report)
    if told.json:
        say_json(facts)
    else:
        show(facts)
        say_calibration(terms.calibration, told.calibration, STEPS)
        if told.report is not None:
            say(f"The report is in {told.report}.")
    if launch is not None:
        launch.tell(json=told.json)


def _around(found: Estimate, terms: Terms) -> dict[str, Any] | None:
    """What other numbers of these devices would take, as the facts of a plan; None where nobody sells them."""
    from pennyweight.layout.plans.planning import Limits, plan_train
    from pennyweight.report.costs import plan_facts

    if found.rented.offer is None:
        return None
    most = Limits(most_devices=_AROUND * found.devices)
    plan = plan_train(found.work, most, [found.accelerator], found.rented.spare, terms)
    return plan_facts(plan, _SHOWN_AROUND) if plan.front else None


def cluster(text: str) -> tuple[int, str]:
    """Read ``512xh100`` as 512 of h100; without a number, one."""
    match = re.fullmatch(r"\s*(?:(\d+)\s*[xX*×]\s*)?([^\s,]+)\s*", text)
    if match is None:
        raise BadInputError(f"{text!r} names no devices.", "write how many of which, such as --on 512xh100.")
    return int(match[1] or 1), match[2]


def show(facts: dict[str, Any]) -> None:
    """Print an estimate."""
    from pennyweight.report.costs import layout_words

    work = facts["work"]
    say(f"Training {work['model']} on {si(work['tokens'], '').strip()} tokens with {where(facts)}")
    say(
        f"  {work['steps']:,.0f} steps of {work['global_batch']:,} sequences of {work['sequence']:,} tokens in "
        f"{work['precision']}; {layout_words(facts['layout'])}"
    )
    say_table("", ["", "expected", "90% interval"], list(_figures(facts)), (1,))
    _show_step(facts)
    _show_memory(facts)
    if not facts["fits"]:
        shout("It may not fit: see pennyweight fit for what would help, or leave the layout open.")
    say_near(facts["nearest"])
    for line in facts["said"]:
        say(f"Assumed: {line}.")


def say_near(text: str) -> None:
    """Say which measured run is nearest, and whether that is far."""
    say(f"{text[:1].upper()}{text[1:]}.")


def _show_step(facts: dict[str, Any]) -> None:
    whole = facts["step_s"]["value"]
    parts = {name: part for name, part in facts["parts_s"].items() if part > _SHOWN_SHARE * whole}
    rows = [[name.replace("_", " "), seconds(part), percent(part / whole, 1)] for name, part in parts.items()]
    say_table("", ["in a step", "time", "share"], rows, (1, 2))


def _show_memory(facts: dict[str, Any]) -> None:
    rows = [[name, si(byte, "B")] for name, byte in facts["memory"].items()]
    ends = {"in all": "memory_byte", "at most": "memory_high_byte", "a device has": "capacity_byte"}
    rows += [[name, si(facts[key], "B")] for name, key in ends.items()]
    say_table("", ["in memory", "bytes"], rows, (1,))


def where(facts: dict[str, Any]) -> str:
    """The machines of an estimate or of a point of a plan, in words."""
    rent, devices = facts["rented"], f"{facts['devices']:,} {facts['accelerator']}"
    if rent is None:
        return f"{devices}, which nobody in the catalog sells"
    spare = "spare, " * rent["spare"]
    dated = f" as of {rent['date']}" * bool(rent["date"])
    return (
        f"{devices}: {rent['machines']:,} × {rent['cloud']} {rent['instance']} in {rent['region']}, "
        f"{spare}${rent['usd_device_hour']:.2f} per device-hour{dated}"
    )


def _figures(facts: dict[str, Any]) -> list[list[str]]:
    shown: list[tuple[str, str, Callable[[float], str]]] = [
        ("time", "seconds", seconds),
        ("cost", "usd", money),
        ("energy", "joule", energy),
        ("carbon (CO2e)", "kg_co2e", mass),
        ("one step", "step_s", seconds),
        ("MFU", "mfu", lambda share: percent(share, 1)),
    ]
    rows = []
    for name, key, tell in shown:
        figure = facts[key]
        if figure is not None:
            rows.append([name, tell(figure["value"]), f"{tell(figure['low'])} to {tell(figure['high'])}"])
    kept = facts["upkeep"]
    more = f"a checkpoint of {seconds(kept['checkpoint_s'])} every {seconds(kept['every_s'])}"
    lost = f"{kept['interruptions_hour'] * 24:.2g} interruptions a day expected"
    rows.append(["kept alive", f"+{percent(kept['factor'] - 1, 1)}", f"{more}; {lost}"])
    return rows
