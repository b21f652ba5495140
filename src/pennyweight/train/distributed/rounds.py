"""Agreeing every H steps: local SGD, and DiLoCo with an outer momentum; what is sent is how far the weights moved."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

from pennyweight.train.distributed.each import same_weights
from pennyweight.train.distributed.exchange import Feedback, Vector
from pennyweight.train.distributed.naming import exchange
from pennyweight.train.distributed.residue import give_back, residue
from pennyweight.train.team import Team, Word, wish

if TYPE_CHECKING:
    from torch import Tensor, nn


@final
@dataclass(frozen=True, slots=True)
class Outer:
    """The step from one round to the next: `rate` times the mean move, with Nesterov's `momentum`.

    A rate of 1 without momentum is local SGD (Stich, 2018): the weights are averaged. DiLoCo (Douillard et al., 2023)
    takes 0.7 and 0.9.
    """

    every: int
    rate: float = 1.0
    momentum: float = 0.0


@final
@dataclass(slots=True)
class Rounds(Team):
    """Workers that train alone for `outer.every` steps, then go on from where all have moved in the mean.

    `compress` names the compressor of the moves. Running statistics (batch norm) are averaged with the weights. Between
    two rounds a worker that wants to stop goes on, since the others cannot hear it.
    """

    outer: Outer
    compress: str = ""
    feedback: Feedback = field(init=False)
    start: Tensor | None = field(default=None, init=False)
    speed: Tensor | None = field(default=None, init=False)
    met: bool = field(default=False, init=False)
    wish: Word = field(default=Word.GO, init=False)

    def __post_init__(self) -> None:
        self.feedback = Feedback(exchange(self.compress))

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model itself, from the first worker's weights."""
        same_weights(model, self.wire)
        self.start = _flat(model)
        return model

    def after_step(self, model: nn.Module, step: int) -> None:
        """At the end of a round, move all to the same weights."""
        self.met = step % self.outer.every == 0
        if self.met:
            self._meet(model)

    def finish(self, model: nn.Module) -> None:
        """End a round that the last step left open."""
        if not self.met:
            self._meet(model)
            self.met = True

    def agree(self, *, going: bool, keep: bool = False) -> Word:
        """What all do, asked at the end of a round; until then all go on."""
        self.wish = min(self.wish, wish(going=going, keep=keep))
        if not self.met:
            return Word.GO
        least, self.wish = self.wire.least(self.wish), Word.GO
        return Word(least)

    def state(self) -> dict[str, Any]:
        """The outer momentum, which all share, and what this worker has not told yet."""
        return {"speed": self.speed, "met": self.met, "own": residue(self.feedback)}

    def restore(self, state: dict[str, Any], model: nn.Module) -> None:
        """Go on from the weights at which all have met."""
        self.start, self.speed, self.met = _flat(model), state["speed"], state["met"]
        if "own" in state:
            give_back(self.feedback, state["own"])

    def _meet(self, model: nn.Module) -> None:
        import torch

        if self.start is None:
            raise RuntimeError
        shapes = tuple(tuple(each.shape) for each in model.parameters())
        move = self.feedback.mean(Vector(_flat(model) - self.start, shapes), self.wire)
        if self.outer.momentum:
            self.speed = move.clone() if self.speed is None else self.outer.momentum * self.speed + move
            move += self.outer.momentum * self.speed
        self.start += self.outer.rate * move
        with torch.no_grad():
            for each, part in zip(model.parameters(), self.start.split(_sizes(model)), strict=True):
                each.copy_(part.view_as(each))
            for buffer in model.buffers():
                if buffer.is_floating_point():
                    self.wire.mean(buffer)


def _flat(model: nn.Module) -> Tensor:
    """All parameters, one after another (N,), as a copy."""
    import torch

    return torch.cat([each.detach().reshape(-1) for each in model.parameters()])


def _sizes(model: nn.Module) -> list[int]:
    return [each.numel() for each in model.parameters()]
