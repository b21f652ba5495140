"""The versions that are loaded, and which of them answers for a model at this moment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, final

from pennyweight.serve.refused import RefusedError

if TYPE_CHECKING:
    from pennyweight.serve.lane import Lane
    from pennyweight.store.team.registry import Version
    from pennyweight.store.team.usage import Price


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """A version that is loaded, warm and proved; its price is that of its model."""

    version: Version
    lane: Lane
    price: Price
    shape: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """The number, as replies carry it."""
        return str(self.version.number)


@final
@dataclass(slots=True, eq=False)
class Shelf:
    """What answers, by model. Replacing an entry is the switch: a request has either the old version or the new one."""

    current: dict[str, Served] = field(default_factory=dict)

    def get(self, model: str, number: str = "") -> Served:
        """Who answers for a model now; raises `RefusedError` (404) if nobody, or if that is not version `number`."""
        found = self.current.get(model)
        if found is None or (number and number != found.name):
            raise RefusedError(404, "There is no such model here, or not in that version.")
        return found

    def put(self, served: Served) -> Served | None:
        """Let a version answer from now on, and return the one that did."""
        before = self.current.get(served.version.model)
        self.current[served.version.model] = served
        return before
