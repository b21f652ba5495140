"""A training's state on its way to a checkpoint and back, for one worker or several that keep theirs together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

from pennyweight.train.checkpoint import identity
from pennyweight.train.clock import Part
from pennyweight.train.parts import parted
from pennyweight.train.place import Place, Resumable, torch_random

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from pennyweight.core import TrainSpec
    from pennyweight.train.clock import Clock
    from pennyweight.train.how import How


@final
@dataclass(slots=True)
class Keeping:
    """Keeps the state of a training on `rows` rows, and finds it again: the `model` and all `parts` that change.

    Each of several workers keeps a state of its own, all at the same step. The first keeps its state last: where it has
    one, the others have theirs of that step. A worker that finds the first one's state and not its own, because there
    are more workers now or it runs elsewhere, goes on with the same weights and draws what it draws anew.
    """

    model: nn.Module
    settings: TrainSpec
    how: How
    clock: Clock
    rows: int
    parts: Mapping[str, Resumable | None]
    _wanted: bool = field(default=False, init=False)

    def due(self, place: Place) -> bool:
        """Whether the state is to be kept as soon as that can be: not while gradients wait for more to add up."""
        kept = self.how.checkpoints
        if kept is None or not place.fresh:
            return False
        self._wanted = self._wanted or kept.due(place.updates)
        return self._wanted

    def write(self) -> None:
        """Keep the state; all workers call this after the same step."""
        kept, wire = self.how.checkpoints, self.how.team.wire
        if kept is None:
            return
        self._wanted = False
        with self.clock.aside(Part.CHECKPOINT):
            state, who = self._state(), self._identity()
            if wire.rank:
                kept.write(state, who)
            wire.least(1)
            if not wire.rank:
                kept.write(state, who)

    def resume(self) -> bool:
        """Go on from the state that was found, if there is one."""
        kept, team = self.how.checkpoints, self.how.team
        state = None if kept is None else team.found(kept.read(self._identity()))
        if state is None:
            return False
        with self.clock.aside(Part.CHECKPOINT):
            self.model.load_state_dict(self._parted(state["model"]))
            if state["place"]["best"] is not None:
                state["place"]["best"] = self._parted(state["place"]["best"])
            for name, each in self._there().items():
                each.restore(state[name])
            mine = state["worker"] == (team.rank, team.size)
            shared = {name: each for name, each in state["team"].items() if mine or name != "own"}
            team.restore(shared, self.model)
            if mine:
                torch_random(state["random"])
        return True

    def _state(self) -> dict[str, Any]:
        team = self.how.team
        parts = {name: each.state() for name, each in self._there().items()}
        who = {"worker": (team.rank, team.size), "team": team.state(), "random": torch_random()}
        state: dict[str, Any] = team.gathered({"model": self.model.state_dict(), **who, **parts})
        return state

    def _parted(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Whole weights in the parts that the model has."""
        live = self.model.state_dict()
        return {name: parted(each, live[name]) for name, each in weights.items()}

    def _there(self) -> dict[str, Resumable]:
        return {name: each for name, each in self.parts.items() if each is not None}

    def _identity(self) -> dict[str, Any]:
        how = self.how
        of = how.checkpoints.of if how.checkpoints else ""
        return identity(self.model, self.settings, rows=self.rows, seed=how.seed, task=how.task.value, of=of)
