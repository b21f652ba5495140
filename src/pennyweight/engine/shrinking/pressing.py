"""One block made of few bits: its linear layers one after the other, those before them being rounded already."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.backends.large.awq import channel_factors
from pennyweight.backends.large.decoders import BEFORE, SHARED_INPUTS
from pennyweight.backends.large.gptq import gptq
from pennyweight.backends.large.grids import Grid, torch_type
from pennyweight.backends.large.inputs import Inputs, gather, moved_share
from pennyweight.backends.large.packing import pack
from pennyweight.backends.large.rounding import as_stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from pennyweight.backends.large.rounding import Rounding


@final
@dataclass(frozen=True, slots=True)
class Way:
    """How blocks are rounded: the method, and how many tokens are passed through them."""

    method: str
    tokens: int


@final
@dataclass(slots=True)
class Press:
    """A block being rounded, its `layer` holding `weights` (float32) by their names, stored as `dtypes`.

    `linears` are the layers to round, and how. Afterwards `parts` holds bytes by name and part of what was made
    ("packed", "scale", or "kept" of a norm that changed) and `errors` how far outputs of layers moved on tokens held
    out.
    """

    way: Way
    layer: Any
    weights: Mapping[str, Tensor]
    dtypes: Mapping[str, str]
    linears: Mapping[str, Rounding]
    parts: dict[tuple[str, str], NDArray[np.uint8]] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    _before: dict[str, Tensor] = field(default_factory=dict)  # factors of the inputs of layers
    _after: dict[str, Tensor] = field(default_factory=dict)  # and of their outputs

    def press(self, run: Callable[[Tensor], object], texts: Callable[[], Iterator[tuple[Tensor, bool]]]) -> None:
        """Round all of it; `texts` are passed through the layer by `run`, as often as the method needs."""
        groups = [tuple(name for name in shared if name in self.linears) for shared in SHARED_INPUTS]
        used = [number for number, names in enumerate(groups) if names]
        stages = [[number] for number in used] if self.way.method == "gptq" else [used]
        for stage in stages:
            inputs = {number: self._inputs(groups[number][0]) for number in stage}
            gather(self.layer, run, texts(), [(groups[number][0], each) for number, each in inputs.items()])
            if self.way.method == "awq":
                for number, each in inputs.items():
                    self._scale(number, each)
            for number in stage:
                for name in groups[number]:
                    self._round(name, inputs[number])
                del inputs[number]

    def _inputs(self, name: str) -> Inputs:
        return Inputs(self._weight(name).shape[1], self.way.tokens, moments=self.way.method == "gptq")

    def _weight(self, name: str) -> Tensor:
        return self.weights[f"{name}.weight"]

    def _scale(self, number: int, inputs: Inputs) -> None:
        """Find factors for the inputs of layers that share them, if what is before can be divided by them."""
        names, before = SHARED_INPUTS[number], BEFORE[number]
        if not set(names) <= self.linears.keys() or not self._is_divisible(before, len(inputs.square)):
            return
        grid = self._grid(names[0])
        factors = channel_factors([self._weight(name) for name in names], inputs.seen, grid)
        if before in self.linears:
            self._after[before] = factors
        else:
            factors = self._divide_norm(before, factors)
        self._before |= dict.fromkeys(names, factors)

    def _is_divisible(self, before: str, width: int) -> bool:
        if f"{before}.bias" in self.weights or len(self._weight(before)) != width:
            return False
        return before in self.linears or self._weight(before).dim() == 1

    def _divide_norm(self, name: str, factors: Tensor) -> Tensor:
        """Divide a norm by factors; what they are once it is stored."""
        import torch

        norm, key = self._weight(name), f"{name}.weight"
        divided = (norm / factors).to(torch_type(self.dtypes[key])).float()
        usable = (divided != 0) & (norm != 0) & divided.isfinite()
        divided = torch.where(usable, divided, norm)
        exact = torch.where(usable, norm / divided, torch.ones(()))
        norm.copy_(divided)
        self.parts[key, "kept"] = as_stored(divided.numpy(), self.dtypes[key]).view(np.uint8)
        return exact

    def _grid(self, name: str) -> Grid:
        return Grid.of(self.linears[name], self.dtypes[f"{name}.weight"])

    def _round(self, name: str, inputs: Inputs) -> None:
        weight, grid, given = self._weight(name), self._grid(name), None
        before, after = self._before.get(name), self._after.get(name)
        if before is not None or after is not None:
            given = weight.clone()
            weight.mul_(before if before is not None else 1)
            weight.div_(after[:, None] if after is not None else 1)
        codes, scales = self._coded(weight, inputs, before, grid)
        self._keep(name, codes, scales, grid)
        made = codes.view(-1, grid.group).mul_(scales.reshape(-1, 1)).view_as(weight)
        actual = made
        if given is not None:
            actual = made / before if before is not None else made.clone()
            actual.mul_(after[:, None] if after is not None else 1)
        self.errors[name] = moved_share(weight if given is None else given, actual, inputs.held)
        weight.copy_(made)

    def _coded(self, weight: Tensor, inputs: Inputs, before: Tensor | None, grid: Grid) -> tuple[Tensor, Tensor]:
        """Codes and scales, both float32."""
        if self.way.method == "gptq":
            return gptq(weight, inputs.hessian, grid)
        groups = weight.view(-1, grid.group)
        if self.way.method == "rtn":
            scales = grid.plain(groups)
        elif self.way.method == "hqq":
            scales = grid.searched(groups)
        else:
            counts = inputs.square / (before.square() if before is not None else 1)
            scales = grid.searched(groups, counts.clamp_min(1e-30).view(-1, grid.group))
        return grid.codes(groups, scales).view_as(weight), scales.view(len(weight), -1)

    def _keep(self, name: str, codes: Tensor, scales: Tensor, grid: Grid) -> None:
        key = f"{name}.weight"
        whole = (codes - grid.low).to(dtype=_bytes()).numpy().reshape(-1)
        packed = np.empty(len(whole) * grid.bits // 8, np.uint8)
        pack(whole, grid.bits, packed)
        self.parts[key, "packed"] = packed
        self.parts[key, "scale"] = as_stored(scales.contiguous().numpy().reshape(-1), grid.dtype).view(np.uint8)


def _bytes() -> Any:
    import torch

    return torch.uint8
