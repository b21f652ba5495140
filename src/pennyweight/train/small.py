"""The small models that answer first or vote: counted on paper by their size alone, and trained from scratch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.core import Form, Kind, Op, Task, TrainSpec
from pennyweight.train.loop import How, fit
from pennyweight.train.tuning import can_teach

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from pennyweight.core import Spec, Work
    from pennyweight.data.splits import Arrays

SORTS = ("net", "trees", "linear")
_IMAGE_SIDE = 32  # larger images are looked at in steps, so that about so many places are left
_KERNEL, _POOL = 3, 2
_DEEP = 8  # levels of a small tree
_LR = 8e-3  # the peak of a one-cycle: small networks stand high rates
_MOST_ITERATIONS = 300
_LEAST_SD = 1e-6
_APART = 101  # between the seeds of members


@dataclass(frozen=True, slots=True)
class Small:
    """A small model of a `sort`, of a `size`: channels or hidden units of a network, trees of a forest.

    "net": one convolution, pooling and one layer for images (C, H, W); one hidden layer for everything else. "trees": a
    forest of shallow trees. "linear": logistic regression, which has no size.
    """

    sort: str = "net"
    size: int = 16

    def ops(self, spec: Spec) -> tuple[Op, ...]:
        """The operators of the model for the data of `spec`."""
        if self.sort == "net":
            return _convolving(spec, self.size) if _is_image(spec) else _hidden(spec, self.size)
        from pennyweight.cost.table_estimator import table_of_estimator

        width, classes = prod(spec.data.shape), spec.data.classes
        if self.sort == "linear":
            return (Op("linear", Kind.LINEAR, width, classes, per_out=1),)
        return table_of_estimator(self._forest(0), width, classes, rows=spec.data.rows)

    def train(self, work: Work, epochs: float, *, member: int = 0, logits: np.ndarray | None = None) -> Any:
        """A module (for "net") or an estimator, trained on the training split of `work`.

        Networks learn half from the labels and half from a teacher's `logits` (N, C), for `epochs`; estimators from the
        labels, in one go. Members of a vote differ: by what they start from, and estimators by how rows weigh.
        """
        seed = work.seed + _APART * member
        if self.sort == "net":
            return self._net(work, epochs, seed, logits)
        model = self._forest(seed) if self.sort == "trees" else _logistic()
        return _fitted(model, work.data.train, seed if member else None)

    def _net(self, work: Work, epochs: float, seed: int, logits: np.ndarray | None) -> nn.Module:
        import torch

        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            model = self.fresh(work.spec)
        settings = TrainSpec(epochs, work.spec.train.batch, lr=_LR, schedule="onecycle")
        how = How(seed=seed, task=Task.CLASSIFY, teacher_logits=logits)
        return fit_scaled(model, work.data.train, settings, how)

    def fresh(self, spec: Spec) -> nn.Module:
        """The network, untrained, for the data of `spec`."""
        return (_image_net if _is_image(spec) else _column_net)(spec, self.size)

    def _forest(self, seed: int) -> Any:
        from sklearn.ensemble import RandomForestClassifier

        return RandomForestClassifier(self.size, max_depth=_DEEP, random_state=seed)

    def taught(self, work: Work, teacher: Callable[[Work, np.ndarray], np.ndarray]) -> np.ndarray | None:
        """What the `teacher` answers to the training rows (N, C), if this sort learns from that and memory allows."""
        return teacher(work, work.data.train.x) if self.sort == "net" and can_teach(work.spec) else None


def fit_scaled(model: Any, rows: Arrays, settings: TrainSpec, how: How) -> nn.Module:
    """Train a sequence of layers on rows brought to unit size, then work the scaling into its first weights.

    Images (N, C, H, W) are scaled by channel, everything else by column. Exact, as the first layer sees no padding.
    """
    mean, deviation = _scale(rows.x, images=rows.x.ndim == 4)
    scaled = replace(rows, x=((rows.x - mean) / deviation).astype(np.float32))
    return _unscaled(fit(model, scaled, settings, how=how).model, mean.ravel(), deviation.ravel())


def suits(sort: str, spec: Spec) -> str:
    """Why a small model of this sort cannot learn the job of `spec`; empty if it can."""
    data = spec.data
    if data.task is not Task.CLASSIFY or not data.classes:
        return "only classes have probabilities that say how sure an answer is; values and tokens have none"
    if not data.shape or spec.has(Kind.EMBED):
        return "the inputs are tokens or of unknown shape, which a small model of numbers cannot read"
    if (sort == "net") is (spec.form is Form.ESTIMATOR):
        return "networks go with torch modules, trees and linear models with scikit-learn estimators"
    if data.missing and sort != "trees":
        return "there are holes in the data, which only trees can pass; use trees, or pull clean before it"
    return ""


def _is_image(spec: Spec) -> bool:
    return len(spec.data.shape) == 3 and min(spec.data.shape[1:]) >= 2 * _KERNEL


@dataclass(frozen=True, slots=True)
class _Sides:
    """How a small network looks at images: kernel and stride of its convolution, and the sides after it and pooling."""

    kernel: int
    stride: int
    seen: tuple[int, int]
    left: tuple[int, int]

    @classmethod
    def of(cls, spec: Spec) -> _Sides:
        _, height, width = spec.data.shape
        stride = max(1, min(height, width) // _IMAGE_SIDE)
        kernel = max(_KERNEL, stride + 1)
        high, wide = ((side - kernel) // stride + 1 for side in (height, width))
        return cls(kernel, stride, (high, wide), (high // _POOL, wide // _POOL))


def _convolving(spec: Spec, size: int) -> tuple[Op, ...]:
    channels, height, width = spec.data.shape
    sides, classes = _Sides.of(spec), spec.data.classes
    seen, left = prod(sides.seen), prod(sides.left)
    return (
        Op("conv", Kind.CONV, channels, size, sides.kernel**2, seen, per_out=1, intake=height * width / seen),
        Op("relu", Kind.POINTWISE, size, size, positions=seen),
        Op("pool", Kind.POOL, size, size, _POOL**2, left, intake=seen / left),
        Op("head", Kind.LINEAR, size * left, classes, per_out=1),
    )


def _hidden(spec: Spec, size: int) -> tuple[Op, ...]:
    return (
        Op("hidden", Kind.LINEAR, prod(spec.data.shape), size, per_out=1),
        Op("relu", Kind.POINTWISE, size, size),
        Op("head", Kind.LINEAR, size, spec.data.classes, per_out=1),
    )


def _image_net(spec: Spec, size: int) -> nn.Module:
    from torch import nn

    sides = _Sides.of(spec)
    conv = nn.Conv2d(spec.data.shape[0], size, sides.kernel, sides.stride)
    head = nn.Linear(size * prod(sides.left), spec.data.classes)
    return nn.Sequential(conv, nn.ReLU(), nn.MaxPool2d(_POOL), nn.Flatten(), head)


def _column_net(spec: Spec, size: int) -> nn.Module:
    from torch import nn

    first, head = nn.Linear(prod(spec.data.shape), size), nn.Linear(size, spec.data.classes)
    return nn.Sequential(nn.Flatten(), first, nn.ReLU(), head)


def _scale(x: np.ndarray, *, images: bool) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of every channel of images, of every column of anything else, in the shape of one row."""
    axes, keep = ((0, 2, 3), True) if images else ((0,), True)
    wide = x.astype(np.float64)
    return wide.mean(axes, keepdims=keep)[0], np.maximum(wide.std(axes, keepdims=keep)[0], _LEAST_SD)


