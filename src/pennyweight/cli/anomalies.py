"""`pennyweight ledger --anomalies`: runs whose measured cost does not fit what alike runs cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pennyweight.cli.screen import say, say_json, say_table
from pennyweight.units import si

if TYPE_CHECKING:
    from pennyweight.engine.anomalies import Anomaly, Oddities


def tell_anomalies(*, json: bool) -> None:
    """Judge all runs on the ledger, and show those that do not fit."""
    from pennyweight.engine.anomalies import anomalies
    from pennyweight.store import home
    from pennyweight.store.ledger import Ledger

    with Ledger(home() / "ledger.db") as ledger:
        odd = anomalies(ledger.runs())
    if json:
        say_json({"runs": odd.runs, "alone": odd.alone, "anomalies": [_facts(each) for each in odd.found]})
        return
    if odd.found:
        heads = ["run", "job", "plan", "what", "measured", "expected", "times", "deviations"]
        say_table("Runs that do not fit", heads, [_cells(each) for each in odd.found], range(4, 8))
    say(_verdict(odd))


def _facts(odd: Anomaly) -> dict[str, Any]:
    run = odd.run
    return {
        "run": run.id,
        "at_utc": run.at_utc,
        "job": run.job,
        "plan": run.plan_text,
        "what": odd.what,
        "kind": odd.kind,
        "measured_s": odd.measured_s,
        "expected_s": odd.expected_s,
        "score": odd.score,
        "alike": odd.alike,
    }


def _cells(odd: Anomaly) -> list[str]:
    run, ratio = odd.run, odd.measured_s / odd.expected_s
    took, usual = si(odd.measured_s, "s"), si(odd.expected_s, "s")
    what = f"{odd.what} ({odd.kind})"
    return [str(run.id), run.job, run.plan_text, what, took, usual, f"{ratio:.2g}", f"{odd.score:+.1f}"]


def _verdict(odd: Oddities) -> str:
    from pennyweight.engine.anomalies import FEWEST

    judged = odd.runs - odd.alone
    names = len({each.run.id for each in odd.found})
    told = f"{names} of {judged} runs that could be judged do not fit."
    if not judged:
        told = f"No run can be judged: that takes {FEWEST} runs of the same runtime and precision."
    elif not names:
        told = f"All {judged} runs that could be judged cost what alike runs let expect."
    return f"{told} {odd.alone} have too few alike." if odd.alone and judged else told
