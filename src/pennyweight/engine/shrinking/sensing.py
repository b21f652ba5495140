"""How much each width of each layer would harm: measured block by block, forwards for states, backwards for gradients.

A layer's weights moved by D move its outputs by D x, and to second order what the model says by half the mean of
(sum over the tokens of a text of g . D x)^2 in nats of Kullback-Leibler divergence for each text, g being the gradients
of the surprise at words that the model itself draws: their second moments are the Fisher information. Of that, D is
what rounding leaves of the weights at each width, and no diagonal is taken. Layers that read the same get the same
width, as some readers join them, and are moved together.
Sources: Martens 2014, arXiv:1412.1193, section 5 (Fisher information as the curvature of the divergence, words being
drawn from the model); Kim et al. 2023, arXiv:2306.07629 (it as what weights of language models are weighed by).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

from pennyweight.backends.large.decoders import SHARED_INPUTS, Decoder
from pennyweight.backends.large.inputs import Inputs, gather
from pennyweight.engine.shrinking.calibrating import is_held
from pennyweight.engine.shrinking.heading import Head
from pennyweight.engine.shrinking.moving import Moved
from pennyweight.engine.shrinking.reading import embedding, local, read_block, rows_of
from pennyweight.engine.shrinking.states import Shape, States, Writing, forget
from pennyweight.engine.shrinking.texts import LENGTH, TOKENS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor as Values

    from pennyweight.engine.shrinking.planning import Plan
    from pennyweight.store.checkpoints import Tensor

Harms = dict[tuple[str, ...], dict[str, float]]
_SEED = 0
_FIT = 4  # tokens for each input of a layer


def harms_of(plan: Plan, folder: Path, watch: Callable[[int], None] = lambda _: None) -> Harms:
    """By layers that read the same and by width, how much rounding them would harm, in nats for each token.

    States and gradients of texts lie in `folder` meanwhile: one file for each block. `watch` hears how many bytes of
    the checkpoint were read. Raises what passing a text through the blocks raises.
    """
    import torch

    forget(folder)
    with torch.no_grad():
        found = _Sense(plan, folder, watch).harms()
    forget(folder)
    return found


def sensed(tokens: NDArray[Any]) -> NDArray[Any]:
    """The texts that are used of those of a calibration: none that is held out, short ones, from all over it."""
    seen = tokens[[number for number in range(len(tokens)) if not is_held(number)]]
    length = min(LENGTH, seen.shape[1])
    short = seen[:, : seen.shape[1] // length * length].reshape(-1, length)
    return short[:: max(1, -(-short.size // TOKENS))]


def _too_few(tokens: int, widest: int) -> bool:
    """Whether codes that are fitted to so many tokens would fit these far better than others."""
    return tokens < _FIT * widest


@final
class _Sense:
    """One measurement; a block, its codes of each width and a text are in memory at a time."""

    def __init__(self, plan: Plan, folder: Path, watch: Callable[[int], None]) -> None:
        self._plan, self._folder, self._watch = plan, folder, watch
        self._decoder = Decoder(plan.source.config)
        if plan.wish.calibration is None:
            raise ValueError("harm is measured with a text only")
        self._tokens = sensed(plan.wish.calibration.sequences(plan.source.folder, plan.source.config))
        self._shape: Shape = (*self._tokens.shape, self._decoder.hidden)
        self._head = Head.of(plan.source)
        widest = max(plan.source.tensors[name].shape[1] for name in plan.choice.rounded)
        few = plan.wish.method == "gptq" and _too_few(self._tokens.size, widest)
        self._method = "awq" if few else plan.wish.method

    def harms(self) -> Harms:
        """All of them, in the order of the model."""
        before = self._forwards()
        slopes = self._behind(before.pop())
        found: Harms = {}
        for number in reversed(range(len(before))):
            harms, slopes = self._back(number, before[number], slopes)
            found = harms | found
        slopes.remove()
        return found

    def _forwards(self) -> list[States]:
        """The states before every block, and behind the last."""
        rows = rows_of(embedding(self._plan.source, self._shape[2], int(self._tokens.max())))
        found = [self._written(0, lambda text: rows(self._tokens[text]))]
        for number in range(len(self._plan.blocks)):
            layer, _ = self._block(number)
            found.append(self._written(number + 1, self._through(layer, number, found[-1])))
        return found

    def _through(self, layer: Any, number: int, states: States) -> Callable[[int], Values]:
        return lambda text: self._decoder.run(layer, number, states.text(text))

    def _written(self, number: int, made: Callable[[int], Values]) -> States:
        with Writing(self._folder, number, self._shape) as writing:
            for text in range(self._shape[0]):
                writing.add(made(text))
            return writing.finish({})

    def _behind(self, states: States) -> States:
        import torch

        every = torch.cat([states.text(text) for text in range(self._shape[0])])
        states.remove()
        with torch.enable_grad():
            slopes = self._head.gradients(every, _SEED).view(self._shape)
        return self._written(len(self._plan.blocks) + 1, lambda text: slopes[text])

    def _back(self, number: int, states: States, slopes: States) -> tuple[Harms, States]:
        """The harms of one block, and the gradients before it."""
        import torch

        layer, sources = self._block(number)
        units = self._units(sources, number)
        moved = self._rounded(layer, number, states, units)

        def back(text: int) -> Values:
            with torch.enable_grad(), moved.listening(layer):
                given = states.text(text).requires_grad_()
                (found,) = torch.autograd.grad(self._decoder.run(layer, number, given), given, slopes.text(text))
            return found.detach()

        before = self._written(2 * len(self._plan.blocks) + 1 - number, back)
        states.remove()
        slopes.remove()
        told = {name: whole for whole in sources for name in [local(whole, number).removesuffix(".weight")]}
        tokens = self._shape[0] * self._shape[1]
        return {tuple(told[name] for name in unit): moved.harms(unit, tokens) for unit in units}, before

    def _block(self, number: int) -> tuple[Any, dict[str, Tensor]]:
        origins = (self._plan.origins[entry.name].tensor for entry in self._plan.blocks[number].entries)
        sources = {each.name: each for each in origins}
        layer = self._decoder.block(number, read_block(sources, number))
        self._watch(sum(each.byte for each in sources.values()))
        return layer, sources

    def _units(self, sources: Mapping[str, Tensor], number: int) -> list[tuple[str, ...]]:
        names = {local(name, number).removesuffix(".weight") for name in sources if name in self._plan.choice.rounded}
        shared = [tuple(name for name in group if name in names) for group in SHARED_INPUTS]
        return [unit for unit in shared if unit]

    def _rounded(self, layer: Any, number: int, states: States, units: list[tuple[str, ...]]) -> Moved:
        moved, tokens = Moved(self._method, self._plan.wish.widths), self._shape[0] * self._shape[1]
        for unit in units:
            inputs = Inputs(layer.get_submodule(unit[0]).weight.shape[1], tokens, moments=self._method == "gptq")
            if moved.fitted:
                texts = ((states.text(text), False) for text in range(self._shape[0]))
                gather(layer, lambda each: self._decoder.run(layer, number, each), texts, [(unit[0], inputs)])
            for name in unit:
                moved.add(name, layer.get_submodule(name).weight, inputs)
        return moved
