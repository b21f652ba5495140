"""Linear models as one matrix product and what turns its scores into answers."""

from __future__ import annotations

from typing import Any

import numpy as np

from pennyweight.backends.sklearn_onnx_part import Part, flat

_REGRESSORS = frozenset(
    {
        "ElasticNet",
        "ElasticNetCV",
        "Lasso",
        "LassoCV",
        "LinearRegression",
        "Ridge",
        "RidgeCV",
        "SGDRegressor",
    }
)


def is_linear(model: Any) -> bool:
    """Whether this is a linear model written here: a regressor, or a classifier that gives logistic probabilities."""
    name = type(model).__name__
    if not type(model).__module__.startswith("sklearn.linear_model"):
        return False
    return name in _REGRESSORS | {"LogisticRegression"} or (name == "SGDClassifier" and model.loss == "log_loss")


def linear_part(model: Any) -> Part:
    """``x · W + b`` as values, or softmax probabilities.

    Two classes are a softmax over (0, score). One-against-rest probabilities, ``σ(s_i) / Σ σ(s_j)``, are a softmax over
    ``log σ(s)``: the same number, but it survives float32 where every σ(s) underflows.
    """
    from onnx import helper, numpy_helper

    weight, bias = _whole(model)
    constants = [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(bias, "bias")]
    nodes, last = [helper.make_node("Gemm", ["x", "weight", "bias"], ["scores"])], "scores"
    if not hasattr(model, "classes_"):
        part = Part(nodes, constants, last, weight.shape[1])
        return flat(part) if weight.shape[1] == 1 and np.ndim(model.coef_) == 1 else part
    if len(model.classes_) > 2 and type(model).__name__ == "SGDClassifier":
        nodes += [
            helper.make_node("Neg", [last], ["against"]),
            helper.make_node("Softplus", ["against"], ["surprise"]),
            helper.make_node("Neg", ["surprise"], ["log_odds"]),
        ]
        last = "log_odds"
    nodes.append(helper.make_node("Softmax", [last], ["probabilities"], axis=1))
    return Part(nodes, constants, "probabilities", len(model.classes_))


def _whole(model: Any) -> tuple[np.ndarray, np.ndarray]:
    """Weights (features, outputs) and biases (outputs,) in float32; two classes get an output each."""
    weight = np.atleast_2d(model.coef_).T
    bias = np.zeros(weight.shape[1]) + np.ravel(model.intercept_)
    if len(getattr(model, "classes_", ())) == 2:
        weight, bias = np.hstack([np.zeros_like(weight), weight]), np.array([0.0, bias[0]])
    return weight.astype(np.float32), bias.astype(np.float32)
