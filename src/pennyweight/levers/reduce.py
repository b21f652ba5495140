"""Give the network fewer numbers: principal components in place of columns, or images of half the size."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self, final

from pennyweight.backends.torch_inputs import pooled, projected
from pennyweight.core import YES, Form, Kind, Lever, Op, Stage, Task, no
from pennyweight.cost.sizes import resized, takes_images_of_any_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pennyweight.core import Job, Spec, Verdict, Work

_POOL, _INSIDE = "0", "1"
_LEAST_PIXELS = 4  # along a side that is left


@final
@dataclass(frozen=True, slots=True)
class Reduce(Lever):
    """Keep the share `share` of the columns, as principal components; of images, that share of each side.

    The projection (or the average over pixels) is part of the model, so whoever serves it need not know. Components
    are measured on the training rows and learn on with the network; images are reduced where the network pools all
    places into one, and so takes any size.
    """

    share: float = 0.5

    stage: ClassVar[Stage] = Stage.DATA
    source: ClassVar[str] = (
        "Pearson 1901, On Lines and Planes of Closest Fit to Systems of Points in Space; Jolliffe 2002, Principal "
        "Component Analysis"
    )
    trust: ClassVar[float] = 0.3  # the rims of convolutions are left out on paper

    @classmethod
    def choices(cls, job: Job) -> Iterator[Self]:
        """A half, a quarter and an eighth of the columns; half of each side of images."""
        shares = (0.5,) if takes_images_of_any_size(job.spec) else (0.5, 0.25, 0.125)
        yield from (each for each in map(cls, shares) if each.fits(job.spec))

    def fits(self, spec: Spec) -> Verdict:
        """Fits networks that begin with a linear layer on all columns, and those on images of any size."""
        if spec.form is not Form.MODULE:
            return no("only a network that is still to be trained; give an estimator PCA in a pipeline")
        if spec.data.task is Task.LANGUAGE or spec.has(Kind.EMBED):
            return no("tokens are names, not numbers with components; progressive shortens them")
        if spec.train.pretrained:
            return no("the network knows its inputs as they are; begin with random weights, or use freeze or lora")
        if not 0 < self.share < 1:
            return no("it would keep everything or nothing; give a share between 0 and 1")
        return self._fits_columns(spec) if _first(spec) is not None else self._fits_images(spec)

    def rewrite(self, spec: Spec) -> Spec:
        """A projection and a first layer on its components; or a pool and all other operators at fewer places."""
        first = _first(spec)
        if first is None:
            ops = (_pool(spec, self._times()), *map(_inside, resized(spec, 1 / self._times())))
            return replace(spec, ops=ops)
        at = spec.ops.index(first)
        lower, upper = f"{first.name}.0", f"{first.name}.1"
        kept = self._kept(first)
        one = replace(first, name=lower, n_out=kept, writes=lower, per_out=1)
        other = replace(first, name=upper, n_in=kept, fan=1, reads=lower)
        ops = tuple(_renamed(op, first.writes, upper) for op in (*spec.ops[:at], one, other, *spec.ops[at + 1 :]))
        return replace(spec, ops=ops, data=replace(spec.data, scaled=True))

    def pull(self, work: Work) -> Work:
        """Measure the components and put them before the first layer; or pool before all layers."""
        first = _first(work.spec)
        model = pooled(work, self._times()) if first is None else projected(work, first, self._kept(first))
        return work.having(model=model, spec=self.rewrite(work.spec))

    def _fits_columns(self, spec: Spec) -> Verdict:
        first = _first(spec)
        if first is None or spec.data.missing:
            return no("there are holes, which have no components; pull clean before it")
        kept, read = self._kept(first), first.n_in * first.fan
        if kept >= spec.data.rows:
            return no("there are fewer rows than components; give a smaller share")
        if kept * (read + first.n_out) >= read * first.n_out:
            return no("the projection would cost more than it saves; give a smaller share")
        return YES

    def _fits_images(self, spec: Spec) -> Verdict:
        if not takes_images_of_any_size(spec):
            return no("the network neither begins with one linear layer nor takes images of any size")
        if min(spec.data.shape[1:]) < _LEAST_PIXELS * self._times() or self._times() < 2:
            return no(
                f"pixels are averaged in squares of 2 or more, of which {_LEAST_PIXELS} must be left along a side"
            )
        if spec.ops[0].kind is Kind.POOL:
            return no("the images are pooled already before the network sees them")
        return YES

    def _kept(self, first: Op) -> int:
        return max(1, round(self.share * first.n_in * first.fan))

    def _times(self) -> int:
        return round(1 / self.share)


def _first(spec: Spec) -> Op | None:
    """The linear layer that reads all that is given, if the network begins with one."""
    first = next((op for op in spec.ops if op.kind is not Kind.POINTWISE), None)
    plain = first is not None and first.kind is Kind.LINEAR and first.positions == first.times == first.groups == 1
    return first if plain else None


def _renamed(op: Op, old: str, new: str) -> Op:
    """The operator with the width group `old` called `new`."""
    if not old:
        return op
    reads, writes = (new if group == old else group for group in (op.reads, op.writes))
    return replace(op, reads=reads, writes=writes)


def _pool(spec: Spec, times: int) -> Op:
    channels, height, width = spec.data.shape
    places = (height // times) * (width // times)
    return Op(_POOL, Kind.POOL, channels, channels, times * times, positions=places, intake=float(times * times))


def _inside(op: Op) -> Op:
    """The operator under the name it has behind the pool."""
    reads, writes = (f"{_INSIDE}.{group}" if group else "" for group in (op.reads, op.writes))
    return replace(op, name=f"{_INSIDE}.{op.name}", reads=reads, writes=writes)
