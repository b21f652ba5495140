"""Which input features a sparse model would use, and estimators that look at no others."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_STEPS = 40
_ROUNDS = 300
_CLOSE = 1e-3
_LAST = 5e-3
_MOST_ROWS = 20_000
_STEP_NAME = "columns"
SELECTOR = "SelectFromModel"


def columns_in_order(x: NDArray[Any], y: NDArray[Any], classes: int, l1_ratio: float) -> NDArray[np.int64]:
    """All features, in the order in which a sparse linear model takes them up as its penalty falls.

    The path of the elastic net (`l1_ratio` 1: the Lasso) on standardised features, along 40 penalties; of those taken
    up at one step, larger coefficients first; those never taken up last, by their correlation with the answer. Classes
    are told apart by one output each, and a feature enters for all outputs at once (group Lasso). Uses at most 20,000
    rows, evenly spread.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import enet_path

    spread = np.unique(np.linspace(0, len(x) - 1, min(len(x), _MOST_ROWS)).astype(int))
    x_std, target = _standard(x[spread].astype(np.float64)), _target(y[spread], classes)
    pull = np.linalg.norm((x_std.T @ target).reshape(len(x_std.T), -1), axis=1)
    highest = pull.max() / (len(spread) * l1_ratio)
    penalties = np.geomspace(1.0, _LAST, _STEPS) * max(highest, np.finfo(np.float64).tiny)
    with warnings.catch_warnings():
        # An unfinished fit at one penalty does not change who entered before it.
        warnings.simplefilter("ignore", ConvergenceWarning)
        _, paths, *_ = enet_path(x_std, target, l1_ratio=l1_ratio, alphas=penalties, max_iter=_ROUNDS, tol=_CLOSE)
    size = np.abs(paths) if paths.ndim == 2 else np.sqrt((paths**2).sum(axis=0))
    entered = np.where((size > 0).any(axis=1), (size > 0).argmax(axis=1), size.shape[1])
    at_entry = size[np.arange(len(size)), np.minimum(entered, size.shape[1] - 1)]
    order: NDArray[np.int64] = np.lexsort((-pull, -at_entry, entered)).astype(np.int64)
    return order


def kept_columns(model: Any) -> NDArray[np.int64] | None:
    """The features that a column-selecting pipeline keeps, ascending; None if it keeps all."""
    if not hasattr(model, "steps") or model.steps[0][0] != _STEP_NAME:
        return None
    kept: NDArray[np.int64] = np.flatnonzero(model.steps[0][1].get_support())
    return kept


def with_columns(model: Any, kept: Sequence[int] | NDArray[np.int64], features: int) -> Any:
    """An unfitted pipeline that passes on only the columns `kept` of `features` to a clone of `model`."""
    from sklearn.base import clone
    from sklearn.feature_selection import SelectFromModel
    from sklearn.frozen import FrozenEstimator
    from sklearn.linear_model import Lasso
    from sklearn.pipeline import Pipeline

    # The selector reads its choice off the coefficients of a sparse model; frozen, it survives cloning.
    sparse = Lasso()
    sparse.coef_ = np.isin(np.arange(features), kept).astype(np.float64)
    sparse.intercept_, sparse.n_features_in_ = 0.0, features
    choice = SelectFromModel(FrozenEstimator(sparse), prefit=True, threshold=0.5)
    steps = model.steps if hasattr(model, "steps") else [("model", model)]
    return Pipeline([(_STEP_NAME, choice), *((name, clone(step)) for name, step in steps)])


def _standard(x: NDArray[np.float64]) -> NDArray[np.float64]:
    deviation = x.std(axis=0)
    centred: NDArray[np.float64] = x - x.mean(axis=0)
    return np.asfortranarray(centred / np.where(deviation > 0, deviation, 1.0))


def _target(y: NDArray[Any], classes: int) -> NDArray[np.float64]:
    """Centred answers (N,) or (N, outputs)."""
    if classes == 2:
        target = 2.0 * y - 1
    elif classes > 2:
        target = np.eye(classes)[y.astype(int)]
    else:
        target = np.asarray(y, dtype=np.float64)
    centred: NDArray[np.float64] = target - target.mean(axis=0)
    return centred
