"""The widths of layers, measured once: what was chosen is written down, so that what goes on does not measure again."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, final

from pennyweight.engine.shrinking.budgeting import best_widths
from pennyweight.engine.shrinking.planning import laid
from pennyweight.errors import BadInputError
from pennyweight.store.disk import explained, put, read

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pennyweight.engine.shrinking.budgeting import Unit
    from pennyweight.engine.shrinking.planning import Plan
    from pennyweight.store.checkpoints.journal import Journal

_FILE = ".widths.json"
_WHAT = "the widths of layers"
_MOST_BYTE = 50_000_000


@final
@dataclass(frozen=True, slots=True)
class Settled:
    """A plan whose widths are chosen, and the harms that they were chosen by: by layers, and by width."""

    plan: Plan
    harms: Mapping[Unit, Mapping[str, float]] = field(default_factory=dict)

    @property
    def widths(self) -> dict[str, str]:
        """The width of each layer, by its name; empty if all are alike."""
        known = {way: name for name, way in self.plan.wish.widths.items()}
        return {_layer(name): known[way] for name, way in self.plan.widths.items()}

    @property
    def facts(self) -> dict[str, dict[str, float]]:
        """The harms, for JSON: layers that are rounded together stand together."""
        return {" ".join(map(_layer, unit)): dict(each) for unit, each in self.harms.items()}

    @property
    def harm(self) -> float:
        """What rounding is expected to move what the model says by, in nats for each token; 0 if all are alike."""
        widths = self.widths
        return sum(each[widths[_layer(unit[0])]] for unit, each in self.harms.items())


def settled(plan: Plan, journal: Journal, watch: Callable[[int], None]) -> Settled:
    """The plan with its widths chosen, as they were written down or else by measuring.

    Raises `BadInputError` if they are lost though some of the work is done.
    """
    if plan.settled:
        return Settled(plan)
    harms = None if journal.fresh else _found(plan, journal)
    if harms is None:
        from pennyweight.engine.shrinking.sensing import harms_of

        harms = harms_of(plan, journal.folder, watch)
        body = json.dumps([[list(unit), each] for unit, each in harms.items()])
        said = {"key": plan.key, "harms": body, "sha256": sha256(body.encode()).hexdigest()}
        put(journal.folder / _FILE, json.dumps(said).encode(), _WHAT)
    else:
        watch(plan.sensed_byte)
    widths = best_widths(plan.source, plan.wish, harms)
    return Settled(laid(plan.source, plan.wish, plan.choice, widths, settled=True), harms)


def forget_widths(journal: Journal) -> None:
    """Remove what was written down."""
    with explained(journal.folder, _WHAT):
        (journal.folder / _FILE).unlink(missing_ok=True)


def _found(plan: Plan, journal: Journal) -> dict[Unit, dict[str, float]] | None:
    said: Any = None
    if (journal.folder / _FILE).is_file():
        try:
            said = json.loads(read(journal.folder, _FILE, _MOST_BYTE))
            if said["key"] == plan.key and said["sha256"] == sha256(said["harms"].encode()).hexdigest():
                return {tuple(unit): each for unit, each in json.loads(said["harms"])}
        except (AttributeError, KeyError, TypeError, ValueError):
            pass
    if journal.done:
        raise BadInputError(
            f"What was measured for {journal.folder} is lost, and some of it is written.",
            "give --force to begin again.",
        )
    return None


def _layer(name: str) -> str:
    return name.removesuffix(".weight")
