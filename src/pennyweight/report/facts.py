"""A front as plain facts: what `--json` prints and what every table and page is drawn from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pennyweight.core import Phase

if TYPE_CHECKING:
    from pennyweight.core import Bill, Certificate, Cost, Front, Run, Score


def front_facts(front: Front) -> dict[str, Any]:
    """Everything a reader may want to know about a finished search, JSON-compatible."""
    job = front.control.plan.job
    even = front.break_even() if front.certificate else None
    return {
        "job": job.name,
        "floor": str(job.floor),
        "floor_at": job.floor.threshold(front.control.score) if front.control.score.n else None,
        "objective": job.objective.value,
        "demand": {"predictions": job.demand.predictions, "days": job.demand.days, "batch": job.demand.batch},
        "basis": front.control.bill.basis.value,
        "control": run_facts(front.control, front),
        "runs": [run_facts(run, front) for run in front.seen],
        "winner": run_facts(front.winner, front),
        "saving": 1 - front.winner.bill.usd / front.control.bill.usd if front.control.bill.usd else 0.0,
        "certificate": certificate_facts(front.certificate) if front.certificate else None,
        "search": bill_facts(front.spent) if front.spent else None,
        "break_even_predictions": even if even is None or even < float("inf") else None,
        "break_even_trainings": _trainings(front),
    }


def _trainings(front: Front) -> float | None:
    """Trainings after which the search has paid for itself; None if the winner is not cheaper to train."""
    saved_usd = front.control.bill.line(Phase.TRAIN).usd - front.winner.bill.line(Phase.TRAIN).usd
    if not front.certificate or front.spent is None or saved_usd <= 0:
        return None
    return front.spent.usd / saved_usd


def run_facts(run: Run, front: Front) -> dict[str, Any]:
    """One run: its levers, its bill predicted and measured, its quality, and whether it stands on the front."""
    unit = run.bill.unit
    ours, theirs = unit.device_s, front.control.bill.unit.device_s
    return {
        "key": run.plan.key,
        "levers": [{"name": lever.name, "stage": lever.stage.name, "text": str(lever)} for lever in run.plan.levers],
        "plan": str(run.plan),
        "fidelity": run.plan.fidelity,
        "runtime": (run.spec or run.plan.spec).serve.runtime,
        "score": score_facts(run.score),
        "others": [score_facts(score) for score in run.others],
        "bill": bill_facts(run.bill),
        "predicted": bill_facts(run.predicted) if run.predicted else None,
        "times_cheaper_to_serve": theirs / ours if ours else None,
        "on_front": run in front.runs,
        "is_control": run.plan.is_control,
        "is_winner": run == front.winner,
        "artifact": run.artifact,
    }


def score_facts(score: Score) -> dict[str, Any]:
    """A metric with the 95% interval of its mean."""
    reach = 1.959964 * score.se
    return {
        "metric": score.metric,
        "mean": score.mean,
        "low": score.mean - reach,
        "high": score.mean + reach,
        "se": score.se,
        "n": score.n,
        "higher_is_better": score.higher_is_better,
    }


def bill_facts(bill: Bill) -> dict[str, Any]:
    """A bill line by line, in SI units and dollars."""
    return {
        "basis": bill.basis.value,
        "error": bill.error,
        "total": cost_facts(bill.total),
        "unit": cost_facts(bill.unit),
        **{phase.value: cost_facts(bill.line(phase)) for phase in Phase if phase in dict(bill.lines)},
    }


def cost_facts(cost: Cost) -> dict[str, float]:
    """A cost by the names of its units."""
    return {"device_s": cost.device_s, "wall_s": cost.wall_s, "joule": cost.joule, "usd": cost.usd}


def certificate_facts(certificate: Certificate) -> dict[str, Any]:
    """The guarantee, the tests it rests on, and what it would take where there is none."""
    return {
        "held": certificate.held,
        "plan": str(certificate.run.plan),
        "floor": str(certificate.floor),
        "test": certificate.test,
        "n": certificate.n,
        "alpha": certificate.alpha,
        "level": certificate.level,
        "uses": certificate.uses,
        "p_value": certificate.p_value,
        "needed": certificate.needed,
        "text": certificate.explain(),
        "trials": [
            {
                "plan": str(trial.run.plan),
                "score": score_facts(trial.score),
                "control": score_facts(trial.control),
                "p_value": trial.p_value,
                "level": trial.level,
                "passed": trial.passed,
            }
            for trial in certificate.trials
        ],
    }
