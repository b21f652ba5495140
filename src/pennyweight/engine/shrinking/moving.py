"""What rounding leaves of weights at each width, and how much of what the model says that moves, text by text."""

from __future__ import annotations

from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, final

from pennyweight.backends.large.gptq import gptq
from pennyweight.backends.large.grids import Grid

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from torch import Tensor

    from pennyweight.backends.large.inputs import Inputs
    from pennyweight.backends.large.rounding import Rounding

_FITTED = ("awq", "gptq")  # methods that count a deviation by what goes into the layer


@final
class Moved:
    """The linear layers of a block at every one of `widths`, as `method` finds codes when nothing else is moved.

    For each text, sum over tokens of g . (V - W) x is added up for each layer and width: x its inputs, g the gradients
    of its outputs, V what W becomes. That is the product of V - W with the gradient of W, so V is never multiplied by.
    """

    def __init__(self, method: str, widths: Mapping[str, Rounding]) -> None:
        self._method, self._widths = method, widths
        self._codes: dict[tuple[str, str], tuple[Tensor, Tensor]] = {}
        self._moved: defaultdict[tuple[str, str], list[float]] = defaultdict(list)

    @property
    def fitted(self) -> bool:
        """Whether the method counts deviations by what goes into a layer."""
        return self._method in _FITTED

    def add(self, name: str, weight: Tensor, inputs: Inputs) -> None:
        """Round a layer's `weight` (out, in) to every width, as the method does it for its `inputs`."""
        import torch

        for width, rounding in self._widths.items():
            grid = Grid(rounding.bits, rounding.group, "F32")
            codes, scales = self._coded(weight, inputs, grid)
            self._codes[name, width] = codes.view(-1, grid.group).to(torch.int8), scales.reshape(-1)

    def _coded(self, weight: Tensor, inputs: Inputs, grid: Grid) -> tuple[Tensor, Tensor]:
        if self._method == "gptq":
            return gptq(weight, inputs.hessian, grid)
        groups = weight.view(-1, grid.group)
        counts = inputs.square.clamp_min(1e-30).view(-1, grid.group) if self.fitted else None
        scales = grid.plain(groups) if self._method == "rtn" else grid.searched(groups, counts)
        return grid.codes(groups, scales), scales

    @contextmanager
    def listening(self, layer: Any) -> Generator[None]:
        """While a text passes `layer` and its gradients come back."""
        handles = [
            layer.get_submodule(name).register_forward_hook(self._listener(name))
            for name in dict.fromkeys(name for name, _ in self._codes)
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _listener(self, name: str) -> Callable[[Any, tuple[Tensor, ...], Tensor], None]:
        def listen(layer: Any, given: tuple[Tensor, ...], made: Tensor) -> None:
            inputs, weight = given[0].detach(), layer.weight
            made.register_hook(
                lambda slopes: self._take(name, weight, slopes.flatten(0, -2).t() @ inputs.flatten(0, -2))
            )

        return listen

    def _take(self, name: str, weight: Tensor, gradient: Tensor) -> None:
        for width, rounding in self._widths.items():
            codes, scales = self._codes[name, width]
            apart = codes.float().mul_(scales[:, None]).sub_(weight.view(-1, rounding.group))
            self._moved[name, width].append(float(apart.flatten() @ gradient.flatten()))

    def harms(self, names: tuple[str, ...], tokens: int) -> dict[str, float]:
        """By width, what it costs to round these layers, in nats for each of the `tokens` of all texts together."""
        found = {}
        for width in self._widths:
            texts = zip(*(self._moved[name, width] for name in names), strict=True)
            found[width] = sum(sum(moved) ** 2 for moved in texts) / (2 * tokens)
        return found
