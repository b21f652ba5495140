"""A lever on a job, before and after: what the laws look at, counted on what is really there."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight import backends
from pennyweight.catalog import load_device, load_prices
from pennyweight.core import DataSpec, Form, Job, Lever, Op, Stage, Work
from pennyweight.cost.activations import training_byte
from pennyweight.cost.count import count, count_training, data_byte, params
from pennyweight.cost.predict import Predictor
from pennyweight.engine.making import trained

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pennyweight.core import Spec

_MOST_CODES = 256
_ALL_UNITS = "amd-zen4"  # a processor with units for bfloat16 and int8


@dataclass(frozen=True, eq=False)
class Case:
    """A job a lever fits: the work before (and its digest then) and after."""

    job: Job
    lever: Lever
    work: Work
    before: str
    after: Work


@cache
def cases_of(kind: type[Lever], jobs: tuple[Job, ...]) -> tuple[Case, ...]:
    """Every job on which one of the lever's choices fits and saves something on paper, with the first such pulled."""
    return tuple(case for job in jobs if (case := _case(kind, job)) is not None)


def _case(kind: type[Lever], job: Job) -> Case | None:
    work = _opened(job, ready=kind.stage > Stage.TRAIN)
    lever = next((each for each in fitting(kind, job) if _saves(each, job, work.spec)), None)
    if lever is None:
        return None
    work = work.having(model=copy.deepcopy(work.model))  # other levers want it as it was, whatever this one does
    before = digest(work)
    return Case(job, lever, work, before, lever.pull(work))


def fitting(kind: type[Lever], job: Job) -> tuple[Lever, ...]:
    """The lever's choices that fit the job's work as it is when their turn comes."""
    work = _opened(job, ready=kind.stage > Stage.TRAIN)
    return tuple(lever for lever in kind.choices(job) if lever.fits(work.spec))


def _saves(lever: Lever, job: Job, spec: Spec) -> bool:
    before, after = (_figures(type(lever), job, each) for each in (spec, lever.rewrite(spec)))
    return any(b < a for a, b in zip(before, after, strict=True))


def _figures(kind: type[Lever], job: Job, spec: Spec) -> tuple[float, ...]:
    """What may become less: work, bytes, parameters, training, its memory and wires, storage; if it serves, dollars."""
    one, train = count(spec), count_training(spec)
    trained = (train.flop, train.hbm_byte, train.net_byte, float(spec.data.rows), data_byte(spec), training_byte(spec))
    figures = (one.flop, one.hbm_byte, one.disk_byte, params(spec), *trained)
    if kind.stage < Stage.SERVE:
        return figures
    bill = Predictor(load_device(_ALL_UNITS), load_prices()).predict(spec, job.demand)
    return (*figures, bill.usd)


@cache
def _opened(job: Job, *, ready: bool) -> Work:
    """The job's work, trained if it is to be `ready`; its spec counts the model that is really there."""
    work = backends.load(job.backend).open(job)
    work = trained(work) if ready else work
    return work.having(spec=counted(job, work))


def choices(kind: type[Lever], jobs: tuple[Job, ...]) -> Iterator[Lever]:
    """All settings that the lever thinks worth trying on these jobs."""
    return (lever for job in jobs for lever in kind.choices(job))


def specs(kind: type[Lever], jobs: tuple[Job, ...]) -> list[Spec]:
    """Specs of all kinds: as asked, after the lever, of another form, quantised, and with nothing to gain."""
    found = [job.spec for job in jobs] + [case.after.spec for case in cases_of(kind, jobs)]
    small = tuple(replace(op, weight_bits=8, act_bits=8, disk_bits=8) for op in jobs[0].spec.ops)
    bare = (Op("only", jobs[0].spec.ops[0].kind, 1, 1),)
    clean = DataSpec(1, 8.0, classes=2, scaled=True)
    found += [replace(spec, form=form) for spec in found for form in Form]
    return [*found, replace(found[0], form=Form.GRAPH, ops=small), replace(found[0], ops=bare, data=clean)]


def spec_in_kind(case: Case) -> Spec:
    """The spec before the lever, counted on a graph if the lever made one of a module."""
    spec = case.work.spec
    if spec.form is case.after.spec.form or case.after.spec.form is not Form.GRAPH:
        return spec
    from pennyweight.cost.table_graph import table_of_graph

    graph = backends.load(case.job.backend).export(case.work, "onnx").file("model.onnx")
    return replace(spec, ops=table_of_graph(graph))


def counted(job: Job, work: Work) -> Spec:
    """The work's spec with operators and rows counted on what is really there."""
    spec = replace(work.spec, ops=backends.load(job.backend).table(work))
    spec = replace(spec, data=replace(spec.data, rows=len(work.data.train)))
    return replace(spec, ops=_as_stored(work.model, spec)) if spec.form is Form.MODULE else spec


def _as_stored(model: Any, spec: Spec) -> tuple[Op, ...]:
    """The rows with the density and the bits per weight that the real tensors have."""
    from pennyweight.backends.torch_weights import matrices

    held: dict[Op, list[Any]] = {}
    for name, op in matrices(model, spec).items():
        held.setdefault(op, []).append(model.get_parameter(name).detach().numpy().ravel())
    return tuple(_stored(op, held[op]) if op in held else op for op in spec.ops)


def _stored(op: Op, tensors: list[Any]) -> Op:
    full = [each[each != 0] for each in tensors]
    weights = sum(each.size for each in full)
    codes = max(np.unique(each).size for each in full)
    op = replace(op, density=weights / sum(each.size for each in tensors))
    if codes > _MOST_CODES or 2 * codes * len(full) > weights:
        return op
    bits = max(1, int(codes - 1).bit_length())
    return replace(op, disk_bits=bits + 2**bits * 32 * len(full) / weights)


def digest(work: Work) -> str:
    """A name for everything a lever may change: spec, training rows and model."""
    whole = sha256(repr((work.spec, work.trained, work.seed)).encode())
    train = work.data.train
    for column in (train.x, train.y, train.groups, train.weight):
        whole.update(b"-" if column is None else np.ascontiguousarray(column).tobytes())
    return whole.hexdigest() + model_digest(work)


def model_digest(work: Work) -> str:
    """A name for the model alone: its weights, or what it answers."""
    whole = sha256()
    for part in _of_model(work):
        whole.update(part)
    return whole.hexdigest()


def _of_model(work: Work) -> Iterator[bytes]:
    if work.spec.form is Form.GRAPH:
        yield work.model
    elif work.spec.form is Form.MODULE:
        for name, tensor in work.model.state_dict().items():
            yield f"{name}{tuple(tensor.shape)}".encode()
            yield tensor.detach().numpy().tobytes()
    else:
        yield repr(sorted(work.model.get_params().items(), key=str)).encode()
        if work.trained:
            yield backends.load("sklearn").predict(work, work.data.select.x).tobytes()
