"""The pages of runs: jobs, what was tried on them, predicted beside measured, and the front."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pennyweight.core import Demand
from pennyweight.errors import UnknownNameError
from pennyweight.report.facts import bill_facts, score_facts
from pennyweight.web.books import amount

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pennyweight.core import Bill
    from pennyweight.cost.price import Parts, PriceSheet
    from pennyweight.store.records import RunRecord
    from pennyweight.web.books import Books, Query

_AS_ASKED = "as asked"
_NEWEST = 1000


def runs_facts(books: Books, query: Query) -> dict[str, Any]:
    """Every job on the ledger with its runs and their front, for `predictions` over `days`; `job` shows only one."""
    wanted = query.get("job", "")[:200]
    demand = Demand(amount(query, "predictions", 1e6), amount(query, "days", 365.0))
    with books.ledger() as ledger:
        records = ledger.runs(wanted or None) if ledger else []
        names = sorted({each.job for each in ledger.runs()}) if ledger else []
        sheets = ledger.sheets if ledger else {}
    jobs: dict[tuple[str, str, str], dict[str, RunRecord]] = {}
    for each in records[-_NEWEST:]:
        if each.sheet in sheets:
            jobs.setdefault((each.job, each.fingerprint, each.score.metric), {})[each.plan_key] = each
    return {
        "job": wanted,
        "names": names,
        "demand": {"predictions": demand.predictions, "days": demand.days},
        "jobs": [_job(of, tuple(kept.values()), demand, sheets) for (of, *_), kept in reversed(jobs.items())],
    }


def _job(name: str, records: Sequence[RunRecord], demand: Demand, sheets: dict[str, PriceSheet]) -> dict[str, Any]:
    """The facts that `report.chart.front_chart` draws, from what the ledger kept of a job."""
    billed = [
        (each, each.bill(demand, sheets[each.sheet]), each.foreseen(demand, sheets[each.sheet])) for each in records
    ]
    best = _best([(each, bill.usd) for each, bill, _ in billed])
    runs = [_run(each, bill, foreseen) | {"on_front": each.plan_key in best} for each, bill, foreseen in billed]
    runs.sort(key=lambda run: run["bill"]["total"]["usd"])
    control = next((run for run in runs if run["is_control"]), runs[0])
    return {
        "job": name,
        "fingerprint": records[0].fingerprint,
        "objective": "total",
        "demand": {"predictions": demand.predictions, "days": demand.days},
        "control": control,
        "runs": runs,
    }


def _best(of: Sequence[tuple[RunRecord, float]]) -> frozenset[str]:
    """The keys of the plans, on all of the data, that no other beats: the rule of `core.Front`."""
    full = sorted(((usd, _worse(each), each.plan_key) for each, usd in of if each.fidelity >= 1))
    kept, least = set(), math.inf
    for _, worse, key in full:
        if worse < least:
            least = worse
            kept.add(key)
    return frozenset(kept)


def _worse(of: RunRecord) -> float:
    return -of.score.mean if of.score.higher_is_better else of.score.mean


def _run(of: RunRecord, bill: Bill, foreseen: Bill | None) -> dict[str, Any]:
    plan = of.plan_text or _AS_ASKED
    return {
        "id": of.id,
        "at_utc": of.at_utc,
        "plan": plan,
        "levers": [] if plan == _AS_ASKED else plan.split(" → "),
        "fidelity": of.fidelity,
        "seed": of.seed,
        "score": score_facts(of.score),
        "bill": bill_facts(bill),
        "predicted": bill_facts(foreseen) if foreseen else None,
        "off": foreseen.usd / bill.usd - 1 if foreseen and bill.usd else None,
        "is_control": plan == _AS_ASKED and of.fidelity >= 1,
        "is_winner": False,  # the ledger does not say which run was certified
        "artifact": of.artifact,
    }


def run_facts(books: Books, id_: int) -> dict[str, Any]:
    """One run: its levers, its quality, and line by line what was predicted and what was measured.

    Raises `UnknownNameError` if the ledger has no run of that number.
    """
    with books.ledger() as ledger:
        found = ledger.run(id_) if ledger else None
    if found is None:
        raise UnknownNameError(f"There is no run {id_}.", "choose one of the list of runs.")
    plan = found.plan_text or _AS_ASKED
    return {
        "id": found.id,
        "job": found.job,
        "at_utc": found.at_utc,
        "plan": plan,
        "levers": [] if plan == _AS_ASKED else plan.split(" → "),
        "fidelity": found.fidelity,
        "seed": found.seed,
        "scores": [score_facts(each) for each in (found.score, *found.others)],
        "lines": list(_lines(found.measured, found.predicted)),
        "artifact": found.artifact,
        "session": found.session,
        "runtime": found.spec.serve.runtime,
        "operators": len(found.spec.ops),
    }


def _lines(measured: Parts, predicted: Parts | None) -> Iterable[dict[str, Any]]:
    """What was measured beside what was predicted, in SI units."""
    for what, name in (("one prediction", "unit"), ("training", "train"), ("compressing", "tune")):
        for part, said in _SAID.items():
            theirs = getattr(getattr(predicted, name), part) if predicted else None
            yield _line(f"{what}, {said}", part, getattr(getattr(measured, name), part), theirs)
    for what, name in (("memory while serving", "memory_byte"), ("on the disk", "disk_byte")):
        yield _line(what, "byte", getattr(measured, name), getattr(predicted, name) if predicted else None)


_SAID = {"device_s": "core time", "wall_s": "on the clock", "joule": "energy"}


def _line(what: str, unit: str, measured: float, predicted: float | None) -> dict[str, Any]:
    off = predicted / measured - 1 if predicted and measured else None
    unit = "s" if unit.endswith("_s") else unit
    return {"what": what, "unit": unit, "measured": measured, "predicted": predicted, "off": off}


def last_runs(books: Books, most: int) -> list[dict[str, Any]]:
    """The newest runs, newest first, without money."""
    with books.ledger() as ledger:
        records = ledger.latest(most) if ledger else []
    return [
        {
            "id": each.id,
            "at_utc": each.at_utc,
            "job": each.job,
            "plan": each.plan_text or _AS_ASKED,
            "score": score_facts(each.score),
            "unit_s": each.unit.device_s,
        }
        for each in records
    ]
