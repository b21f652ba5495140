"""One run from what was asked to the artifact: train, judge, keep, pay, stop in time, finish."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pennyweight import backends, evals
from pennyweight.control.earlier import note_of
from pennyweight.core import Cost, Form, Slack
from pennyweight.cost.activations import training_byte
from pennyweight.cost.meter import meter
from pennyweight.cost.price import price
from pennyweight.engine import Shop
from pennyweight.engine.making import threads_for
from pennyweight.engine.validating import metric_answers
from pennyweight.errors import BadInputError, StorageError
from pennyweight.train.checkpoint import Checkpoints
from pennyweight.train.how import How, Judge
from pennyweight.train.refusing import check_parts, is_sharded
from pennyweight.train.server.order import check as check_served
from pennyweight.train.server.order import is_asynchronous
from pennyweight.train.team import Alone
from pennyweight.training.finishing import finished
from pennyweight.training.folder import Asked, Folder, step_of
from pennyweight.training.outcome import Outcome
from pennyweight.training.receipts import Receipts
from pennyweight.training.watching import Watching
from pennyweight.units import si

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from torch import nn

    from pennyweight.core import Job, Score, TrainSpec, Work
    from pennyweight.train.how import Trained
    from pennyweight.train.team import Team

_JUDGE_S = 5.0
_KEEP_S = 15.0


@dataclass(frozen=True, slots=True)
class Training:
    """How to carry out one run: its seed, and how often the model is judged and its state kept.

    `resume` names a run to go on with, as it was asked for then. Judging happens after every pass over the data, and
    within one every `judge_s` seconds at most; the state is kept every `keep_s` seconds and at the end. With `cure`,
    what ails the training is cured (see `train.nursing`), up to four times; such a run keeps no states to go on from.
    """

    seed: int = 0
    resume: str = ""
    cure: bool = False
    judge_s: float = _JUDGE_S
    keep_s: float = _KEEP_S


def begin(job: Job, training: Training, shop: Shop) -> Folder:
    """The folder of the run: a new one with what is asked, or that of the run to go on with."""
    if training.resume:
        return Folder.find(training.resume, job, shop)
    if job.spec.form is not Form.MODULE:
        raise BadInputError(
            f"The model of {job.name} is fitted in one go.", "use pennyweight optimize, which trains it too."
        )
    (check_served if is_asynchronous(job.spec.train.team) else check_team)(job.spec.train)
    if training.cure and is_sharded(job.spec.train.team):
        raise BadInputError(
            "What ails a training is found in whole weights, and the team keeps them in shards.",
            "use --sync each, or leave out --cure.",
        )
    check_memory(job)
    settings, limits = job.spec.train, job.limits
    asked = Asked(
        job.name, job.fingerprint, settings, job.floor, training.seed, limits.usd, limits.wall_s, training.cure
    )
    return Folder.make(asked, shop)


def check_team(settings: TrainSpec) -> None:
    """Refuse a team of processes that cannot be."""
    from pennyweight.train.distributed.join import check

    check(settings.team)
    if is_sharded(settings.team):
        check_parts(settings)


def check_memory(job: Job) -> None:
    """Refuse a training that takes more memory on paper than the job's limit."""
    limit, taken = job.limits.memory_byte, training_byte(job.spec)
    if limit is not None and taken > limit:
        raise BadInputError(
            f"Training takes about {si(taken, 'B')} of memory, and the limit is {si(limit, 'B')}.",
            "use a smaller batch, or compute activations anew (--recompute), or raise the limit.",
        )


def train_job(job: Job, training: Training | None = None, *, shop: Shop | None = None) -> Outcome:
    """Train the model of `job` as its spec says, within its limits, and finish it as an artifact.

    An absolute floor ends the training as soon as it is surely reached, or surely out of reach. At a limit of the job
    (`usd`, `wall_s`) it stops in time to be judged and finished within it. Ctrl-C stops after the next step. Whatever
    ends it, the state is kept: `Training(resume=name)` goes on from there, to the bit. All costs and decisions are on
    the shop's ledger.
    """
    how, place = training or Training(), shop or Shop.at()
    folder = begin(job, how, place)
    asked = folder.asked
    job = replace(job, spec=replace(job.spec, train=asked.settings), floor=asked.floor)
    with _joined(job) as team:
        receipts = Receipts(folder, place, team.size)
        try:
            return _Run(job, how, receipts, team).go()
        finally:
            receipts.flush()


def _joined(job: Job) -> AbstractContextManager[Team]:
    from pennyweight.train.distributed.join import joined

    team = job.spec.train.team
    alone: AbstractContextManager[Team] = nullcontext(Alone())
    return joined(team) if team.workers > 1 and not is_asynchronous(team) else alone


