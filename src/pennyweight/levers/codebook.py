"""Let weights share a few values: a small table and a short index for each weight, the table trained on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self, final

import numpy as np

from pennyweight import backends
from pennyweight.backends.torch_weights import chosen, weights_of_one
from pennyweight.core import YES, Form, Kind, Lever, Op, Stage, no
from pennyweight.errors import NoEffectError
from pennyweight.train.tuning import copy_of, retrain, tuned

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from pennyweight.core import Job, Spec, Verdict, Work

_VALUE_BITS = 32
_ROUNDS = 50


@final
@dataclass(frozen=True, slots=True)
class Codebook(Lever):
    """Weight sharing: every matrix keeps at most ``2 ** bits`` different values, found by k-means.

    Stored are an index of `bits` bits per weight and the table of values; arithmetic stays the same. With `epochs`, the
    values are trained on, all weights of one index moving together. Zeros stay zeros. Matrices that the table would not
    make smaller stay as they are.
    """

    bits: int = 4
    epochs: float = 1.0

    stage: ClassVar[Stage] = Stage.COMPRESS
    source: ClassVar[str] = "Han, Mao and Dally 2016, Deep Compression (arXiv:1510.00149)"
    trust: ClassVar[float] = 0.0

    @classmethod
    def choices(cls, job: Job) -> Iterator[Self]:
        """Eight bits and five without training, then four and three with a little."""
        epochs = max(1.0, job.spec.train.epochs / 4)
        yield cls(8, 0.0)
        yield cls(5, 0.0)
        yield cls(4, epochs)
        yield cls(3, epochs)

    def fits(self, spec: Spec) -> Verdict:
        """Fits torch modules with a matrix that a table makes smaller."""
        if not 1 <= self.bits <= 8:
            return no(f"indices of {self.bits} bits are not stored; use 1 to 8")
        if spec.form is not Form.MODULE:
            return no(f"weights of a {spec.form.value} are not shared here; do it on a torch module, before quantising")
        if not any(self._bits(op) for op in spec.ops):
            return no(f"no matrix is large enough for a table of {2**self.bits} values to pay; use fewer bits")
        return YES

    def rewrite(self, spec: Spec) -> Spec:
        """Lower the bits that a stored weight takes (its share of the table included); add the rows of training."""
        return tuned(spec.map(self._shared), self.epochs)

    def pull(self, work: Work) -> Work:
        """Cluster every matrix, then train the shared values on the training split."""
        model = copy_of(work, "Sharing weights")
        bits = chosen(model, work.spec, {op: self._bits(op) for op in work.spec.ops if self._bits(op)})
        if not bits:
            raise NoEffectError("No matrix is large enough to share weights.", "leave codebook out for this network.")
        sharing = _Sharing(model, tuple(bits), 2**self.bits)
        sharing(model)
        model = retrain(model, work, self.epochs, teacher=backends.load("torch").predict, after_step=sharing)
        return work.having(model=model, spec=self.rewrite(work.spec))

    def _shared(self, op: Op) -> Op:
        bits = self._bits(op)
        return replace(op, disk_bits=bits) if bits else op

    def _bits(self, op: Op) -> float:
        """Bits per stored weight of the row, its share of the table included; 0 if the row stays as it is."""
        if op.kind not in {Kind.CONV, Kind.LINEAR}:
            return 0.0
        stored = weights_of_one(op) * op.density
        bits = self.bits + 2**self.bits * _VALUE_BITS / stored
        return bits if bits < op.disk_bits else 0.0


@final
class _Sharing:
    """Which weights share a value; called after every step, it gives each the mean of those it shares with."""

    def __init__(self, model: nn.Module, names: tuple[str, ...], size: int) -> None:
        import torch

        self._index: dict[str, Tensor] = {}
        for name in names:
            weight = model.get_parameter(name).detach().flatten().double().numpy()
            index = np.zeros(len(weight), dtype=np.int64)  # 0 is for zeros
            full = np.flatnonzero(weight)
            index[full] = 1 + nearest(weight[full], means(weight[full], size))
            self._index[name] = torch.from_numpy(index)

    def __call__(self, model: nn.Module) -> None:
        import torch

        with torch.no_grad():
            for name, index in self._index.items():
                weight = model.get_parameter(name)
                length = int(index.max()) + 1
                total = torch.zeros(length, dtype=torch.float64).index_add_(0, index, weight.flatten().double())
                table = total / torch.bincount(index, minlength=length).clamp(min=1)
                table[0] = 0.0
                weight.copy_(table.float()[index].view_as(weight))


def means(values: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """At most `size` ascending values that represent `values` with small squared error: Lloyd's k-means on a line.

    It starts from evenly spaced values, which keep the large weights represented (Han et al. 2016, section 3.2), and is
    exact in each round: on a line clusters are intervals, so sums come from one cumulative sum over the sorted values.
    """
    ordered = np.sort(values)
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    centres = np.unique(np.linspace(ordered[0], ordered[-1], size))
    for _ in range(_ROUNDS):
        edges = np.searchsorted(ordered, (centres[1:] + centres[:-1]) / 2)
        bounds = np.concatenate([[0], edges, [len(ordered)]])
        held = np.diff(bounds)
        moved = np.where(held > 0, np.diff(sums[bounds]) / np.maximum(held, 1), centres)
        if np.array_equal(moved, centres):
            break
        centres = np.sort(moved)
    return centres


def nearest(values: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.intp]:
    """The index of the nearest of the ascending `centres` for each value."""
    return np.searchsorted((centres[1:] + centres[:-1]) / 2, values)
