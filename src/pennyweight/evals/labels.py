"""Classes, predicted and true: what is accepted, and what is refused with which fix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SUM_TOLERANCE = 1e-2  # rows of probabilities in reduced precision add up to one only roughly


def true_classes(y: NDArray[Any], n: int) -> NDArray[np.intp]:
    """`y` (N,) as class numbers; text, fractions, NaN and a length other than `n` are refused."""
    y = np.asarray(y)
    if y.ndim != 1 or len(y) != n:
        raise BadInputError(f"y has shape {y.shape}, the predictions have {n} rows.", "give one class per prediction.")
    if n == 0:
        raise BadInputError("There are no examples to score.", "give at least one.")
    if y.dtype.kind not in "biuf" or not np.array_equal(y, np.floor(y)):
        raise BadInputError("y does not hold class numbers.", "number the classes 0, 1, 2 and so on.")
    return y.astype(np.intp)


def decide(y: NDArray[Any], p: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.intp], int]:
    """True classes (N,), answered classes (N,) and the number of classes, from scores (N, C) or answers (N,)."""
    p = finite(p)
    if p.ndim == 1 and p.dtype.kind in "biu":
        truth, answer = true_classes(y, len(p)), p.astype(np.intp)
        n_classes = int(max(truth.max(), answer.max())) + 1
    elif p.ndim == 2:
        truth, answer, n_classes = true_classes(y, len(p)), p.argmax(axis=1), p.shape[1]
    else:
        raise BadInputError(
            f"Predictions of shape {p.shape} and type {p.dtype} do not choose a class.",
            "give one probability per class, (N, C), or class numbers (N,).",
        )
    check_range(truth, n_classes)
    check_range(answer, n_classes)
    return truth, answer, n_classes


def scores(y: NDArray[Any], p: NDArray[Any]) -> tuple[NDArray[np.intp], list[tuple[int, NDArray[Any]]]]:
    """True classes (N,), and for each class to be ranked its number and scores (N,): one class if there are two.

    Accepts (N, C), or the scores of class 1 (N,). A class without examples is refused: ranking it means nothing.
    """
    p = finite(p)
    if p.ndim not in {1, 2} or (p.ndim == 2 and p.shape[1] < 2):
        raise BadInputError(f"Predictions of shape {p.shape} rank nothing.", "give probabilities of shape (N, C).")
    truth = true_classes(y, len(p))
    n_classes = 2 if p.ndim == 1 else p.shape[1]
    check_range(truth, n_classes)
    counts = np.bincount(truth, minlength=n_classes)
    if not counts.all():
        raise BadInputError(
            f"y has no example of class {int(np.argmin(counts))}, so nothing can be ranked against it.",
            "score on data that has every class, such as a stratified split.",
        )
    if n_classes == 2:
        return truth, [(1, _of_class_one(p))]
    return truth, [(number, p[:, number]) for number in range(n_classes)]


def _of_class_one(p: NDArray[Any]) -> NDArray[Any]:
    """Scores of class 1; of two logits it is their difference that ranks."""
    if p.ndim == 1:
        return p
    adds_up = np.abs(p.sum(axis=1, dtype=float) - 1).max() <= _SUM_TOLERANCE
    return p[:, 1] if adds_up else p[:, 1].astype(float) - p[:, 0]


def check_range(classes: NDArray[np.intp], n_classes: int) -> None:
    """Refuse class numbers outside 0 … `n_classes` - 1."""
    if classes.size and not (classes.min() >= 0 and classes.max() < n_classes):
        raise BadInputError(
            f"There are {n_classes} classes, but class numbers go from {classes.min()} to {classes.max()}.",
            "number the classes 0, 1, 2 and so on, in the order of the predictions' columns.",
        )


def check_probabilities(p: NDArray[Any]) -> None:
    """Refuse rows that are not probabilities, such as logits."""
    if p.size and (p.min() < -_SUM_TOLERANCE or np.abs(p.sum(axis=-1, dtype=float) - 1).max() > _SUM_TOLERANCE):
        raise BadInputError(
            "The predictions are not probabilities: rows do not add up to one.", "apply a softmax to logits first."
        )


def finite(p: NDArray[Any]) -> NDArray[Any]:
    """`p` as an array; NaN and infinity are refused."""
    p = np.asarray(p)
    if p.dtype.kind not in "biuf":
        raise BadInputError(f"Predictions of type {p.dtype} are not numbers.", "give an array of numbers.")
    if p.dtype.kind == "f" and not np.isfinite(p).all():
        bad = int((~np.isfinite(p)).reshape(len(p), -1).any(axis=1).sum())
        raise BadInputError(
            f"Predictions are NaN or infinite in {bad} of {len(p)} rows.",
            "look for NaN in the data (the clean lever), or train with a lower learning rate.",
        )
    return p
