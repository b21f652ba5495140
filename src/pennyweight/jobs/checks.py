"""What must be true of data and floor before anything is spent on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.core import Task
from pennyweight.data.copies import row_names, shared
from pennyweight.data.splits import check_finite
from pennyweight.errors import BadInputError, MissingExtraError, UnknownNameError
from pennyweight.jobs.power import enough, independent, least_examples

if TYPE_CHECKING:
    from pennyweight.core import Floor
    from pennyweight.data.splits import Arrays, Splits

_PARTS = ("train", "select", "certify")
_REGRESSION = frozenset({"rmse", "mae", "r2"})


def task_of(floor: Floor, y: np.ndarray) -> Task:
    """What the model must answer with, from the floor's metric and the labels: values, tokens (N, T) or classes."""
    if floor.metric in _REGRESSION:
        return Task.REGRESS
    if floor.metric == "perplexity" or (y.ndim == 2 and y.dtype.kind in "iu"):
        return Task.LANGUAGE
    return Task.CLASSIFY


def check_metric(metric: str) -> None:
    """Raise `UnknownNameError` for a metric that cannot be scored."""
    from pennyweight import evals

    if metric not in evals.names():
        raise UnknownNameError.of("metric", metric, evals.names())


def check_splits(splits: Splits, task: Task, *, holes_allowed: bool = False) -> None:
    """Refuse NaN and infinity (NaN in x only unless `holes_allowed`), and labels that are not of the task."""
    for name in _PARTS:
        rows = getattr(splits, name)
        if len(rows) == 0:
            raise BadInputError(f"The {name} split has no rows.", "give some.")
        finite = rows
        if holes_allowed and rows.x.dtype.kind == "f":
            finite = type(rows)(np.where(np.isnan(rows.x), 0, rows.x), rows.y)
        try:
            check_finite(finite)
        except BadInputError as error:
            raise BadInputError(
                f"In the {name} split: {error.problem}",
                "fill or drop them (the job must run as asked before anything about it can be cut).",
            ) from None
        _check_labels(rows.y, name, task)
    shapes = {getattr(splits, name).x.shape[1:] for name in _PARTS}
    if len(shapes) > 1:
        raise BadInputError("The splits hold rows of different shapes.", "give all three rows of one shape.")
    if splits.unlabelled is not None:
        _check_unlabelled(splits, splits.unlabelled)


def _check_unlabelled(splits: Splits, rows: np.ndarray) -> None:
    """Refuse rows without labels that the model could not read, or that would tell it of those it is judged by."""
    if rows.shape[1:] != splits.train.x.shape[1:]:
        raise BadInputError("The rows without labels have another shape.", "give them the shape of the others.")
    if rows.dtype.kind == "f" and not np.isfinite(rows).all():
        raise BadInputError("There is NaN or infinity in the rows without labels.", "fill or drop them.")
    if splits.train.groups is not None:
        raise BadInputError(
            "The training rows have groups, and those without labels have none.", "leave one or the other out."
        )
    names = row_names(rows.astype(splits.train.x.dtype))
    for part in ("select", "certify"):
        same = shared(row_names(getattr(splits, part).x.astype(splits.train.x.dtype)), names)
        if same:
            raise BadInputError(
                f"{same} of the rows without labels are in the {part} split.",
                "leave them out: the model must not have met what it is judged by.",
            )


def check_classes(splits: Splits, classes: int, *, padded: bool = False) -> None:
    """Refuse labels outside 0..classes - 1; where sequences may be `padded`, those below are no labels."""
    for name in _PARTS:
        y = getattr(splits, name).y
        low, high = int(y.min()), int(y.max())
        if padded and not (y >= 0).any(axis=1).all():
            raise BadInputError(f"A row of the {name} split consists of padding only.", "leave it out.")
        if (low < 0 and not padded) or high >= classes:
            raise BadInputError(
                f"The labels of the {name} split go from {low} to {high}, but the model knows {classes} answers.",
                "number the classes from 0 and give the model one output for each.",
            )


def check_power(floor: Floor, certify: Arrays) -> None:
    """Refuse a floor that the rows to `certify` could not confirm even for a candidate that is never worse."""
    if enough(floor, certify):
        return
    (n, unit), needed = independent(certify), least_examples(floor, certify)
    raise BadInputError(
        f"{n} {unit} to certify cannot show {floor}: that takes at least {needed}.",
        f"give {needed} {unit} or more to certify, give up more quality, or ask to be less sure.",
    )


def _check_labels(y: np.ndarray, name: str, task: Task) -> None:
    if task is Task.REGRESS:
        return
    whole = y.dtype.kind in "iub" or bool(np.all(y == np.round(y)))
    if not whole:
        raise BadInputError(
            f"The labels of the {name} split are not whole numbers, but the job is to {task.value}.",
            "number the classes from 0, or set a floor on rmse, mae or r2.",
        )
    wanted = 2 if task is Task.LANGUAGE else 1
    if y.ndim != wanted:
        form = "(rows, tokens)" if task is Task.LANGUAGE else "(rows,)"
        raise BadInputError(f"The labels of the {name} split have shape {y.shape}.", f"give them as {form}.")


def typed(values: Any, dtype: type) -> np.ndarray:
    """The values contiguous and of `dtype`, copied only if they are not."""
    return np.ascontiguousarray(values, dtype=dtype)


def checked_alphabet(alphabet: str, task: Task, classes: int) -> str:
    """The characters of a language model's tokens; raises `BadInputError` if they are not one for each."""
    if alphabet and (task is not Task.LANGUAGE or len(alphabet) != classes or len(set(alphabet)) != classes):
        raise BadInputError(
            f"The alphabet has {len(set(alphabet))} characters, and the model answers for {classes} tokens.",
            "give one character for each token, in their order.",
        )
    return alphabet


def checked_tokenizer(tokenizer: str, task: Task, classes: int) -> str:
    """The text of a tokenizer.json; raises `BadInputError` if it is none, or has other tokens than the model."""
    if not tokenizer:
        return ""
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise MissingExtraError.of("tokenizers", "llm") from None
    try:
        size = Tokenizer.from_str(tokenizer).get_vocab_size()
    except Exception as error:  # the library has no error of its own
        raise BadInputError(f"The tokenizer cannot be read: {error}.", "give the text of a tokenizer.json.") from error
    if task is not Task.LANGUAGE or size != classes:
        raise BadInputError(
            f"The tokenizer has {size} tokens, and the model answers for {classes}.",
            "give the tokenizer that the data was encoded with.",
        )
    return tokenizer
