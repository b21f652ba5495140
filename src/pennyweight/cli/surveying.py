"""`pennyweight data`: what a job's data is and can prove, and how well the job as asked does in cross-validation."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pennyweight.cli.screen import Progress, say, say_json, say_table, shout
from pennyweight.core import Slack
from pennyweight.data.answers import Tokens, Values
from pennyweight.data.balance import Balance
from pennyweight.units import percent, seconds, si, usd

if TYPE_CHECKING:
    from pathlib import Path

    from pennyweight.core import Job
    from pennyweight.data.parts import Part
    from pennyweight.engine.validating import Validated
    from pennyweight.jobs.survey import Survey

_SHOWN = 20


def tell_data(recipe: Path, data: Path | None, k: int | None, *, json: bool) -> None:
    """Survey a recipe's data, and cross-validate its control in `k` folds if they are asked for."""
    from pennyweight.data.folds import folds
    from pennyweight.jobs import load_recipe
    from pennyweight.jobs.survey import survey

    job = load_recipe(recipe, data)
    if k is not None:
        folds(job.material.splits.train, k)  # refuses what cannot be done before anything is said
    found = survey(job)
    if not json:
        _show(found)
    validated = _validate(job, k) if k is not None else None
    if json:
        say_json({**_facts(found), "folds": _fold_facts(validated) if validated else None})
    elif validated:
        for line in _verdict(job, validated):
            say(line)


def _validate(job: Job, k: int) -> Validated:
    from pennyweight.engine import Shop
    from pennyweight.engine.validating import cross_validate

    with Progress(job.name) as progress:
        return cross_validate(job, Shop.at(watch=progress), k=k)


def _facts(found: Survey) -> dict[str, Any]:
    return {
        "job": found.job,
        "task": found.task.value,
        "floor": str(found.floor),
        "splits": [_part_facts(part) for part in found.parts],
        "leaks": [asdict(leak) for leak in found.leaks],
        "weighted": found.weighted,
        "power": {**asdict(found.power), "floor": str(found.floor), "text": str(found.power)},
        "alarms": found.alarms,
        "advice": found.advice,
    }


def _part_facts(part: Part) -> dict[str, Any]:
    facts = asdict(part)
    if isinstance(part.answers, Balance):
        more = {"ratio": part.answers.ratio, "majority": part.answers.majority, "effective": part.answers.effective}
        facts["answers"] = {**facts["answers"], **more}
    return facts


def _fold_facts(validated: Validated) -> dict[str, Any]:
    from pennyweight.report.facts import cost_facts, score_facts

    return {
        **score_facts(validated.score),
        "k": len(validated.folds),
        "each": [score.mean for score in validated.folds],
        "cost": cost_facts(validated.cost),
    }


def _show(found: Survey) -> None:
    say(f"{found.job}: {found.task.value}, {found.floor}")
    heads = ["split", "rows", "of shape", "type", "size", "missing", "copies"]
    rows = [
        [part.name, f"{part.rows:,}", " × ".join(map(str, part.shape)) or "1", part.dtype, si(part.byte, "B"),
         _missing(part), f"{part.doubled:,}"]
        for part in found.parts
    ]  # fmt: skip
    if any(part.groups is not None for part in found.parts):
        heads.append("groups")
        rows = [[*row, f"{part.groups or 0:,}"] for row, part in zip(rows, found.parts, strict=True)]
    say_table("Splits", heads, rows, (1, 4, 5, 6, 7))
    _show_answers(found)
    for line in found.alarms:
        shout(f"LEAK: {line}")
    for line in (str(found.power), *found.advice):
        say(line)


def _missing(part: Part) -> str:
    if not part.missing:
        return "0"
    more = ", …" if len(part.columns) > 4 else ""
    where = (
        f" (column{'s' * (len(part.columns) > 1)} {', '.join(map(str, part.columns[:4]))}{more})"
        if part.columns
        else ""
    )
    return f"{part.missing:,}{where}"


def _show_answers(found: Survey) -> None:
    answers = [part.answers for part in found.parts]
    names = [part.name for part in found.parts]
    balances = [each for each in answers if isinstance(each, Balance)]
    if balances:
        _show_classes(balances, names)
    values = {name: each for name, each in zip(names, answers, strict=True) if isinstance(each, Values)}
    if values:
        rows = [
            [name, *(f"{x:.4g}" for x in (each.mean, each.deviation, each.low, each.high))]
            for name, each in values.items()
        ]
        say_table("Values to predict", ["split", "mean", "deviation", "lowest", "highest"], rows, range(1, 5))
    for name, each in zip(names, answers, strict=True):
        if isinstance(each, Tokens):
            say(f"{name}: {each.count:,} tokens, {each.distinct:,} of a vocabulary of {found.answers:,}.")


def _show_classes(balances: list[Balance], names: list[str]) -> None:
    train = balances[0]
    counts = [dict(zip(each.classes, each.counts, strict=True)) for each in balances]
    known = sorted(set().union(*counts))
    total = sum(train.counts)
    rows = [
        [str(label), *(f"{count.get(label, 0):,}" for count in counts), percent(counts[0].get(label, 0) / total, 1)]
        for label in known[:_SHOWN]
    ]
    say_table("Classes", ["class", *names, "share of train"], rows, range(1, 5))
    if len(known) > _SHOWN:
        say(f"… and {len(known) - _SHOWN} more; --json has them all.")
    say(f"The largest class is {train.ratio:.3g} times the smallest; always answering it is right in "
        f"{percent(train.majority, 1)}.")  # fmt: skip


def _verdict(job: Job, validated: Validated) -> list[str]:
    """What cross-validation came to, in sentences."""
    score, cost = validated.score, validated.cost
    whole = (
        f"{len(validated.folds)}-fold cross-validation of the job as asked: {score.metric} {score.mean:.4f} "
        f"± {score.se:.4f} (standard error, {score.n:,} training rows); it took {seconds(cost.device_s)} of CPU, "
        f"{usd(cost.usd)}."
    )
    if job.floor.slack is not Slack.ABSOLUTE:
        return [whole]
    chance = percent(job.floor.chance(score), 0)
    return [whole, f"So it keeps {job.floor.metric} at {job.floor.amount:g} with a chance of {chance}."]