def _unscaled(model: Any, mean: np.ndarray, deviation: np.ndarray) -> nn.Module:
    """The network with the scaling of its inputs worked into its first weights."""
    import torch

    first: Any = next(layer for layer in model if hasattr(layer, "weight"))
    by = (-1, *(1,) * (first.weight.ndim - 2))
    with torch.no_grad():
        wide = first.weight.double() / torch.from_numpy(deviation).reshape(by)
        first.bias -= (wide * torch.from_numpy(mean).reshape(by)).flatten(1).sum(1).float()
        first.weight.copy_(wide.float())
    done: nn.Module = model.eval()
    return done


def _logistic() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=_MOST_ITERATIONS)


def _fitted(model: Any, rows: Arrays, seed: int | None) -> Any:
    """The estimator fitted to scaled rows, its coefficients then those for rows as they are."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    weight = np.ones(len(rows)) if rows.weight is None else rows.weight.astype(float)
    if seed is not None:  # the Bayesian bootstrap (Rubin 1981): no class is ever left out
        weight *= np.random.default_rng(seed).exponential(size=len(rows))
    x = rows.x.astype(np.float32).astype(np.float64)
    linear = hasattr(model, "max_iter")
    mean, deviation = _scale(x, images=False) if linear else (0.0, 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it need not be the best, and is measured anyway
        model.fit((x - mean) / deviation, rows.y, sample_weight=weight)
    if linear:
        model.coef_ /= deviation
        model.intercept_ -= model.coef_ @ mean
    return model
