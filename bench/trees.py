"""Trees served: our certified winners beside scikit-learn's own predict and a plain ONNX export, all in one race.

    python -m bench.trees [--quick]

Four jobs: breast cancer and digits (both come with scikit-learn), each with a random forest and with gradient boosting
at their defaults of 100 trees or stages. The control is scikit-learn's `predict_proba`, one thread; the peer is what
skl2onnx makes of that very model, in ONNX Runtime, one thread, asked for the probabilities only. Ours is what the
product finds by itself and certifies: at most 4 points of accuracy lost on breast cancer, 3 on digits, 95% sure. Where
nothing is certified, ours is the control. CPU seconds of the whole process per prediction, all contenders in turn.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.report import emit, table
from pennyweight.cost.race import Timing, race, ratio

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from pennyweight.core import Artifact, Certificate, Job

    Call = Callable[[NDArray[Any]], NDArray[Any]]

HOME = Path(__file__).resolve().parents[1] / ".pennyweight" / "bench"
BATCHES = (1, 64)
CONTROL, PEER, OURS = "scikit-learn (control)", "skl2onnx in ONNX Runtime", "pennyweight"
LEVERS = ("prune_trees", "runtime")
FLOORS = {"breast_cancer": 0.04, "digits": 0.03}
SHARES = (0.4, 0.2, 0.4)


@dataclass(frozen=True)
class Won:
    """What the product hands over for one job: the control's and the winner's artifacts, and the certificate."""

    job: Job
    control: Artifact
    winner: Artifact
    certificate: Certificate
    levers: str


@dataclass(frozen=True)
class Raced:
    """One job's contenders: CPU seconds by batch, and the share of right answers on the certify split."""

    won: Won
    timings: dict[int, dict[str, Timing]]
    accuracy: dict[str, float]

    def times(self, name: str, batch: int) -> float:
        """How many times our CPU seconds another contender takes, with both paired round by round."""
        return ratio(self.timings[batch][name], self.timings[batch][OURS]).value


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.trees", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a rough answer in about two minutes")
    quick = parser.parse_args().quick
    raced = [_raced(search(job, quick=quick), quick=quick) for job in jobs(quick=quick)]
    for each in raced:
        _print(each)
    rounds = min(timing.rounds for each in raced for times in each.timings.values() for timing in times.values())
    emit("trees", figures(raced), rounds)


def jobs(*, quick: bool) -> list[Job]:
    """The four jobs; their models are as scikit-learn makes them by default."""
    from sklearn.datasets import load_breast_cancer, load_digits
    from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier

    from pennyweight.core import Demand, Floor, Limits
    from pennyweight.jobs import sklearn_job

    data = {"breast_cancer": load_breast_cancer, "digits": load_digits}
    models = {"forest": RandomForestClassifier, "boosting": GradientBoostingClassifier}
    found = []
    for name, load in data.items():
        x, y = load(return_X_y=True)
        for kind, make in models.items():
            found.append(
                sklearn_job(
                    f"trees_{name}_{kind}{'_quick' if quick else ''}",
                    make(random_state=0),
                    (x.astype(np.float32), y),
                    Floor("accuracy", FLOORS[name]),
                    demand=Demand(predictions=1e9, batch=BATCHES[-1]),
                    limits=Limits(trials=8 if quick else None),
                    shares=SHARES,
                )
            )
    return found


def search(job: Job, *, quick: bool) -> Won:
    """Let the product find its winner; what is on the ledger of an earlier run is not done again."""
    from pennyweight.engine import Shop
    from pennyweight.optimizing import Search, optimize

    shop = Shop.at(HOME / ("trees_quick" if quick else "trees"))
    front = optimize(job, Search(levers=LEVERS), shop=shop)
    if front.certificate is None:
        raise SystemExit("The search was interrupted: no certificate, no benchmark.")
    artifacts = (shop.artifacts.get(run.artifact) for run in (front.control, front.winner))
    return Won(job, *artifacts, front.certificate, str(front.winner.plan))


