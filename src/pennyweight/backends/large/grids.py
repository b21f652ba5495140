"""The multiples of a scale that few bits can name, and the scale of each group that suits its weights best.

A group w with codes q and a scale s costs sum h (w - s q)^2, with h how much a deviation of each input counts. From
several sizes of s, of either sign (there is one code more below zero than above), the cheapest is taken; then codes and
scale take turns: q = round(w / s), s = (h w . q) / (h q . q), which never costs more. Nothing is taken that is worse
than rounding to nearest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

if TYPE_CHECKING:
    from torch import Tensor

    from pennyweight.backends.large.rounding import Rounding

_CHUNK = 1 << 19  # weights worked on at a time
_SIZES = {3: (0.5, 1.15), 4: (0.65, 1.1), 8: (0.97, 1.01)}  # of a scale over the one that reaches the largest weight
_STEPS, _TURNS = 12, 3


def torch_type(dtype: str) -> Any:
    """The torch type of a safetensors type of floats."""
    import torch

    return {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}[dtype]


@final
@dataclass(frozen=True, slots=True)
class Grid:
    """Whole numbers of so many `bits`, `group` neighbours of a row sharing a scale that is kept as `dtype`."""

    bits: int
    group: int
    dtype: str

    @classmethod
    def of(cls, rounding: Rounding, dtype: str) -> Grid:
        """The grid of weights of `dtype` that are rounded so."""
        return cls(rounding.bits, rounding.group, dtype)

    @property
    def low(self) -> int:
        """The least code."""
        return -(1 << (self.bits - 1))

    @property
    def high(self) -> int:
        """The largest code."""
        return (1 << (self.bits - 1)) - 1

    def kept(self, scales: Tensor) -> Tensor:
        """Scales as they are after being stored."""
        return scales.to(torch_type(self.dtype)).float()

    def codes(self, groups: Tensor, scales: Tensor) -> Tensor:
        """The code (float32) of each weight (..., group) by its group's scale (...)."""
        return (groups * inverse(scales)[..., None]).round_().clamp_(self.low, self.high)

    def plain(self, groups: Tensor) -> Tensor:
        """The scales (N) of rounding to nearest: the largest magnitude over half the number of codes."""
        return self.kept(groups.abs().amax(-1) / (self.high + 0.5))

    def searched(self, groups: Tensor, importance: Tensor | None = None) -> Tensor:
        """The scales (N) that suit `groups` (N, group; float32) best.

        `importance` is h, of the groups of one row (in / group, group): it is the same for every row.
        """
        import torch

        found = torch.empty(len(groups))
        period = 1 if importance is None else len(importance)
        rows = max(1, _CHUNK // (self.group * period))
        for at in range(0, len(groups), rows * period):
            part = groups[at : at + rows * period]
            counts = None if importance is None else importance.repeat(len(part) // period, 1)
            found[at : at + rows * period] = self._best(part, counts)
        return found

    def _best(self, groups: Tensor, importance: Tensor | None) -> Tensor:
        import torch

        plain = self.plain(groups)
        best, least = plain, self._cost(groups, plain, importance)
        for size in torch.linspace(*_SIZES[self.bits], _STEPS).tolist():
            for sign in (1, -1):
                best, least = self._better(groups, (plain * (sign * size), importance), best, least)
        for _ in range(_TURNS):
            codes = self.codes(groups, best)
            weighed = codes if importance is None else codes * importance
            scales = self.kept((weighed * groups).sum(-1) / (weighed * codes).sum(-1).clamp_min_(1e-30))
            best, least = self._better(groups, (scales, importance), best, least)
        return best

    def _better(
        self, groups: Tensor, tried: tuple[Tensor, Tensor | None], best: Tensor, least: Tensor
    ) -> tuple[Tensor, Tensor]:
        import torch

        scales = self.kept(tried[0])
        cost = self._cost(groups, scales, tried[1])
        less = cost < least
        return torch.where(less, scales, best), torch.where(less, cost, least)

    def _cost(self, groups: Tensor, scales: Tensor, importance: Tensor | None) -> Tensor:
        apart = self.codes(groups, scales).mul_(scales[..., None]).sub_(groups).square_()
        return (apart if importance is None else apart.mul_(importance)).sum(-1)


def inverse(scales: Tensor) -> Tensor:
    """One over each scale, zero where that would be no finite number."""
    import torch

    return torch.where(scales.abs() >= torch.finfo(torch.float32).tiny, 1 / scales, torch.zeros(()))
