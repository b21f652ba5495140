"""The operator table of a scikit-learn estimator, exact once it is fitted and expected before."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.core import Kind, Op
from pennyweight.cost.estimator_trees import Shape, tree_rows
from pennyweight.cost.repeats import alike
from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_BITS = 64  # scikit-learn computes and stores in float64
_SCALERS = {"StandardScaler": 2, "MinMaxScaler": 2, "RobustScaler": 2, "MaxAbsScaler": 1, "Normalizer": 0}
_LINEAR = frozenset({"LinearSVC", "LinearSVR", "LinearDiscriminantAnalysis", "NuSVC"})
_INSIDE = ("best_estimator_", "estimator_", "regressor_", "estimator", "regressor")


def table_of_estimator(estimator: Any, n_features: int, n_outputs: int, *, rows: int = 1000) -> tuple[Op, ...]:
    """The operator table of `estimator` for one example of `n_features` numbers.

    `n_outputs` is the number of classes or of numbers to estimate; `rows` is the number of training rows, from which
    the size of trees is expected if the estimator is not fitted. Trees: `positions` is the mean path of a training row.
    Linear models: `density` is the share of coefficients that is not zero. Pipelines: the rows of all steps. Any other
    estimator is taken to use each number it learned (before fitting: each training value) once per prediction.

    Raises `BadInputError` if `estimator` is none, or is set to what cannot be built.
    """
    if not hasattr(estimator, "fit") or not hasattr(estimator, "get_params"):
        raise BadInputError(
            f"A {type(estimator).__name__} is no scikit-learn estimator.", "give an object with fit and predict."
        )
    ops = alike(_rows(estimator, Shape(n_features, n_outputs, rows)))
    if any(op.times < 1 for op in ops):
        raise BadInputError(f"{estimator} can hold no model: a number in it is below one.", "correct its settings.")
    names = [op.name for op in ops]
    return tuple(
        replace(op, name=f"{op.name}_{names[:i].count(op.name)}") if op.name in names[:i] else op
        for i, op in enumerate(ops)
    )


def _rows(model: Any, shape: Shape) -> tuple[Op, ...]:
    if hasattr(model, "steps"):
        return _pipeline([step for _, step in model.steps], shape)
    grown = tree_rows(model, shape)
    if grown is not None:
        return grown
    inside = _inside(model)
    if inside:
        return tuple(op for each in inside for op in _rows(each, shape))
    kind = type(model)
    if kind.__name__.startswith(("Bagging", "AdaBoost")):
        return _copies(model, shape)
    if kind.__name__.startswith("MLP"):
        return _network(model, shape)
    if kind.__module__.startswith("sklearn.linear_model") or kind.__name__ in _LINEAR:
        return _linear(model, shape)
    return (_whatever(model, shape),)


def _inside(model: Any) -> Sequence[Any]:
    """The estimators that this one asks: fitted members of an ensemble, or those it is described by."""
    fitted = getattr(model, "estimators_", None)
    if fitted is not None:
        return [each for each in np.ravel(np.asarray(fitted, dtype=object)) if hasattr(each, "predict")]
    calibrated = [each.estimator for each in getattr(model, "calibrated_classifiers_", ())]
    described = [each for _, each in getattr(model, "estimators", None) or () if hasattr(each, "fit")]
    wrapped = [getattr(model, name) for name in _INSIDE if hasattr(getattr(model, name, None), "fit")]
    copied = hasattr(model, "n_estimators")
    return calibrated or described or ([] if copied else wrapped[:1])


def _copies(model: Any, shape: Shape) -> tuple[Op, ...]:
    """An ensemble that will be fitted: so many copies of one estimator, a tree if none is named."""
    from sklearn.tree import DecisionTreeClassifier

    boosts = type(model).__name__.startswith("AdaBoost")
    each = model.estimator or DecisionTreeClassifier(max_depth=1 if boosts else None)
    return tuple(replace(op, times=op.times * model.n_estimators) for op in _rows(each, shape))


def _pipeline(steps: Sequence[Any], shape: Shape) -> tuple[Op, ...]:
    ops: list[Op] = []
    for step in steps:
        if hasattr(step, "predict") and step is steps[-1]:
            ops += _rows(step, shape)
        elif hasattr(step, "transform"):
            done = _transformer(step, shape.n_in)
            ops += done
            shape = replace(shape, n_in=done[-1].n_out)
    return tuple(ops)


def _transformer(step: Any, n_in: int) -> tuple[Op, ...]:
    """A step before the last: scaling, projecting, choosing or making features."""
    name, n_out = type(step).__name__, _features_out(step, n_in)
    if name in _SCALERS:
        return (_plain(name, Kind.NORM, n_in, n_in, per_out=_SCALERS[name]),)
    components = getattr(step, "components_", None)
    if components is not None or hasattr(step, "n_components"):
        return (_plain(name, Kind.LINEAR, n_in, n_out, per_out=int(hasattr(step, "mean_"))),)
    if n_out < n_in:
        return (_plain(name, Kind.COPY, n_out, n_out),)
    return (_plain(name, Kind.POINTWISE, n_out, n_out, intake=n_in / n_out),)


def _features_out(step: Any, n_in: int) -> int:
    fitted = getattr(step, "n_features_in_", None) is not None
    if fitted and hasattr(step, "get_support"):
        return int(np.sum(step.get_support()))
    if fitted and hasattr(step, "get_feature_names_out"):
        return len(step.get_feature_names_out())
    wanted = getattr(step, "n_components", None) or getattr(step, "k", None)
    return min(n_in, wanted) if isinstance(wanted, int) else n_in


def _linear(model: Any, shape: Shape) -> tuple[Op, ...]:
    n_out = 1 if _is_binary(model, shape.n_out) else shape.n_out
    n_in, density, bias = shape.n_in, 1.0, int(bool(getattr(model, "fit_intercept", True)))
    coef = getattr(model, "coef_", None)
    if coef is not None:
        dense = np.atleast_2d(coef.toarray() if hasattr(coef, "toarray") else coef)
        n_out, n_in = dense.shape
        density = float(np.count_nonzero(dense)) / max(1, dense.size)
    row = _plain(type(model).__name__, Kind.LINEAR, n_in, n_out, per_out=bias, density=density)
    if not hasattr(model, "predict_proba"):
        return (row,)
    return row, _plain(f"{row.name}.softmax", Kind.SOFTMAX, shape.n_out, shape.n_out)


def _network(model: Any, shape: Shape) -> tuple[Op, ...]:
    """A multi-layer perceptron; hidden layers may change width."""
    hidden = list(np.atleast_1d(model.hidden_layer_sizes))
    widths = [shape.n_in, *map(int, hidden), 1 if _is_binary(model, shape.n_out) else shape.n_out]
    if hasattr(model, "coefs_"):
        widths = [model.coefs_[0].shape[0], *(matrix.shape[1] for matrix in model.coefs_)]
    ops = []
    groups = ["", *(f"hidden.{i}" for i in range(len(widths) - 2)), ""]
    for i, (n_in, n_out) in enumerate(pairwise(widths)):
        ends = {"reads": groups[i], "writes": groups[i + 1]}
        ops.append(_plain(f"layers.{i}", Kind.LINEAR, n_in, n_out, per_out=1, **ends))
        if groups[i + 1] and model.activation != "identity":
            same = {"reads": groups[i + 1], "writes": groups[i + 1]}
            ops.append(_plain(f"{model.activation}.{i}", Kind.POINTWISE, n_out, n_out, **same))
    if hasattr(model, "predict_proba"):
        ops.append(_plain("softmax", Kind.SOFTMAX, shape.n_out, shape.n_out))
    return tuple(ops)


def _whatever(model: Any, shape: Shape) -> Op:
    """An estimator of unknown making: each learned number is multiplied once; a dummy ignores its input."""
    if type(model).__name__.startswith("Dummy"):
        return _plain(type(model).__name__, Kind.COPY, shape.n_out, shape.n_out)
    learned = sum(array.size for array in _arrays(vars(model).values()))
    total = learned or shape.rows * shape.n_in
    return _plain(type(model).__name__, Kind.LINEAR, max(1, round(total / shape.n_out)), shape.n_out)


def _arrays(values: Iterable[Any]) -> list[Any]:
    return [value for value in values if isinstance(value, np.ndarray) and value.dtype.kind == "f"]


def _is_binary(model: Any, n_outputs: int) -> bool:
    """Two classes need one score."""
    from sklearn.base import is_classifier

    return n_outputs == 2 and bool(is_classifier(model))


def _plain(name: str, kind: Kind, n_in: int, n_out: int, **more: Any) -> Op:
    return Op(name, kind, n_in, n_out, weight_bits=_BITS, act_bits=_BITS, disk_bits=_BITS, **more)
