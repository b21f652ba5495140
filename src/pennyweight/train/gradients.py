"""Gradient checking: what backward gives, beside central differences in float64, parameter by parameter."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any, final

from pennyweight.errors import BadInputError
from pennyweight.train.objective import Batch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from pennyweight.train.objective import Objective

TOLERANCE = 1e-4
_EVERY_NUMBER = 24  # parameters of at most so many numbers are checked number by number
_STEPS = (1e-5, 1e-6)  # the better of two: the longer one may cross a kink, the shorter one drowns in rounding
_NOTHING = 1e-9  # of the largest slope of all: what counts as zero


@dataclass(frozen=True, slots=True)
class Checked:
    """One parameter: its worst slope by backward (`analytic`) and by differences (`numeric`), and how far apart.

    `error` is relative to the larger of the two; `slopes` is how many were compared.
    """

    name: str
    shape: tuple[int, ...]
    slopes: int
    analytic: float
    numeric: float
    error: float

    @property
    def right(self) -> bool:
        """Whether backward and differences agree."""
        return self.error <= TOLERANCE


@dataclass(frozen=True, slots=True)
class Report:
    """All parameters, in the order of the model."""

    checked: tuple[Checked, ...]

    @property
    def wrong(self) -> tuple[Checked, ...]:
        """Those whose gradients are wrong."""
        return tuple(each for each in self.checked if not each.right)

    def __str__(self) -> str:
        if not self.wrong:
            return f"All {len(self.checked)} gradients are right."
        last = self.wrong[-1]  # errors spread from the loss backwards, so the last wrong one is nearest to the cause
        after = [each.name for each in self.checked[self.checked.index(last) + 1 :]]
        spread = f" Wrong too, before it: {', '.join(each.name for each in self.wrong[:-1])}." * (len(self.wrong) > 1)
        until = f"the gradients from {after[0]} on are right" if after else "no later parameter is right"
        return (
            f"The gradient of {last.name} is wrong: backward says {last.analytic:.6g}, differences say "
            f"{last.numeric:.6g}; {until}.{spread} Look at the backward of what lies between {last.name} and the loss."
        )


def check_gradients(
    model: nn.Module, objective: Objective, batch: Batch, *, directions: int = 8, seed: int = 0
) -> Report:
    """Compare the gradient of the loss on `batch` with central differences, for every trainable parameter.

    All is done on a copy in float64, in training mode, with the same random numbers at every evaluation, so that
    dropout does not disturb. Small parameters are checked number by number; of larger ones `directions` random
    directions and as many single numbers. Raises `BadInputError` for a model that does not run in float64 or has
    nothing to train.
    """
    import torch

    checker = _Checker(copy.deepcopy(model).double().train(), objective, _double(batch), seed)
    named = [(name, each) for name, each in checker.model.named_parameters() if each.requires_grad]
    if not named:
        raise BadInputError("The model has no parameter to train.", "let at least one require gradients.")
    with torch.random.fork_rng(devices=()):
        checker.backward()
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for _, p in named]
        top = max(float(each.abs().max()) for each in gradients)
        rng = torch.Generator().manual_seed(seed)
        return Report(
            tuple(
                checker.check(name, each, grad, [top * _NOTHING, *_directions(each, directions, rng)])
                for (name, each), grad in zip(named, gradients, strict=True)
            )
        )


@final
@dataclass(frozen=True, slots=True)
class _Checker:
    model: nn.Module
    objective: Objective
    batch: Batch
    seed: int

    def loss(self) -> Tensor:
        """The loss, with the same random numbers every time."""
        import torch

        torch.manual_seed(self.seed)
        try:
            return self.objective.mixed(self.model(self.batch.x), self.batch)
        except RuntimeError as error:
            raise BadInputError(
                f"The model does not run in float64: {str(error).splitlines()[0]}",
                "let it make new tensors in the type of its input.",
            ) from error

    def backward(self) -> None:
        self.model.zero_grad(set_to_none=True)
        self.loss().backward()

    def check(self, name: str, weight: Tensor, gradient: Tensor, along: list[Any]) -> Checked:
        """The worst of the slopes along the given directions; the first entry is what counts as zero."""
        floor, *directions = along
        worst = (-1.0, 0.0, 0.0)
        for each in directions:
            analytic = float((gradient * each).sum())
            found = [(_apart(analytic, slope, floor), analytic, slope) for slope in self._slopes(weight, each)]
            worst = max(worst, min(found, key=itemgetter(0)), key=itemgetter(0))
        return Checked(name, tuple(weight.shape), len(directions), worst[1], worst[2], worst[0])

    def _slopes(self, weight: Tensor, along: Tensor) -> Iterator[float]:
        import torch

        kept = weight.detach().clone()
        with torch.no_grad():
            for step in _STEPS:
                weight.copy_(kept + step * along)
                above = float(self.loss())
                weight.copy_(kept - step * along)
                below = float(self.loss())
                weight.copy_(kept)
                yield (above - below) / (2 * step)


def _apart(analytic: float, numeric: float, floor: float) -> float:
    if not (math.isfinite(analytic) and math.isfinite(numeric)):
        return math.inf
    rounding = 1e-9 / max(abs(analytic), abs(numeric), 1e-30)
    return max(0.0, abs(analytic - numeric) / max(abs(analytic), abs(numeric), floor, 1e-12) - rounding)


def _directions(weight: Tensor, count: int, rng: Any) -> Iterator[Tensor]:
    """Unit directions: every number of a small parameter, else random ones and single numbers."""
    import torch

    size = weight.numel()
    spots = range(size) if size <= _EVERY_NUMBER else torch.randperm(size, generator=rng)[:count].tolist()
    for spot in spots:
        one = torch.zeros(size, dtype=torch.float64)
        one[spot] = 1.0
        yield one.view(weight.shape)
    for _ in range(count if size > _EVERY_NUMBER else 0):
        some = torch.randn(weight.shape, generator=rng, dtype=torch.float64)
        yield some / some.norm()


def _double(batch: Batch) -> Batch:
    parts = (batch.x, batch.y, batch.weight, batch.teacher)
    return Batch(*(part.double() if part is not None and part.is_floating_point() else part for part in parts))
