"""The log loss of each answer, from probabilities or log-likelihoods, for classes and for tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.errors import BadInputError
from pennyweight.evals.labels import check_probabilities, check_range, finite, true_classes
from pennyweight.evals.metric import Measured

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ABOVE = 1e-3  # a log-likelihood may exceed zero by rounding, not by more


def log_loss(y: NDArray[Any], p: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Log loss in nats summed over each example, (N,), and the number of answers in it, (N,): 1, or its tokens."""
    y, p = np.asarray(y), finite(p)
    if y.ndim == 2:
        return _token_loss(y, p)
    if p.ndim != 2:
        raise BadInputError(f"Predictions of shape {p.shape} are no class probabilities.", "give (N, C).")
    truth = true_classes(y, len(p))
    check_range(truth, p.shape[1])
    check_probabilities(p)
    return -_log(np.take_along_axis(p, truth[:, None], axis=1)[:, 0]), np.ones(len(p))


def log_likelihood(y: NDArray[Any], logits: NDArray[Any]) -> NDArray[Any]:
    """The log-likelihood (N, T) or (N,) of the answers `y` under `logits` (N, T, V) or (N, C); padding gives zero."""
    top = logits.max(axis=-1, keepdims=True)
    total = np.log(np.exp(logits - top).sum(axis=-1)) + top[..., 0]
    chosen = np.take_along_axis(logits, np.maximum(y, 0)[..., None], axis=-1)[..., 0]
    return np.where(y < 0, 0.0, chosen - total)


def mean_loss(y: NDArray[Any], p: NDArray[Any]) -> Measured:
    """The mean log loss per answer; sequences (rows of `y`) are the independent examples."""
    loss, size = log_loss(y, p)
    value = loss.sum() / size.sum()
    return Measured(float(value), (loss - value * size) / size.mean())


def _token_loss(y: NDArray[Any], p: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if p.shape[:2] != y.shape or p.ndim not in {2, 3} or y.dtype.kind not in "iu":
        raise BadInputError(
            f"Tokens of shape {y.shape} and type {y.dtype} do not go with predictions of shape {p.shape}.",
            "give whole-number tokens (N, T) with probabilities (N, T, V) or log-likelihoods (N, T).",
        )
    real = y >= 0
    if not real.any(axis=1).all():
        raise BadInputError("A sequence consists of padding only.", "leave it out.")
    if p.ndim == 2:
        if (p[real] > _ABOVE).any():
            raise BadInputError("A log-likelihood is above zero.", "give the logarithm of each token's probability.")
        loss: NDArray[np.float64] = -p.astype(np.float64)
    else:
        check_range(y[real].astype(np.intp), p.shape[2])
        check_probabilities(p)
        loss = -_log(np.take_along_axis(p, np.maximum(y, 0)[..., None], axis=2)[..., 0])
    return np.where(real, loss, 0.0).sum(axis=1), real.sum(axis=1).astype(float)


def _log(p: NDArray[Any]) -> NDArray[np.float64]:
    """The logarithm of probabilities no smaller than their type can tell from zero beside one, as scikit-learn does."""
    least = np.finfo(p.dtype).eps if p.dtype.kind == "f" else np.finfo(float).eps
    logs: NDArray[np.float64] = np.log(np.clip(p.astype(np.float64), least, 1.0))
    return logs