class _Run:
    """One visit to a run."""

    def __init__(self, job: Job, training: Training, receipts: Receipts, team: Team) -> None:
        self.job, self.training, self.receipts, self.team = job, training, receipts, team
        self.folder, self.shop = receipts.folder, receipts.shop
        self.backend = backends.load(job.backend)
        self.work: Work = self.backend.open(job, seed=self.folder.asked.seed)
        self.found = self.folder.found(team.rank)
        self.watching = Watching(receipts, self.score, step_of(self.found))

    def go(self) -> Outcome:
        """Train, judge the result and finish it."""
        with threads_for(self.work.spec), self.watching.listening():
            if self.team.rank == 0 and (self.folder.asked.usd or self.folder.asked.wall_s):
                self.watching.keep_back(self._rehearsed())
            done = self._trained()
        work = self.work.having(model=done.model, trained=True)
        score = self.score(done.model)
        artifact = finished(work, self.job, self.shop, self.folder.name)
        digest = self.shop.artifacts.put(artifact) if self.team.rank == 0 else ""
        self.receipts.flush()
        return self._outcome(done, score, digest)

    def score(self, model: nn.Module) -> Score:
        """How good a model is on the select split."""
        select = self.job.material.splits.select
        answers = metric_answers(self.backend, self.work.having(model=model), select)
        return evals.load(self.job.floor.metric).score(select.y, answers)

    def _trained(self) -> Trained:
        from pennyweight.train.augmenting import augmenter
        from pennyweight.train.loop import fit

        first, asked = self.team.rank == 0, self.folder.asked
        how = How(
            seed=asked.seed,
            task=self.job.spec.data.task,
            augment=augmenter(self.work.spec),
            watch=self.watching if first else None,
            judge=Judge(self.watching.judge, self.training.judge_s) if first else None,
            team=self.team,
            clock=self.receipts.clock,
            checkpoints=Checkpoints(self._keep, self.found, self.training.keep_s, of=asked.fingerprint),
        )
        if asked.cure:
            return self._nursed(replace(how, checkpoints=None))
        return fit(self.work.model, self.work.data.train, asked.settings, how=how)

    def _nursed(self, how: How) -> Trained:
        """Train and cure; what was cured, and why, is on the ledger."""
        from pennyweight.train.nursing import nurse

        nursed = nurse(self.work.model, self.work.data.train, self.folder.asked.settings, how=how)
        for each in nursed.cured:
            self.receipts.decide("cured", str(each), found=each.facts())
        return nursed.trained

    def _rehearsed(self) -> Cost:
        """What judging and finishing take, tried on the untrained model: what cannot be finished fails at once."""
        with meter() as window:
            self.score(self.work.model)
            finished(self.work, self.job, self.shop, self.folder.name)
        self.receipts.flush()
        return price(window.measured.cost(), window.measured.peak_byte, self.shop.sheet)

    def _keep(self, files: dict[str, bytes]) -> None:
        """Keep a state; a disk that is full is said, and the state before stays."""
        try:
            self.folder.states_of(self.team.rank).put(files)
        except StorageError as error:
            self.receipts.decide("no checkpoint", f"{error.problem} The state before is still there.")
        self.receipts.flush()

    def _outcome(self, done: Trained, score: Score, digest: str) -> Outcome:
        watching = self.watching
        points = tuple((float(step), *watching.points[step]) for step in sorted(watching.points))
        why = watching.why or "All steps were taken."
        steps = step_of(self.folder.states.latest()) or watching.step
        outcome = Outcome(
            self.folder.name,
            self.job.name,
            score,
            self.job.floor,
            tuple(self.receipts.parts().items()),
            done.epochs,
            steps,
            not done.stopped,
            why,
            digest,
            points,
            _advice(self.job, score, self.folder.name, interrupted=watching.interrupted, done=not done.stopped),
        )
        curve = watching.curve
        if self.team.rank == 0 and curve is not None:
            self.receipts.decide("finished", why, artifact=digest, **note_of(curve, score.metric))
        if self.team.rank == 0:
            self.folder.end(outcome)
        return outcome


def _advice(job: Job, score: Score, name: str, *, interrupted: bool, done: bool) -> str:
    on = f"pennyweight train … --resume {name}"
    if interrupted:
        return f"Go on with: {on}."
    if job.floor.slack is Slack.ABSOLUTE and not job.floor.holds(score):
        more = "allow more epochs or another schedule" if done else "allow a larger budget"
        return f"The floor is not surely kept: {more}, or ask for less."
    return "Make it cheaper to serve, and certify it, with: pennyweight optimize."
