"""`pennyweight alerts` and `pennyweight label`: what was noticed about served models, and what was right."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pennyweight.cli.screen import say, say_json, say_table
from pennyweight.serve.watch.telling import read_labels
from pennyweight.store.team import alerts, labels
from pennyweight.store.team.opened import opened, reading
from pennyweight.units import parse_seconds

if TYPE_CHECKING:
    from pathlib import Path

    from pennyweight.store.team.alerts import Alert

_S = 10**9


def tell_alerts(model: str, since: str, store: str, *, json: bool) -> None:
    """List alerts, newest first."""
    since_ns = time.time_ns() - round(parse_seconds(since) * _S) if since else 0
    with opened(store) as engine, reading(engine) as link:
        found = alerts.alerts(link, model, since_ns)
    if json:
        say_json([_facts(each) for each in found])
        return
    if not found:
        say("Nothing was noticed.")
        return
    rows = [(_when(each.at_ns), each.kind, _of(each), each.text) for each in found]
    say_table("Alerts", ("when", "kind", "version", "what"), rows)


def tell_labelled(file: Path, store: str, *, json: bool) -> None:
    """Keep the labels in a file."""
    told = read_labels(file)
    with opened(store) as engine, engine.begin() as link:
        joined = labels.add(link, told)
    if json:
        say_json({"labels": len(told), "joined": joined})
        return
    lost = f" {len(told) - joined} of them belong to no answer that is kept." if joined < len(told) else ""
    say(f"{len(told)} labels are kept.{lost}")


def _facts(of: Alert) -> dict[str, Any]:
    return {name: getattr(of, name) for name in type(of).__slots__}


def _of(told: Alert) -> str:
    return f"{told.model}@{told.number}" if told.number else told.model


def _when(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns / _S, UTC).strftime("%Y-%m-%d %H:%M:%S")
