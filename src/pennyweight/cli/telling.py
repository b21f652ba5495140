"""`pennyweight levers`, `count`, `ledger` and `calibrate`: tell what there is, what it needs, what was spent."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, get_args

from pennyweight.cli.screen import say, say_json, say_table
from pennyweight.errors import UnknownNameError
from pennyweight.units import seconds, si, usd

if TYPE_CHECKING:
    from pathlib import Path

    from pennyweight.core import Job, Lever, Op

_SHOWN = 4


def tell_levers(recipe: Path | None, data: Path | None, *, json: bool) -> None:
    """List the levers, and for a recipe whether and how they fit."""
    from pennyweight import levers
    from pennyweight.jobs import load_recipe

    job = load_recipe(recipe, data) if recipe else None
    rows = [_lever_facts(name, kind, job) for name, kind in levers.find().items()]
    if json:
        say_json(rows)
        return
    heads = ["lever", "stage", "what it does"] if job is None else ["lever", "stage", "fits", "settings, or why not"]
    table = [[row["name"], row["stage"].lower(), *_cells(row, told=job is not None)] for row in rows]
    say_table(f"Levers for {job.name}" if job else "Levers", heads, table)


def _cells(row: dict[str, Any], *, told: bool) -> list[str]:
    if not told:
        return [row["what"]]
    if row["settings"]:
        more = f" … {row['count']} in all" if row["count"] > _SHOWN else ""
        return ["yes", ", ".join(row["settings"][:_SHOWN]) + more]
    return ["no", row["reason"]]


def _lever_facts(name: str, kind: type[Lever], job: Job | None) -> dict[str, Any]:
    doc = (kind.__doc__ or "").strip().splitlines()
    facts: dict[str, Any] = {
        "name": name,
        "stage": kind.stage.name,
        "what": doc[0] if doc else "",
        "source": kind.source,
    }
    if job is None:
        return facts
    settings = list(islice(kind.choices(job), 64))
    fitting = [lever for lever in settings if lever.fits(job.spec)]
    refusals = [lever.fits(job.spec).reason for lever in settings if not lever.fits(job.spec)]
    reason = refusals[0] if refusals else "it has no setting for this kind of job"
    return {
        **facts,
        "fits": bool(fitting),
        "settings": [str(lever).removeprefix(name) for lever in fitting],
        "count": len(fitting),
        "reason": "" if fitting else reason,
    }


def tell_count(recipe: Path, data: Path | None, *, json: bool) -> None:
    """Count the model of a recipe, operator by operator."""
    from pennyweight.cost.count import count, count_training, disk_byte, flop, params, weights
    from pennyweight.jobs import load_recipe

    spec = load_recipe(recipe, data).spec
    one, training = count(spec), count_training(spec)
    totals = {
        "params": params(spec),
        "flop_per_prediction": one.flop,
        "hbm_byte_per_prediction": one.hbm_byte,
        "disk_byte": disk_byte(spec),
        "training_flop": training.flop,
    }
    if json:
        ops = [{**_op_facts(op), "flop": flop(op), "weights": weights(op)} for op in spec.ops]
        say_json({**totals, "ops": ops})
        return
    rows = [
        [op.name, op.kind.value, _shape(op), str(op.times), si(weights(op), ""), si(flop(op), "")] for op in spec.ops
    ]
    say_table("Operators", ["name", "kind", "in → out", "times", "weights", "FLOP"], rows, (3, 4, 5))
    say(
        f"{si(totals['params'], '').strip()} parameters, {si(one.flop, 'FLOP')} and {si(one.hbm_byte, 'B')} "
        f"per prediction (batch {spec.serve.batch}), {si(training.flop, 'FLOP')} to train, "
        f"{si(totals['disk_byte'], 'B')} stored."
    )


def _op_facts(op: Op) -> dict[str, Any]:
    from pennyweight.store.codec import plain

    facts: dict[str, Any] = plain(op)
    return facts


def _shape(op: Op) -> str:
    fan = f" × {op.fan}" if op.fan != 1 else ""
    at = f" at {op.positions:g}" if op.positions != 1 else ""
    return f"{op.n_in} → {op.n_out}{fan}{at}"


def tell_ledger(by: str, prices: str, *, json: bool) -> None:
    """Sum up the ledger."""
    from pennyweight.catalog import load_prices
    from pennyweight.store import home
    from pennyweight.store.ledger import By, Ledger

    if by not in get_args(By):
        raise UnknownNameError.of("grouping", by, get_args(By))
    with Ledger(home() / "ledger.db") as ledger:
        ledger.keep(load_prices(prices))
        rows = ledger.spent(by)  # type: ignore[arg-type]  # checked one line above
        runs = len(ledger.runs())
    if json:
        facts = [{"key": row.key, "entries": row.entries, "unpriced": row.unpriced, **_cost(row.cost)} for row in rows]
        say_json({"by": by, "runs": runs, "rows": facts})
        return
    if not rows:
        say("Nothing has been spent yet: run pennyweight optimize.")
        return
    table = [
        [row.key or "(the job itself)", str(row.entries), seconds(row.cost.device_s), seconds(row.cost.wall_s),
         si(row.cost.joule, "J"), usd(row.cost.usd)]
        for row in rows
    ]  # fmt: skip
    say_table(f"Spent by {by}", [by, "entries", "core time", "wall time", "energy", "dollars"], table, range(1, 6))
    say(f"{runs} runs recorded, {usd(sum(row.cost.usd for row in rows))} in all.")


def _cost(cost: Any) -> dict[str, float]:
    from pennyweight.report.facts import cost_facts

    return cost_facts(cost)


def tell_calibration(*, thorough: bool, json: bool) -> None:
    """Measure the machine, keep the result, and say it; `thorough`: carry out the exercises as well."""
    from pennyweight.cost.calibrate import calibrate, save_machine
    from pennyweight.store.codec import plain

    device = calibrate()
    file = save_machine(device)
    runs = _exercise() if thorough else None
    if json:
        say_json({**plain(device), "file": str(file), "exercises": runs})
        return
    for precision, rate in device.flop_s.items():
        say(f"  {precision:10} {si(rate, 'FLOP/s')} per core")
    say(f"  {'memory':10} {si(device.hbm_byte_s, 'B/s')}")
    if runs is not None:
        say(f"  {'exercises':10} {runs} small models trained, changed and run")
    say(f"Kept in {file}; predictions use it from now on.")


def _exercise() -> int:
    """Carry out the exercises anew; only their receipts are kept."""
    from shutil import rmtree

    from pennyweight.cli.screen import Progress
    from pennyweight.engine import Shop, exercise, exercise_home
    from pennyweight.jobs.exercises import exercises

    with Progress("exercises") as progress:
        runs = exercise(exercises(), Shop.at(exercise_home(), watch=progress))
    rmtree(exercise_home() / "artifacts")
    return runs
