"""Fit a scikit-learn estimator: a clone, the same for the same seed, on inputs as they will be served."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from pennyweight.core import TrainSpec
    from pennyweight.data.splits import Arrays


def fit_estimator(estimator: Any, data: Arrays, settings: TrainSpec, *, seed: int) -> Any:
    """Return a fitted clone of `estimator`, trained on `data`; x (N, features) is rounded to float32 before.

    Models are served with float32 inputs. A model trained on float64 may put a threshold between a value and its
    float32 neighbour; rounded before training, both see the same numbers. Weights in `data` are passed on.
    `settings.patience` becomes the estimator's own early stopping, if it has one. A `random_state` left at None becomes
    `seed`; a number has `seed` added, so that seed 0 is the estimator as it was given. Raises `BadInputError` for data
    that the estimator refuses.
    """
    from sklearn.base import clone

    fresh = clone(estimator)
    fresh.set_params(**_seeded(fresh, seed), **_stopping(fresh, settings.patience))
    weights = _weights(fresh, data)
    try:
        fitted = fresh.fit(as_served(data.x), data.y, **weights)
    except ValueError as error:
        raise BadInputError(
            f"{type(estimator).__name__} cannot be trained on this data: {str(error).strip().splitlines()[0]}",
            "clean the data, or choose a model that takes it.",
        ) from error
    return fitted


def as_served(x: np.ndarray) -> np.ndarray:
    """The values of `x` that survive in float32, in float64, so that training loses no further precision."""
    return np.ascontiguousarray(x, dtype=np.float32).astype(np.float64)


def _seeded(estimator: Any, seed: int) -> dict[str, int]:
    found = {}
    for name, value in estimator.get_params(deep=True).items():
        if name == "random_state" or name.endswith("__random_state"):
            found[name] = value + seed if isinstance(value, int | np.integer) else seed
    return found


def _stopping(estimator: Any, patience: int | None) -> dict[str, object]:
    """The parameters that switch early stopping on, wherever in a pipeline they are."""
    if patience is None:
        return {}
    known = estimator.get_params(deep=True)
    found: dict[str, object] = {}
    for name in known:
        step, _, parameter = name.rpartition("__")
        if parameter == "n_iter_no_change":
            found[name] = patience
            switch = f"{step}__early_stopping" if step else "early_stopping"
            found.update({switch: True} if switch in known else {})
    return found


def _weights(estimator: Any, data: Arrays) -> dict[str, np.ndarray]:
    from sklearn.pipeline import Pipeline
    from sklearn.utils.validation import has_fit_parameter

    if data.weight is None:
        return {}
    last, prefix = (
        (estimator[-1], f"{estimator.steps[-1][0]}__") if isinstance(estimator, Pipeline) else (estimator, "")
    )
    if not has_fit_parameter(last, "sample_weight"):
        raise BadInputError(
            f"{type(last).__name__} cannot weigh examples, but the data has weights.",
            "leave the weights out, or choose a model whose fit() takes sample_weight.",
        )
    return {f"{prefix}sample_weight": data.weight}
