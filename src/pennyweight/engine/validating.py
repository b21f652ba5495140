"""Cross-validate the control: the job as asked, trained and scored on parts of its training split only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight import backends, evals
from pennyweight.core import Cost, Form, Phase, Plan, Task
from pennyweight.cost.meter import meter
from pennyweight.cost.price import price
from pennyweight.data.folds import folds, joined
from pennyweight.data.splits import Splits
from pennyweight.engine.answers import softmax
from pennyweight.engine.making import threads_for, trained
from pennyweight.engine.shop import Shop
from pennyweight.evals.likelihood import log_likelihood
from pennyweight.store.records import Entry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pennyweight.backends import Backend
    from pennyweight.core import Job, Score, Work
    from pennyweight.cost.meter import Measurement
    from pennyweight.data.splits import Arrays

_SEQUENCES = 64  # the most that are answered at a time, and the most logits: one per token and word of the vocabulary
_LOGITS = 2**24


@dataclass(frozen=True, slots=True)
class Validated:
    """The mean score over all folds with its standard error, the score of each, and what finding out cost."""

    score: Score
    folds: tuple[Score, ...]
    cost: Cost


def cross_validate(job: Job, shop: Shop | None = None, *, k: int = 5, seed: int = 0) -> Validated:
    """Train the job as asked `k` times on all folds of its training split but one, and score the one left out.

    The metric is the floor's. The select and certify splits are not looked at. What each fold costs is kept on the
    ledger of `shop` (default: the one in `store.home()`), and its watcher hears of each.
    """
    place, spent = shop or Shop.at(), Cost()
    found: list[Score] = []
    for number, (train, test) in enumerate(folds(job.material.splits.train, k, seed), 1):
        at = f"fold {number} of {k}"
        place.watch("training", text=at)
        with meter() as window:
            found.append(_score(job, train, test, seed))
        place.ledger.append(_entry(job, place, window.measured, at))
        spent += price(window.measured.cost(), window.measured.peak_byte, place.sheet)
        place.watch("note", text=f"{at}: {job.floor.metric} {found[-1].mean:.4f}")
    return Validated(joined(found), tuple(found), spent)


def _score(job: Job, train: Arrays, test: Arrays, seed: int) -> Score:
    """Train the control on `train` and score it on `test`."""
    splits = Splits(train, test, test)
    backend = backends.load(job.backend)
    with threads_for(job.spec):
        work = trained(backend.open(replace(job, material=replace(job.material, splits=splits)), seed=seed))
        answers = metric_answers(backend, work, test)
    return evals.load(job.floor.metric).score(test.y, answers, test.groups)


def metric_answers(backend: Backend, work: Work, test: Arrays) -> NDArray[Any]:
    """Probabilities of classes, values, or the log-likelihood of each token, as metrics take them."""
    if work.spec.data.task is Task.LANGUAGE:
        each = test.x.shape[1] * max(1, work.spec.data.classes)
        count = min(_SEQUENCES, max(1, _LOGITS // each))
        parts = [slice(at, at + count) for at in range(0, len(test), count)]
        return np.concatenate([log_likelihood(test.y[part], backend.predict(work, test.x[part])) for part in parts])
    raw = backend.predict(work, test.x)
    logits = work.spec.data.task is Task.CLASSIFY and work.spec.form is Form.MODULE
    return softmax(raw) if logits else raw


def _entry(job: Job, shop: Shop, measured: Measurement, at: str) -> Entry:
    plan = Plan(job)
    return Entry(
        shop.session,
        job.name,
        Phase.FIND,
        measured.cost(),
        fingerprint=job.fingerprint,
        plan_key=plan.key,
        plan_text=str(plan),
        joule_basis=measured.joule_basis,
        peak_byte=measured.peak_byte,
        sheet=shop.sheet.id,
        note={"what": f"cross-validate, {at}"},
    )
