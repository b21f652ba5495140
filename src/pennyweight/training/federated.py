"""A federated run of a job: cut, trained round by round, judged, paid for, and what it exposed, on the ledger."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, final

from pennyweight import backends, evals
from pennyweight.core import Cost, Form, Phase
from pennyweight.cost.meter import meter
from pennyweight.cost.price import price
from pennyweight.engine import Shop
from pennyweight.errors import BadInputError
from pennyweight.store.records import Entry
from pennyweight.train.federated import Aside, Round, run
from pennyweight.training.finishing import finished

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from pennyweight.core import Job, Score
    from pennyweight.cost.meter import Window
    from pennyweight.train.federated import FederatedSpec


@dataclass(frozen=True, slots=True)
class Together:
    """What came of a federated run: its name, the score on the select split, all rounds, what it cost in all.

    `artifact` is the digest of the finished model in the shop; `why` is the reason it ended.
    """

    run: str
    job: str
    score: Score
    rounds: tuple[Round, ...]
    cost: Cost
    why: str
    artifact: str

    @property
    def epsilon(self) -> float | None:
        """What was spent of the privacy budget, None without one."""
        return self.rounds[-1].epsilon if self.rounds else None

    def facts(self) -> dict[str, Any]:
        """All of it as plain values, for JSON."""
        score, cost = self.score, self.cost
        return {
            "run": self.run,
            "job": self.job,
            "score": {"metric": score.metric, "mean": score.mean, "se": score.se, "n": score.n},
            "cost": {"cpu_s": cost.device_s, "wall_s": cost.wall_s, "joule": cost.joule, "usd": cost.usd},
            "epsilon": self.epsilon,
            "rounds": [asdict(each) for each in self.rounds],
            "why": self.why,
            "artifact": self.artifact,
        }


def train_federated(
    job: Job,
    spec: FederatedSpec,
    watch: Callable[[Round], bool] | None = None,
    *,
    seed: int = 0,
    shop: Shop | None = None,
) -> Together:
    """Cut the training split of `job` among clients in processes of their own and train its model in rounds.

    After every round its cost, the bytes both ways, who failed and the epsilon spent are on the shop's ledger. The
    model is judged on the select split after each; `watch` hears of it and returns False to stop. It stops before a
    round that would break the job's limits (`usd`, `wall_s`), if it costs what the dearest before it did.
    """
    if job.spec.form is not Form.MODULE:
        raise BadInputError(f"The model of {job.name} is fitted in one go.", "federate a model of torch.")
    return _Run(job, shop or Shop.at(), seed, watch).go(spec)


@final
class _Run:
    """The changing state of one federated run."""

    def __init__(self, job: Job, shop: Shop, seed: int, watch: Callable[[Round], bool] | None) -> None:
        self.job, self.shop, self.watch, self.seed = job, shop, watch, seed
        self.backend = backends.load(job.backend)
        self.work = self.backend.open(job, seed=seed)
        self.name = f"{job.name}-{shop.session}"
        self.cost, self.dearest = Cost(), Cost()
        self.window = _opened()
        self.broke = ""

    def go(self, spec: FederatedSpec) -> Together:
        aside = Aside(self.job.spec.data.task, self.seed, lambda model: self.score(model).mean, self.after)
        done = run(self.work.model, self.work.data.train, spec, aside)
        work = self.work.having(model=done.model, trained=True)
        digest = self.shop.artifacts.put(finished(work, self.job, self.shop, self.name))
        score = self.score(done.model)
        self.pay({"what": "train", "part": "evaluation"}, 0.0)
        return Together(self.name, self.job.name, score, done.rounds, self.cost, self.broke or done.why, digest)

    def score(self, model: nn.Module) -> Score:
        """How good a model is on the select split."""
        select = self.job.material.splits.select
        answers = self.backend.predict(self.work.having(model=model), select.x)
        return evals.load(self.job.floor.metric).score(select.y, answers)

    def after(self, told: Round) -> bool:
        """Put a round on the ledger; False where another would break a limit."""
        note = {"what": "train", "part": "federated round", **asdict(told), "said": list(told.said)}
        cost = self.pay(note, told.cpu_s)
        self.dearest = max(self.dearest, cost, key=lambda each: each.wall_s)
        self.shop.watch("round", told=told, spent=self.cost)
        wanted = self.watch is None or self.watch(told)
        return self._within() and wanted

    def pay(self, note: dict[str, Any], clients_s: float) -> Cost:
        """Put what was spent since the last time on the ledger, and the CPU seconds of clients with it."""
        self.window.__exit__(None, None, None)
        measured = self.window.measured
        self.window = _opened()
        clients = Cost(clients_s, 0.0, self.shop.device.joule(clients_s, 0.0))
        cost = price(measured.cost() + clients, measured.peak_byte, self.shop.sheet)
        self.cost += cost
        self.shop.ledger.append(
            Entry(
                self.shop.session,
                self.job.name,
                Phase.TRAIN,
                cost,
                fingerprint=self.job.fingerprint,
                plan_text=f"train {self.name}",
                joule_basis=measured.joule_basis,
                peak_byte=measured.peak_byte,
                sheet=self.shop.sheet.id,
                note={**note, "run": self.name},
            )
        )
        return cost

    def _within(self) -> bool:
        limits, ahead = self.job.limits, self.cost + self.dearest
        for name, limit, value in (("dollars", limits.usd, ahead.usd), ("seconds", limits.wall_s, ahead.wall_s)):
            if limit is not None and value > limit:
                self.broke = f"One more round would take more {name} than the limit of {limit:g}."
                return False
        return True


def _opened() -> Window:
    with ExitStack() as stack:
        window = stack.enter_context(meter())
        stack.pop_all()
    return window
