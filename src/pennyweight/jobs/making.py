"""From a model, data and a floor to a job: checked, counted and named by content."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import numpy as np

from pennyweight.core import Demand, Floor, Form, Job, Limits, ServeSpec, Spec, Task, TrainSpec
from pennyweight.data.balance import weighed
from pennyweight.data.splits import Arrays, Splits
from pennyweight.errors import BadInputError
from pennyweight.jobs.checks import (
    check_classes,
    check_metric,
    check_power,
    check_splits,
    checked_alphabet,
    checked_tokenizer,
    task_of,
    typed,
)
from pennyweight.jobs.facts import data_spec, described, extended, fingerprint, weights_of
from pennyweight.jobs.heirs import with_heirs
from pennyweight.jobs.intake import as_splits

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn


class Asked(TypedDict, total=False):
    """What may be said of a job besides model, data and floor; all of it has a default.

    `train`: how it is trained. `demand`: how often it will be used. `limits`: what the search may spend. `task`: what
    it answers with (otherwise told from metric and labels). `shares`, `groups`, `stratify`, `seed`: how undivided data
    is dealt. `weighted`: whether every class weighs the same in training, however rare. `alphabet`: the character of
    each token, in order, so that the finished model can read and write text. `tokenizer`: the same for tokens that are
    more than characters, as the text of a tokenizer.json.
    """

    train: TrainSpec
    demand: Demand
    limits: Limits
    task: Task
    shares: tuple[float, float, float]
    groups: Any
    stratify: bool
    seed: int
    weighted: bool
    alphabet: str
    tokenizer: str


def torch_job(
    name: str, make_model: Callable[[], nn.Module], data: Any, floor: Floor | str, **asked: Unpack[Asked]
) -> Job:
    """A job around a torch module, which `make_model` makes fresh.

    `data` may be `Splits`, `(x, y)` arrays, a torch `DataLoader` or `Dataset`, or three of these (train, select,
    certify). `floor` is a `Floor`, or text such as ``"accuracy=98%"``. The module must answer with logits (N, classes),
    values (N,), or next-token logits (N, T, vocabulary). If `make_model` has `students`, a mapping of names to
    functions that make smaller networks (or a method that gives one), the search may train those in its place.
    """
    from pennyweight.backends.torch import TorchMaterial
    from pennyweight.cost.table_module import table_of_module
    from pennyweight.train.rows import answer_width
    from pennyweight.train.students import fresh

    floor = _floor(floor)
    splits = _splits(data, asked)
    task = asked.get("task") or task_of(floor, splits.train.y)
    check_splits(splits, task)
    model = fresh(make_model, asked.get("seed", 0))
    splits = _weighed(_torch_typed(splits, task, model), asked)
    classes = answer_width(model, splits.train, task)
    if task is not Task.REGRESS:
        check_classes(splits, classes, padded=task is Task.LANGUAGE)
    check_power(floor, splits.certify)
    alphabet = checked_alphabet(asked.get("alphabet", ""), task, classes)
    tokenizer = checked_tokenizer(asked.get("tokenizer", ""), task, classes)
    dtype = str(splits.train.x.dtype)
    spec = Spec(
        Form.MODULE,
        table_of_module(model, splits.train.x.shape[1:], dtype=dtype),
        data_spec(splits.train, task, classes, unlabelled=_count(splits.unlabelled)),
        asked.get("train", TrainSpec()),
        ServeSpec(runtime="torch", batch=asked.get("demand", Demand()).batch),
    )
    origin = getattr(make_model, "__qualname__", type(make_model).__qualname__)
    content = fingerprint(splits, model=[origin, *described(model), repr(spec.train), floor.metric])
    content = extended(content, weights_of(model)) if spec.train.pretrained else content
    material = TorchMaterial(make_model, splits, dtype, alphabet, tokenizer)
    job = _job((name, spec, floor), asked, "torch", content, material)
    return with_heirs(job, asked.get("seed", 0))


def sklearn_job(name: str, estimator: Any, data: Any, floor: Floor | str, **asked: Unpack[Asked]) -> Job:
    """A job around a scikit-learn estimator, which is cloned before it is fitted.

    `data` as for `torch_job`, with rows of shape (features,); classes are numbered from 0. NaN in x is accepted where
    the estimator accepts it.
    """
    from sklearn.utils import get_tags

    from pennyweight.backends.sklearn import SklearnMaterial
    from pennyweight.cost.table_estimator import table_of_estimator

    floor = _floor(floor)
    splits = _splits(data, asked)
    task = asked.get("task") or task_of(floor, splits.train.y)
    check_splits(splits, task, holes_allowed=bool(get_tags(estimator).input_tags.allow_nan))
    if splits.train.x.ndim != 2:
        raise BadInputError(
            f"An estimator takes rows of features, not of shape {splits.train.x.shape[1:]}.",
            "flatten them: x.reshape(len(x), -1).",
        )
    classes = _classes(splits, task)
    splits = _retyped(splits, splits.train.x.dtype.type, np.float64 if task is Task.REGRESS else np.int64)
    splits = _weighed(splits, asked)
    check_power(floor, splits.certify)
    spec = Spec(
        Form.ESTIMATOR,
        table_of_estimator(estimator, splits.train.x.shape[1], max(1, classes)),
        data_spec(splits.train, task, classes),
        asked.get("train", TrainSpec()),
        ServeSpec(runtime="sklearn", batch=asked.get("demand", Demand()).batch),
    )
    about = [type(estimator).__qualname__, repr(sorted(estimator.get_params().items(), key=str))]
    content = fingerprint(splits, model=[*about, repr(spec.train), floor.metric])
    return _job((name, spec, floor), asked, "sklearn", content, SklearnMaterial(estimator, splits))


def _count(rows: Any) -> int:
    return 0 if rows is None else len(rows)


def _floor(floor: Floor | str) -> Floor:
    floor = Floor.parse(floor) if isinstance(floor, str) else floor
    check_metric(floor.metric)
    return floor


def _splits(data: Any, asked: Asked) -> Splits:
    dealt: dict[str, Any] = {
        key: each for key, each in asked.items() if key in {"shares", "groups", "stratify", "seed"}
    }
    return as_splits(data, **dealt)


def _job(core: tuple[str, Spec, Floor], asked: Asked, backend: str, content: str, material: Any) -> Job:
    name, spec, floor = core
    demand, limits = asked.get("demand", Demand()), asked.get("limits", Limits())
    return Job(name, spec, floor, demand, limits, backend, content, material)


def _weighed(splits: Splits, asked: Asked) -> Splits:
    return weighed(splits) if asked.get("weighted") else splits


def _torch_typed(splits: Splits, task: Task, model: nn.Module) -> Splits:
    """Inputs as float32, or int64 where they are tokens; labels as int64, or float32 where they are values."""
    import torch

    embeds = any(isinstance(each, torch.nn.Embedding) for each in model.modules())
    tokens = splits.train.x.dtype.kind in "iu" and (embeds or task is Task.LANGUAGE)
    x_type = np.int64 if tokens else np.float32
    y_type = np.float32 if task is Task.REGRESS else np.int64
    return _retyped(splits, x_type, y_type)


def _retyped(splits: Splits, x_type: type, y_type: type) -> Splits:
    parts = (splits.train, splits.select, splits.certify)
    more = None if splits.unlabelled is None else typed(splits.unlabelled, x_type)
    rows = (
        Arrays(typed(each.x, x_type), typed(each.y, y_type), each.groups, each.weight, each.texts) for each in parts
    )
    return Splits(*rows, unlabelled=more)


def _classes(splits: Splits, task: Task) -> int:
    if task is Task.REGRESS:
        return 0
    labels = np.unique(splits.train.y)
    if len(labels) < 2 or not np.array_equal(labels, np.arange(len(labels))):
        shown = ", ".join(f"{label:g}" for label in labels[:8])
        raise BadInputError(
            f"The labels to train on are {shown}{', …' if len(labels) > 8 else ''}, not 0, 1, 2, ….",
            "number two or more classes from 0: numpy.unique(labels, return_inverse=True).",
        )
    check_classes(splits, len(labels))
    return len(labels)
