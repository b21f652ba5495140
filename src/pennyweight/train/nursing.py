"""Training that heals: what ails it is found, cured if asked, and training goes on from the last good weights."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.errors import BadInputError, PennyweightError
from pennyweight.train.diagnosis import bad_rows, diagnose
from pennyweight.train.finding import Cure, Finding, Ill
from pennyweight.train.health import Health, Watcher
from pennyweight.train.how import How, Progress, Trained
from pennyweight.train.loop import fit
from pennyweight.train.objective import Objective
from pennyweight.train.rescaling import rescaled
from pennyweight.train.rows import tensors

if TYPE_CHECKING:
    from torch import nn

    from pennyweight.core import TrainSpec

_CLIP = 1.0
_MOST = 4
_SLOWER = {Cure.CLIP: 0.5, Cure.LOWER: 1 / 3, Cure.RELOAD: 0.7}
_WORTH_STOPPING = frozenset({Ill.EXPLODING, Ill.DEAD, Ill.SPIKE, Ill.VANISHING, Ill.NOT_A_NUMBER})


@dataclass(frozen=True, slots=True)
class Nursed:
    """A training that went through, with what was found on the way and what was done; `settings` are the last ones."""

    trained: Trained
    findings: tuple[Finding, ...]
    cured: tuple[Finding, ...]
    settings: TrainSpec


def nurse(
    model: nn.Module, data: Any, settings: TrainSpec, *, how: How | None = None, health: Health | None = None
) -> Nursed:
    """Train like `fit`, and cure what is found, at most four times: clip, lower the rate, skip rows, go back.

    After a cure training goes on from the last good weights for the epochs that are left. Where nothing more can be
    done, the error of the training itself is raised with the finding in its words.
    """
    ward = _Ward(copy.deepcopy(model), data, settings, how or How(), replace(health or Health(), keep=True))
    while True:
        curing = len(ward.cured) < _MOST
        watcher = ward.health.watch()
        try:
            trained = ward.try_again(watcher, curing=curing)
        except BadInputError:
            raise
        except PennyweightError as error:
            finding = ward.cause(watcher)
            if finding is None or not curing:
                raise _explained(error, finding) from error
            ward.take(watcher, finding)
            continue
        ward.findings += watcher.findings
        if (finding := ward.interrupted) is None:
            return Nursed(trained, tuple(ward.findings), tuple(ward.cured), ward.settings)
        ward.take(watcher, finding)


@final
class _Ward:
    """The state of a nursed training between two attempts."""

    def __init__(self, model: nn.Module, data: Any, settings: TrainSpec, how: How, health: Health) -> None:
        self.model, self.data, self.settings, self.how, self.health = model, data, settings, how, health
        self.findings: list[Finding] = []
        self.cured: list[Finding] = []
        self.interrupted: Finding | None = None
        self.steps = 1

    def try_again(self, watcher: Watcher, *, curing: bool) -> Trained:
        """Train on until the end or, if more can be cured, until something is found."""
        self.interrupted = None
        after, watch = self.how.after_step, self.how.watch

        def after_step(model: nn.Module) -> None:
            watcher.after_step(model)
            if after is not None:
                after(model)

        def told(progress: Progress) -> bool:
            self.steps = progress.steps
            watcher.told(progress)
            if curing and (found := self._serious(watcher)) is not None:
                self.interrupted = found
                return False
            return watch is None or watch(progress)

        return fit(self.model, self.data, self.settings, how=replace(self.how, after_step=after_step, watch=told))

    def _serious(self, watcher: Watcher) -> Finding | None:
        done = {(each.what, each.where) for each in self.cured}
        new = [each for each in watcher.findings if each.what in _WORTH_STOPPING]
        return next((each for each in new if (each.what, each.where) not in done), None)

    def cause(self, watcher: Watcher) -> Finding | None:
        """Why the loss is no number, looked for in the weights the training ended with, then in the last good ones."""
        model = watcher.model or self.model
        rows = tensors(model, self.data, self.how.task, self.how.teacher_logits)
        objective = Objective(self.how.task, self.how.temperature, self.how.mix)
        return diagnose(model, objective, rows, step=watcher.step) or next(iter(watcher.findings[::-1]), None)

    def take(self, watcher: Watcher, finding: Finding) -> None:
        """Apply the cure of a finding: other settings, other rows, or other weights to go on from."""
        if finding not in self.findings:
            self.findings.append(finding)
        self.cured.append(finding)
        train = self.settings
        if finding.cure is Cure.SKIP:
            self._without_bad_rows()
        elif finding.cure is Cure.RESCALE:
            self.model = rescaled(self.model, tensors(self.model, self.data, self.how.task).x)
            return
        else:
            train = replace(train, lr=train.lr * _SLOWER[finding.cure])
        if finding.cure is Cure.CLIP and not train.regular.clip_norm:
            train = replace(train, regular=replace(train.regular, clip_norm=_CLIP))
        if watcher.good is not None:
            self.model.load_state_dict(watcher.good)
            left = max(0.02, 1 - watcher.good_step / max(1, self.steps))
            train = replace(train, epochs=train.epochs * left)
        self.settings, self.how = train, replace(self.how, seed=self.how.seed + 1)

    def _without_bad_rows(self) -> None:
        rows = tensors(self.model, self.data, self.how.task, self.how.teacher_logits)
        good = np.setdiff1d(np.arange(len(rows)), np.array(bad_rows(rows), dtype=np.int64))
        if len(good) < 2:
            raise BadInputError("Hardly any row holds numbers only.", "clean the data before training.")
        self.data = self.data.take(good)
        if self.how.teacher_logits is not None:
            self.how = replace(self.how, teacher_logits=self.how.teacher_logits[good])


def _explained(error: PennyweightError, finding: Finding | None) -> PennyweightError:
    if finding is None:
        return error
    return PennyweightError(f"{error.problem} Found: {finding.what.value} in {finding.where}.", f"{finding.advice}.")
