"""What a person should hear about a served model: drift, a floor that is broken, a canary's end, odd costs."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from sqlalchemy import insert, select

from pennyweight.store.team.tables import alert

if TYPE_CHECKING:
    from sqlalchemy import Connection

Kind = Literal["drift", "floor", "canary", "cost", "budget 80%", "budget 100%", "refused"]


@dataclass(frozen=True, slots=True)
class Alert:
    """What happened to version `number` of a model (0: to all), in one sentence and as a number.

    An alert about a budget has its owner in place of the model, and its id in place of the version.
    """

    model: str
    number: int
    kind: Kind
    text: str
    value: float
    at_ns: int = 0


def add(link: Connection, wanted: Alert, quiet_ns: int = 0) -> Alert | None:
    """Keep an alert; None, and nothing is kept, if one of its kind about that version is younger than `quiet_ns`.

    Of several processes that see the same, the first one is heard. Odd costs are of many tenants, so of those only the
    very same sentence is one too many.
    """
    now_ns = wanted.at_ns or time.time_ns()
    same = [alert.c.model == wanted.model, alert.c.number == wanted.number, alert.c.kind == wanted.kind]
    if wanted.kind == "cost":
        same.append(alert.c.text == wanted.text)
    if quiet_ns and link.execute(select(alert.c.id).where(*same, alert.c.at_ns > now_ns - quiet_ns)).first():
        return None
    made = replace(wanted, at_ns=now_ns)
    link.execute(insert(alert), {name: getattr(made, name) for name in Alert.__slots__})
    return made


def alerts(link: Connection, model: str = "", since_ns: int = 0, most: int = 1000) -> tuple[Alert, ...]:
    """The newest alerts, of one model or all, not before a moment; newest first."""
    asked = select(alert).where(alert.c.at_ns >= since_ns).order_by(alert.c.id.desc()).limit(most)
    rows = link.execute(asked.where(alert.c.model == model) if model else asked)
    return tuple(Alert(**{name: getattr(row, name) for name in Alert.__slots__}) for row in rows)
