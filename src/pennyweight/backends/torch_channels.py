"""The width groups of a real network: which layers share them, what they carry, and taking channels out."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.backends.torch_weights import check_answers, matrices, unlike
from pennyweight.core import YES, Form, no
from pennyweight.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from pennyweight.core import Spec, Verdict

    Weigh = Mapping[nn.Module, NDArray[np.float64]]

_CHUNK = 128
_STEPS = ((32, 8), (16, 4), (8, 2))  # from this width on, widths are kept multiples of so much
_RIDGE = 1e-4
_TINY = 1e-12


def narrowed(spec: Spec, keep: float) -> dict[str, int]:
    """The sizes that the width groups of `spec` get when a share `keep` of their channels stays.

    Sizes are rounded to multiples of 8 (of 4 below 32 channels, of 2 below 16), which vector units like, and are at
    least one such multiple; groups that would not shrink are left out. Paper and reality both use this rule.
    """
    sizes = {group: _rounded(width, keep) for group, width in spec.widths().items()}
    return {group: size for group, size in sizes.items() if size < spec.widths()[group]}


def _rounded(width: int, keep: float) -> int:
    step = next((step for least, step in _STEPS if width >= least), 1)
    return max(step, step * int(width * keep / step + 0.5))


def can_narrow(spec: Spec, keep: float) -> Verdict:
    """Whether a share `keep` of the channels of `spec` can be kept and the others taken out."""
    if spec.form is not Form.MODULE:
        return no(f"channels come out of torch modules, not of a {spec.form.value}; do it before quantising")
    if any(op.density < 1 or op.disk_bits < op.weight_bits for op in spec.ops):
        return no("weights are already sparse or shared, which narrowing would undo; narrow the network before that")
    if not spec.widths():
        return no("no layer may change its width: between input and output all are tied to a fixed one")
    if not narrowed(spec, keep):
        return no(f"every width group is too narrow to lose {1 - keep:.0%} of its channels; take out more or nothing")
    return YES


@dataclass(frozen=True, eq=False)
class Reader:
    """A layer that reads a width group: `at[c, f]` is the column of its weight for channel c and its f-th value."""

    layer: nn.Module
    at: NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Tie:
    """Layers whose channels come and go together; `size` channels of `width` are to stay.

    `root` is one of the layers that write them, `group` the dependency group of all their channels.
    """

    root: nn.Module
    group: Any
    width: int
    size: int
    readers: tuple[Reader, ...]


@final
class Channels:
    """A real network opened for narrowing to `sizes` (width group → channels that stay); changes `model` in place.

    The dependencies come from torch-pruning's graph (Fang et al. 2023); what channels carry is seen on the rows `x`.
    """

    def __init__(self, model: nn.Module, spec: Spec, sizes: dict[str, int], x: Tensor) -> None:
        import torch

        try:
            from torch_pruning import DependencyGraph
        except ImportError:
            raise MissingExtraError.of("torch-pruning", "torch") from None
        self.model, self._x = model, x
        with torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._graph = DependencyGraph().build_dependency(model, [x[:2]])
        self.ties = tuple(self._tie(spec, sizes))

    def _tie(self, spec: Spec, sizes: dict[str, int]) -> Iterator[Tie]:
        seen: set[nn.Module] = set()
        for name, op in matrices(self.model, spec).items():
            root = self.model.get_submodule(name.rpartition(".")[0])
            if op.writes not in sizes or root in seen:
                continue
            group = self._group(root, range(op.n_out))
            seen |= {item.dep.target.module for item in group if self._writes(item)}
            readers = tuple(_reader(item, op.n_out) for item in group if self._reads(item))
            yield Tie(root, group, op.n_out, sizes[op.writes], tuple(each for each in readers if each is not None))

    def narrow(self, weigh: Weigh) -> None:
        """Keep the `size` channels of each tie that weigh most; hand the others' contribution to those that stay.

        What the lost channels carried is written as a linear combination of the kept ones, by least squares on the
        rows seen, and folded into the weights of every layer that reads them (He, Zhang and Sun 2017).
        """
        keep = {tie.root: np.sort(np.argsort(-weigh[tie.root], kind="stable")[: tie.size]) for tie in self.ties}
        products = self.products
        for tie in self.ties:
            for reader in tie.readers:
                _hand_over(reader, products[reader], keep[tie.root])
        for tie in self.ties:
            lost = np.setdiff1d(np.arange(tie.width), keep[tie.root])
            self._group(tie.root, lost.tolist()).prune()
        check_answers(self.model, self._x)

    def spanning(self) -> Weigh:
        """Weights of the channels of each tie, by how well they span the others on the rows seen: pivoted QR.

        The first pivot is the strongest channel, each further one the channel least explained by those before (an
        interpolative decomposition; Chee, Flynn, Damle and De Sa 2022).
        """
        products = self.products
        return {tie.root: _span([products[reader] for reader in tie.readers], tie) for tie in self.ties}

    @cached_property
    def products(self) -> dict[Reader, NDArray[np.float64]]:
        """For every reader the mean products (channels, channels) of what its channels carry on the rows seen."""
        import torch

        readers = [reader for tie in self.ties for reader in tie.readers]
        sums = {reader: np.zeros((len(reader.at),) * 2) for reader in readers}

        def listen(reader: Reader) -> Any:
            def hook(_: nn.Module, args: tuple[Tensor, ...]) -> None:
                sums[reader] += _product(args[0], reader)

            return reader.layer.register_forward_pre_hook(hook)

        hooks = [listen(reader) for reader in readers]
        self.model.eval()
        with torch.no_grad():
            for part in self._x.split(_CHUNK):
                self.model(part)
        for hook in hooks:
            hook.remove()
        return {reader: total / len(self._x) for reader, total in sums.items()}

    def _group(self, root: nn.Module, channels: Any) -> Any:
        if root not in self._graph.module2node:
            raise unlike(f"{type(root).__name__} takes no part in the answer")
        prune = self._graph.get_pruner_of_module(root).prune_out_channels
        return self._graph.get_pruning_group(root, prune, list(channels))

    def _writes(self, item: Any) -> bool:
        return bool(self._graph.is_out_channel_pruning_fn(item.dep.handler))

    def _reads(self, item: Any) -> bool:
        layer = item.dep.target.module
        plain = getattr(layer, "groups", 1) == 1 and not getattr(layer, "transposed", False)
        return plain and not self._writes(item) and (hasattr(layer, "in_features") or hasattr(layer, "in_channels"))


def _reader(item: Any, width: int) -> Reader | None:
    """The reader behind one item of a dependency group, None if its columns do not follow the channels evenly."""
    roots, columns = np.asarray(item.root_idxs), np.asarray(item.idxs)
    order = np.lexsort((columns, roots))
    if len(roots) % width or (np.bincount(roots, minlength=width) != len(roots) // width).any():
        return None
    return Reader(item.dep.target.module, columns[order].reshape(width, -1))


def _product(carried: Tensor, reader: Reader) -> NDArray[np.float64]:
    """Sum over rows and positions of channel × channel, of an input (B, C, ...) of a convolution or (..., C) else."""
    import torch

    wide = carried.movedim(1, -1) if hasattr(reader.layer, "kernel_size") else carried
    values = wide.flatten(0, -2)[:, torch.from_numpy(reader.at)]  # (rows, channels, fan)
    flat = values.movedim(1, -1).flatten(0, 1).double()
    product: NDArray[np.float64] = (flat.T @ flat).numpy()
    return product


def _span(products: list[NDArray[np.float64]], tie: Tie) -> NDArray[np.float64]:
    from scipy.linalg import qr

    if not products:
        weight: Any = tie.root.weight
        flat = weight.detach().flatten(1).double().numpy()
        products = [flat @ flat.T]
    mean = sum((each / max(float(np.trace(each)), _TINY) for each in products), np.zeros_like(products[0]))
    sizes, vectors = np.linalg.eigh(mean)
    root = np.sqrt(np.maximum(sizes, 0.0))[:, None] * vectors.T  # what the channels carry, in other axes
    _, order = qr(root, mode="r", pivoting=True)
    weights = np.empty(tie.width)
    weights[order] = np.arange(tie.width, 0, -1)
    return weights


def _hand_over(reader: Reader, product: NDArray[np.float64], keep: NDArray[np.intp]) -> None:
    """Fold what the channels not in `keep` add to the reader's output into its weights for those that are."""
    import torch

    lost = np.setdiff1d(np.arange(len(reader.at)), keep)
    among = product[np.ix_(keep, keep)]
    ridge = _RIDGE * max(float(np.trace(among)) / len(keep), _TINY) * np.eye(len(keep))
    shares = np.linalg.solve(among + ridge, product[np.ix_(keep, lost)])  # (kept, lost)
    with torch.no_grad():
        weight: Any = reader.layer.weight
        columns = torch.from_numpy(reader.at)
        gone = weight[:, columns[lost]]  # (out, lost, fan, ...)
        moved = torch.einsum("kl,olf...->okf...", torch.from_numpy(shares).to(weight.dtype), gone)
        weight[:, columns[keep]] += moved