def figures(raced: list[Raced]) -> dict[str, float]:
    """The numbers of the JSON line: the worst ratio over all jobs, by batch and in all, then job by job."""
    found: dict[str, float] = {}
    for key, name in (("cpu_ratio_vs_control", CONTROL), ("cpu_ratio_vs_onnx", PEER)):
        by_batch = {batch: min(each.times(name, batch) for each in raced) for batch in BATCHES}
        found[key] = min(by_batch.values())
        found.update({f"{key}_b{batch}": value for batch, value in by_batch.items()})
    found["certified"] = float(sum(each.won.certificate.held for each in raced))
    for each in raced:
        job = each.won.job.name.removeprefix("trees_").removesuffix("_quick")
        for batch in BATCHES:
            found[f"{job}_vs_control_b{batch}"] = each.times(CONTROL, batch)
            found[f"{job}_vs_onnx_b{batch}"] = each.times(PEER, batch)
            found[f"{job}_ours_cpu_us_b{batch}"] = 1e6 * each.timings[batch][OURS].cpu_s / batch
        found[f"{job}_accuracy_control"] = each.accuracy[CONTROL]
        found[f"{job}_accuracy_ours"] = each.accuracy[OURS]
        found[f"{job}_p_value"] = each.won.certificate.p_value
    return found


def _raced(won: Won, *, quick: bool) -> Raced:
    splits = won.job.material.splits
    x, y = np.ascontiguousarray(splits.certify.x, dtype=np.float32), splits.certify.y
    calls = {CONTROL: _session(won.control), PEER: _peer(won.control), OURS: _session(won.winner)}
    timings = {batch: _race(calls, x[:batch], quick=quick) for batch in BATCHES}
    accuracy = {name: float((call(x).argmax(axis=1) == y).mean()) for name, call in calls.items()}
    return Raced(won, timings, accuracy)


def _session(artifact: Artifact) -> Call:
    from pennyweight.engine.answers import open_session

    return open_session(artifact).predict


def _peer(control: Artifact) -> Call:
    """The control's model as its users export it, with the least overhead that ONNX Runtime's own Python has."""
    import onnxruntime
    from skl2onnx import to_onnx

    from pennyweight.runtimes.sklearn_arrays import decode

    model = decode(control)
    example = np.zeros((1, model.n_features_in_), dtype=np.float32)
    graph = to_onnx(model, example, options={id(model): {"zipmap": False}})
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    name, wanted = session.get_inputs()[0].name, [session.get_outputs()[1].name]
    return lambda x: session.run(wanted, {name: x})[0]


def _race(calls: Mapping[str, Call], body: NDArray[Any], *, quick: bool) -> dict[str, Timing]:
    """Time one call of every contender in turn, on a batch that is in memory already."""
    bound = {name: _bound(call, body) for name, call in calls.items()}
    return race(bound, rounds=15 if quick else 61, budget_s=8 if quick else 60, width=0.005)


def _bound(call: Call, body: NDArray[Any]) -> Callable[[], object]:
    return lambda: call(body)


def _print(raced: Raced) -> None:
    won = raced.won
    print(f"\n{won.job.name}: {won.job.floor}\nwinner: {won.levers}\n{won.certificate.explain()}")
    rows = []
    for batch, times in raced.timings.items():
        for name, timing in sorted(times.items(), key=lambda pair: -pair[1].cpu_s):
            low, high = (1e6 * each / batch for each in (timing.low_s, timing.high_s))
            accuracy = f"{100 * raced.accuracy[name]:.2f}%"
            mine = f"{raced.times(name, batch):.2f}x"
            rows.append((batch, name, f"{1e6 * timing.cpu_s / batch:.2f}", f"{low:.2f}–{high:.2f}", mine, accuracy))
    table(("batch", "contender", "CPU µs per prediction", "95%", "of ours", "accuracy"), rows)


if __name__ == "__main__":
    main()
