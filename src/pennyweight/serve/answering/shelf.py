"""The versions that are loaded, and which of them answers under a name at this moment."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, final

from pennyweight.serve.refused import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pennyweight.runtimes.kept import Kept
    from pennyweight.serve.answering.lane import Lane
    from pennyweight.serve.speaking.choir import Choir
    from pennyweight.serve.speaking.embedding import Embedder
    from pennyweight.serve.watch.seen import Seen
    from pennyweight.store.team.labels import Answer
    from pennyweight.store.team.registry import Version
    from pennyweight.store.team.rollouts import Rollout
    from pennyweight.store.team.usage import Price


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """A version that is loaded, warm and proved; its price is that of its model.

    `seen` is what passes by it, for who watches it; None where nobody does. `row_units` is what a row of input counts
    as: its tokens where it is text. A language model that continues texts has a `choir`, one
    that makes vectors of them an `embedder`. `kept` are its latest answers,
    where it keeps them.
    """

    version: Version
    lane: Lane
    price: Price
    shape: tuple[int, ...] = ()
    seen: Seen | None = None
    row_units: int = 1
    choir: Choir | None = None
    kept: Kept | None = None
    embedder: Embedder | None = None

    @property
    def name(self) -> str:
        """The number, as replies carry it."""
        return str(self.version.number)


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """A version on trial beside the one that is served under a name, and what both said of late."""

    rollout: Rollout
    served: Served
    said: deque[Answer] = field(default_factory=deque)  # answers to be kept, so that labels can be joined


@final
@dataclass(slots=True, eq=False)
class Shelf:
    """What answers, by name. Replacing an entry is the switch: a request has either the old version or the new one.

    A name is a model's, or "model@alias" where several versions of a model are served beside each other.
    """

    current: dict[str, Served] = field(default_factory=dict)
    trials: dict[str, Trial] = field(default_factory=dict)

    def get(self, name: str, number: str = "") -> Served:
        """Who answers under a name now; raises `RefusedError` (404) if nobody, or nobody of version `number`."""
        found = self.current.get(name)
        if found is not None and number not in {"", found.name}:
            found = next((each for each in self.all() if (each.version.model, each.name) == (name, number)), None)
        if found is None:
            raise RefusedError(404, "There is no such model here, or not in that version.")
        return found

    def put(self, served: Served, name: str = "") -> Served | None:
        """Let a version answer from now on under a name, its model's unless said, and return the one that did."""
        name = name or served.version.model
        before = self.current.get(name)
        self.current[name] = served
        return before

    def all(self) -> Iterator[Served]:
        """Everything that may answer."""
        yield from self.current.values()
        yield from (trial.served for trial in self.trials.values())

    def reprice(self, price: Price) -> None:
        """Let what is asked of a model from now on cost that."""
        for name, served in self.current.items():
            if served.version.model == price.model and served.price != price:
                self.current[name] = replace(served, price=price)
        for name, trial in self.trials.items():
            if trial.rollout.model == price.model and trial.served.price != price:
                self.trials[name] = replace(trial, served=replace(trial.served, price=price))
