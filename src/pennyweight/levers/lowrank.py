"""Replace large matrices by two thin ones, by a singular value decomposition that knows what they multiply."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self, final

import numpy as np

from pennyweight import backends
from pennyweight.backends.torch_weights import check_answers, chosen, rows_to_see, sample
from pennyweight.core import YES, Form, Kind, Lever, Op, Stage, no
from pennyweight.errors import NoEffectError
from pennyweight.train.tuning import copy_of, retrain, tuned

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from pennyweight.core import Job, Spec, Verdict, Work

_CHUNK = 16
_SAMPLES = 20_000  # input vectors per chunk that are enough to know a layer's inputs
_LEAST_SIDE = 16
_STEP = 4
_RIDGE = 1e-5
_FORWARD = 1 / 3  # of the three passes that one row of tuning stands for


@final
@dataclass(frozen=True, slots=True)
class LowRank(Lever):
    """Every linear and convolution matrix becomes a product of two with a share `keep` of its parameters.

    What is lost is measured on the layer's own inputs: the matrix is decomposed after multiplying it by the square root
    of their second moments on training rows. Matrices with a side below 16, or too small to save anything, stay.
    """

    keep: float = 0.5
    epochs: float = 0.0

    stage: ClassVar[Stage] = Stage.COMPRESS
    source: ClassVar[str] = (
        "Denton et al. 2014, Exploiting Linear Structure (arXiv:1404.0736); Zhang et al. 2016 (arXiv:1505.06798); "
        "Wang et al. 2024, SVD-LLM (arXiv:2403.07378)"
    )
    trust: ClassVar[float] = 0.0

    @classmethod
    def choices(cls, job: Job) -> Iterator[Self]:
        """Three quarters of the parameters without training, down to a quarter with a little."""
        epochs = max(1.0, job.spec.train.epochs / 4)
        yield cls(0.75)
        yield cls(0.5)
        yield cls(0.5, epochs)
        yield cls(0.25, epochs)

    def fits(self, spec: Spec) -> Verdict:
        """Fits dense torch modules with a matrix large enough."""
        if spec.form is not Form.MODULE:
            return no(f"matrices of a {spec.form.value} cannot be replaced; do it on a torch module, before quantising")
        if any(op.density < 1 or op.disk_bits < op.weight_bits for op in spec.ops):
            return no("weights are already sparse or shared, which a decomposition would undo; decompose before that")
        if not self._ranks(spec):
            return no(f"no matrix is large enough to save {1 - self.keep:.0%} of itself; leave it out for this network")
        return YES

    def rewrite(self, spec: Spec) -> Spec:
        """Split the rows of all large matrices in two; add the rows looked at and tuned on."""
        ranks = self._ranks(spec)
        ops = tuple(part for op in spec.ops for part in _halved(op, ranks.get(op, 0)))
        looked = rows_to_see(spec) * _FORWARD
        return tuned(replace(spec, ops=ops, tune_rows=spec.tune_rows + looked), self.epochs)

    def pull(self, work: Work) -> Work:
        """Look at the layers' inputs on training rows, decompose, and train on if asked to."""
        model = copy_of(work, "Decomposing")
        found = chosen(model, work.spec, self._ranks(work.spec))
        targets = {name.removesuffix(".weight"): rank for name, rank in found.items()}
        if not targets:
            raise NoEffectError("No matrix is large enough to be decomposed.", "leave lowrank out for this network.")
        x, _ = sample(work)
        moments = _moments(model, tuple(targets), x)
        for name, rank in targets.items():
            model.set_submodule(name, pair(model.get_submodule(name), rank, moments.get(name)))
        check_answers(model, x)
        model = retrain(model, work, self.epochs, teacher=backends.load("torch").predict)
        return work.having(model=model, spec=self.rewrite(work.spec))

    def _ranks(self, spec: Spec) -> dict[Op, int]:
        """The rows whose matrices are split, with their ranks; the last matrix, which answers, stays."""
        rows = [op for op in spec.ops if op.kind in {Kind.CONV, Kind.LINEAR}]
        return {op: rank for op in rows[:-1] if (rank := self._rank(op))}

    def _rank(self, op: Op) -> int:
        inner = op.n_in * op.fan
        is_layer = "weight" not in op.name.rpartition(".")[2]  # otherwise a parameter of some larger module
        if not is_layer or op.groups > 1 or op.intake < 1 or min(inner, op.n_out) < _LEAST_SIDE:
            return 0
        rank = int(self.keep * inner * op.n_out / (inner + op.n_out)) // _STEP * _STEP
        return rank if rank < min(inner, op.n_out) else 0


