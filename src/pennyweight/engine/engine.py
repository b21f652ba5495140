"""One plan at a time: make the model, load it where it will serve, weigh it against the control, keep the receipt."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, final

from pennyweight import backends, evals, runtimes
from pennyweight.core import Basis, Bill, Cost, Phase, Plan, Run, Task
from pennyweight.cost.count import data_byte, disk_byte
from pennyweight.cost.meter import meter
from pennyweight.cost.price import price
from pennyweight.engine.answers import judged, open_session, with_probes
from pennyweight.engine.making import Maker
from pennyweight.engine.shop import observed
from pennyweight.engine.together import with_memory
from pennyweight.engine.weighing import Scale, Weight, kept_calls, one_call, weigh_control
from pennyweight.runtimes.kept import served
from pennyweight.store.codec import plain
from pennyweight.store.records import Entry, RunRecord, parts_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pennyweight.core import Artifact, Job, Score, ServeSpec, Session, Work
    from pennyweight.cost.meter import Measurement
    from pennyweight.data.splits import Arrays
    from pennyweight.engine.shop import Shop

_WEIGH_S = 5.0  # exporting, a race of some rounds, and answering the select split
_OTHERS = {
    Task.CLASSIFY: ("accuracy", "balanced_accuracy", "f1", "log_loss"),
    Task.REGRESS: ("rmse", "mae", "r2"),
    Task.LANGUAGE: ("perplexity", "log_loss"),
}


@final
class Engine:
    """Carries out plans of one job in a shop; every second spent is an entry on the ledger."""

    def __init__(self, job: Job, shop: Shop) -> None:
        self.job = job
        self.shop = shop
        self.predictor = shop.predictor(job)
        self.spent = Cost()
        self._maker = Maker(self._note)
        self._scale: Scale | None = None
        self._plan = Plan(job)

    def foresee(self, plan: Plan) -> Bill:
        """The bill of a plan on paper."""
        return self.predictor.predict(plan.spec, self.job.demand, plan.trained)

    def execute(self, plan: Plan) -> Run:
        """Carry out `plan`, or recall it from the ledger; its predicted bill is the one foreseen before it ran."""
        self._plan = plan
        record = known = self._recall(plan)
        if record is None:
            self.shop.watch("carrying out", text=str(plan))
            record = self._carry_out(plan, self.foresee(plan))
            self.shop.ledger.record(record)
        self.predictor = self.predictor.learn([observed(record)])
        run = self._run(plan, record)
        self.shop.watch("run", run=run, recalled=known is not None)
        return run

    def effort(self, plan: Plan) -> Cost:
        """What carrying out a plan is expected to cost: what is not made yet, and the weighing; nothing if recalled."""
        if self._recall(plan) is not None:
            return Cost()
        bill = self.foresee(plan)
        missing = self._maker.missing(plan)
        weigh_s = _WEIGH_S + runtimes.load(plan.spec.serve.runtime).load_s
        weigh = price(Cost(weigh_s, weigh_s), 0.0, self.shop.sheet)
        return sum((bill.line(phase) for phase in missing), weigh)

    def bill(self) -> Bill:
        """The bill of the search so far: every measured entry of this job on the ledger, earlier sessions included."""
        entries = self.shop.ledger.entries(self.job.name, basis=Basis.MEASURED)
        mine = [entry for entry in entries if entry.fingerprint == self.job.fingerprint]
        found = sum((price(entry.cost, entry.peak_byte, self.shop.sheet) for entry in mine), Cost())
        return Bill.of(Basis.MEASURED, find=found)

    def artifact(self, run: Run) -> Artifact:
        """The finished model of a run."""
        return self.shop.artifacts.get(run.artifact)

    def answers(self, run: Run, rows: Arrays) -> NDArray[Any]:
        """What a run's model answers to `rows` as the floor's metric takes it, in the runtime it was weighed in.

        The time goes on the ledger.
        """
        artifact = self.artifact(run)
        with meter() as window:
            told = judged(open_session(artifact), artifact, rows.x, rows.y, self.job.floor.metric)
        self._note(Phase.FIND, "answer", window.measured)
        return told

    def _recall(self, plan: Plan) -> RunRecord | None:
        record = self.shop.ledger.find(self.job.fingerprint, plan.key) if self.shop.recall else None
        if record is None or record.score.metric != self.job.floor.metric:
            return None
        return record if record.artifact in self.shop.artifacts else None

    def _carry_out(self, plan: Plan, predicted: Bill) -> RunRecord:
        made = self._maker.make(plan)
        spec = made.work.spec
        gathered = spec.serve.wait_s > 0  # then calls have more examples than requests
        batch = spec.serve.batch if gathered else self.job.demand.batch
        work = made.work.having(spec=replace(spec, serve=replace(spec.serve, batch=batch)))
        with meter() as window:
            session, artifact = self._load(work)
            weight = self._weigh(plan, session, artifact, work.spec.serve)
            rows = self.job.material.splits.select
            y = judged(session, artifact, rows.x, rows.y, self.job.floor.metric)
            artifact = with_probes(artifact, session, self._rows(), job=self.job.name, plan=str(plan))
            artifact = with_memory(artifact, work, session) if plan.fidelity >= 1 else artifact
            digest = self.shop.artifacts.put(artifact)
        self._note(Phase.FIND, "weigh", window.measured)
        return RunRecord(
            plan.key,
            self.job.fingerprint,
            self.job.name,
            work.spec,
            self._score(self.job.floor.metric, y),
            weight.unit,
            made.train,
            made.tune,
            memory_byte=self.predictor.memory(work.spec).value,
            disk_byte=artifact.disk_byte,
            plan_text=str(plan),
            fidelity=plan.fidelity,
            seed=plan.seed,
            others=tuple(self._score(name, y) for name in _OTHERS[work.spec.data.task]),
            artifact=digest,
            error=weight.error,
            predicted=parts_of(
                predicted, self.predictor.memory(plan.spec).value, disk_byte(plan.spec), data_byte(plan.spec)
            ),
            sheet=self.shop.sheet.id,
            session=self.shop.session,
            note={"trained": plain(plan.trained)},
        )

    def _load(self, work: Work) -> tuple[Session, Artifact]:
        """Export the model in the form its runtime likes best, and load it there."""
        serve = work.spec.serve
        runtime = runtimes.load(serve.runtime)
        prepared = runtime.prepare(backends.load(self.job.backend).export(work, runtime.formats[0]), serve)
        facts = {**prepared.facts, "serve": plain(serve)}
        artifact = replace(prepared, meta=tuple(sorted(facts.items())))
        return served(runtime.load(artifact, serve), serve), artifact

    def _weigh(self, plan: Plan, session: Session, artifact: Artifact, serve: ServeSpec) -> Weight:
        batch = self.job.demand.batch
        if serve.cache:
            call, count = kept_calls(session, artifact, self._rows(), serve)
            return self._the_scale().weigh(call, batch / (count * serve.batch))
        call = one_call(session, artifact, self._rows(), serve.batch, differing=plan.spec.branches)
        if plan.is_control and plan.fidelity >= 1:
            self._scale = Scale(call, weigh_control(call, batch, self.shop.device))
            return self._scale.weight
        return self._the_scale().weigh(call, batch / serve.batch)

    def _the_scale(self) -> Scale:
        """The control on the scale; recalled from its artifact if it ran in an earlier session."""
        if self._scale is None:
            control = Plan(self.job, seed=self._plan.seed)
            record = self._recall(control)
            if record is None:
                plan, self._plan = self._plan, control
                self.execute(control)
                self._plan = plan
                return self._the_scale()
            artifact = self.shop.artifacts.get(record.artifact)
            call = one_call(open_session(artifact), artifact, self._rows(), self.job.demand.batch)
            self._scale = Scale(call, Weight(record.unit, record.error))
        return self._scale

    def _rows(self) -> NDArray[Any]:
        rows: NDArray[Any] = self.job.material.splits.select.x
        return rows

    def _score(self, metric: str, y: NDArray[Any]) -> Score:
        return evals.load(metric).score(self.job.material.splits.select.y, y)

    def _run(self, plan: Plan, record: RunRecord) -> Run:
        demand, sheet = self.job.demand, self.shop.sheet
        foreseen = record.foreseen(demand, sheet)
        return Run(
            plan, record.bill(demand, sheet), record.score, foreseen, record.spec, record.artifact, record.others
        )

    def _note(self, phase: Phase, what: str, measured: Measurement) -> None:
        cost = measured.cost()
        self.spent += price(cost, measured.peak_byte, self.shop.sheet)
        last = self._plan.levers[-1].name if self._plan.levers else ""
        self.shop.ledger.append(
            Entry(
                self.shop.session,
                self.job.name,
                phase,
                cost,
                fingerprint=self.job.fingerprint,
                plan_key=self._plan.key,
                plan_text=str(self._plan),
                lever=last,
                joule_basis=measured.joule_basis,
                peak_byte=measured.peak_byte,
                sheet=self.shop.sheet.id,
                note={"what": what},
            )
        )
