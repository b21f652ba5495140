"""Set the smallest weights to zero, keep them zero while training on, and store only the others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self, final

from pennyweight import backends
from pennyweight.backends.torch_weights import chosen, weights_of_one
from pennyweight.core import YES, Form, Kind, Lever, Op, Stage, no
from pennyweight.errors import NoEffectError
from pennyweight.train.tuning import copy_of, retrain, steps_of, tuned

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from pennyweight.core import Job, Spec, Verdict, Work

_MATRICES = frozenset({Kind.CONV, Kind.LINEAR})
_SMALLEST = 256
_RAMP = 0.6  # of all steps; the rest is for settling
_EVERY = 8  # steps between two looks at which weights are smallest
_TWO_FOUR = "2:4"


@final
@dataclass(frozen=True, slots=True)
class Sparsify(Lever):
    """Unstructured pruning of a `share` of every matrix (`pattern` "any"), or of two of every four weights ("2:4").

    The share grows along a cubic ramp during `epochs` of training. Arithmetic stays the same, as runtimes multiply
    zeros like any other number; what shrinks is the stored model. Matrices below 256 weights stay dense.
    """

    share: float = 0.5
    pattern: str = "any"
    epochs: float = 2.0

    stage: ClassVar[Stage] = Stage.COMPRESS
    source: ClassVar[str] = (
        "Han et al. 2015 (arXiv:1506.02626); Zhu and Gupta 2017, To prune, or not to prune (arXiv:1710.01878); "
        "Mishra et al. 2021, Accelerating Sparse Deep Neural Networks (arXiv:2104.08378)"
    )
    trust: ClassVar[float] = 0.0

    @classmethod
    def choices(cls, job: Job) -> Iterator[Self]:
        """Half of the weights, the 2:4 pattern, then up to nine of ten."""
        epochs = max(1.0, job.spec.train.epochs / 2)
        yield cls(0.5, "any", epochs)
        yield cls(0.5, _TWO_FOUR, epochs)
        yield cls(0.75, "any", epochs)
        yield cls(0.9, "any", epochs)

    def fits(self, spec: Spec) -> Verdict:
        """Fits torch modules with a matrix large enough whose weights are neither shared nor sparser already."""
        if self.pattern not in {"any", _TWO_FOUR} or not 0 < self.share < 1:
            return no(f'{self} is no sparsity; use a share between 0 and 1 and the pattern "any" or "2:4"')
        if spec.form is not Form.MODULE:
            return no(f"weights of a {spec.form.value} are not sparsified; do it on a torch module, before quantising")
        if any(op.disk_bits < op.weight_bits for op in spec.ops):
            return no("weights are already shared, which training on would undo; sparsify before that")
        if not any(self._zeros(op) for op in spec.ops):
            return no(f"no matrix has {_SMALLEST} weights that are denser than asked for; leave it out")
        return YES

    def rewrite(self, spec: Spec) -> Spec:
        """Lower the density of all large matrices, and add the rows of training."""
        return tuned(spec.map(self._sparser), self.epochs)

    def pull(self, work: Work) -> Work:
        """Zero out, gradually while training on the training split, or at once without epochs."""
        model = copy_of(work, "Sparsifying")
        zeros = chosen(model, work.spec, {op: self._zeros(op) for op in work.spec.ops if self._zeros(op)})
        if not zeros:
            raise NoEffectError("No matrix is large enough to be sparse.", "leave sparsify out for this network.")
        ramp = _Ramp(zeros, self.pattern, steps_of(work, self.epochs))
        if self.epochs <= 0:
            ramp(model)
        model = retrain(model, work, self.epochs, teacher=backends.load("torch").predict, after_step=ramp)
        return work.having(model=model, spec=self.rewrite(work.spec))

    def _zeros(self, op: Op) -> int:
        """How many weights of ONE of the row's matrices become zero; 0 if it stays as it is."""
        if op.kind not in _MATRICES or (size := weights_of_one(op)) < _SMALLEST:
            return 0
        if self.pattern == _TWO_FOUR:
            zeros = size // 2 if (op.n_in * op.fan // op.groups) % 4 == 0 else 0
        else:
            zeros = round(self.share * size)
        return zeros if 1 - zeros / size < op.density else 0

    def _sparser(self, op: Op) -> Op:
        zeros = self._zeros(op)
        return replace(op, density=1 - zeros / weights_of_one(op)) if zeros else op


@final
class _Ramp:
    """Called after every step: keeps zeros zero, and on a cubic ramp adds more until all that are asked for are."""

    def __init__(self, zeros: dict[str, int], pattern: str, steps: int) -> None:
        self._zeros, self._pattern = zeros, pattern
        self._ramp = int(steps * _RAMP)
        self._step = 0
        self._kept: dict[str, Tensor] = {}

    def __call__(self, model: nn.Module) -> None:
        import torch

        self._step += 1
        look = self._step <= self._ramp and self._step % _EVERY == 0
        with torch.no_grad():
            for name, zeros in self._zeros.items():
                weight = model.get_parameter(name)
                if name not in self._kept or look or self._step == max(1, self._ramp):
                    self._kept[name] = self._smaller(weight, zeros)
                weight.mul_(self._kept[name]).add_(0.0)  # -0.0 becomes 0.0, which packs

    def _smaller(self, weight: Tensor, zeros: int) -> Tensor:
        left = max(0.0, 1 - self._step / self._ramp) if self._ramp else 0.0
        share = 1 - left**3
        if self._pattern == _TWO_FOUR:
            return two_of_four(weight, share)
        return largest(weight, round(zeros * share))


def largest(weight: Tensor, zeros: int) -> Tensor:
    """1 for all weights but the `zeros` smallest in magnitude, which are 0."""
    import torch

    order = weight.abs().flatten().argsort(stable=True)
    kept = torch.ones_like(order, dtype=weight.dtype)
    kept[order[:zeros]] = 0
    return kept.view_as(weight)


def two_of_four(weight: Tensor, share: float) -> Tensor:
    """0 for the two smallest of every four weights along a row, in the `share` of fours where they matter least."""
    import torch

    fours = weight.abs().reshape(-1, 4)
    order = fours.argsort(dim=1, stable=True)[:, :2]
    small = torch.zeros_like(fours).scatter_(1, order, 1.0)
    loss = (fours * small).sum(1)
    first = loss.argsort(stable=True)[: round(len(loss) * share)]
    kept = torch.ones_like(fours)
    kept[first] = 1 - small[first]
    return kept.view_as(weight)