def _halved(op: Op, rank: int) -> tuple[Op, ...]:
    """The row of a matrix as the rows of its two factors, or as it is if the rank is 0."""
    if not rank:
        return (op,)
    thin = replace(op, name=f"{op.name}.0", n_out=rank, per_out=0, writes="")
    return thin, replace(op, name=f"{op.name}.1", n_in=rank, fan=1, reads="", intake=1.0)


def _moments(model: nn.Module, names: tuple[str, ...], x: Tensor) -> dict[str, NDArray[np.float64]]:
    """The sums of input × input (inner, inner) of each named layer over the rows `x`."""
    import torch

    sums: dict[str, NDArray[np.float64]] = {}

    def listen(name: str) -> Any:
        def hook(layer: nn.Module, args: tuple[Tensor, ...]) -> None:
            seen = _vectors(layer, args[0])
            if seen is not None:
                sums[name] = sums.get(name, 0.0) + (seen.T @ seen).numpy()

        return model.get_submodule(name).register_forward_pre_hook(hook)

    hooks = [listen(name) for name in names]
    with torch.no_grad():
        for part in x.split(_CHUNK):
            model(part)
    for hook in hooks:
        hook.remove()
    return sums


def _vectors(layer: Any, x: Tensor) -> Tensor | None:
    """What the layer's matrix is multiplied with, one row each; None for layers where that is not worth finding out."""
    from torch import nn
    from torch.nn import functional

    if isinstance(layer, nn.Linear):
        rows = x.flatten(0, -2)
    elif isinstance(layer, nn.Conv2d) and not isinstance(layer.padding, str):
        rows = functional.unfold(x, layer.kernel_size, layer.dilation, layer.padding, layer.stride)
        rows = rows.transpose(1, 2).flatten(0, 1)
    else:
        return None
    return rows[:: max(1, len(rows) // _SAMPLES)].double()


def pair(layer: Any, rank: int, moments: NDArray[np.float64] | None) -> nn.Sequential:
    """The layer as two: first `rank` outputs from its inputs, then its outputs from those."""
    import torch
    from torch import nn
    from torch.nn.utils import skip_init

    weight = layer.weight.detach()
    thin, wide = factors(weight.flatten(1).double().numpy(), rank, moments)
    has_bias = layer.bias is not None
    first: Any
    last: Any
    if isinstance(layer, nn.Linear):
        first = skip_init(nn.Linear, layer.in_features, rank, bias=False)
        last = skip_init(nn.Linear, rank, layer.out_features, bias=has_bias)
    else:
        shape = {key: getattr(layer, key) for key in ("kernel_size", "stride", "padding", "dilation", "padding_mode")}
        first = skip_init(type(layer), layer.in_channels, rank, bias=False, **shape)
        last = skip_init(type(layer), rank, layer.out_channels, 1, bias=has_bias)
    with torch.no_grad():
        first.weight.copy_(torch.from_numpy(thin).reshape(first.weight.shape))
        last.weight.copy_(torch.from_numpy(wide).reshape(last.weight.shape))
        if has_bias:
            last.bias.copy_(layer.bias)
    return nn.Sequential(first, last)


def factors(
    weight: NDArray[np.float64], rank: int, moments: NDArray[np.float64] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Thin (rank, inner) and wide (outer, rank) factors of `weight`, best for inputs of these second moments."""
    from scipy.linalg import cholesky, solve_triangular, svd

    if moments is None:
        moments = np.eye(weight.shape[1])
    scale = float(np.trace(moments)) / len(moments) or 1.0
    root = cholesky(moments / scale + _RIDGE * np.eye(len(moments)), lower=True)
    left, sizes, right = svd(weight @ root, full_matrices=False, lapack_driver="gesvd")
    half = np.sqrt(sizes[:rank])
    thin = solve_triangular(root, (half[:, None] * right[:rank]).T, lower=True, trans="T").T
    return thin, left[:, :rank] * half
