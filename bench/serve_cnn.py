"""MNIST served: our certified winner beside torch eager and five single recipes of our peers, all in one race.

    python -m bench.serve_cnn [--quick] [--data DIR]

DIR holds mnist.npz. The control is the recipe's network, trained once by the product and kept in .pennyweight/bench;
peers compress that very network, each the way its manual says. CPU seconds of the whole process per prediction, all
contenders in turn; every contender with one thread and with all cores, the cheaper of the two counts.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.peers_cnn import PEERS, Subject
from bench.report import emit, table
from pennyweight import Limits, Search, Shop, Splits, TrainSpec, levers, load_recipe, optimize, runtimes, torch_job
from pennyweight.core import ServeSpec
from pennyweight.cost.race import Timing, race, ratio
from pennyweight.runtimes.torch_graph import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from pennyweight.core import Artifact, Certificate, Job

    Call = Callable[[NDArray[Any]], NDArray[Any]]

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / ".pennyweight" / "bench"
PLACES = (ROOT.parent / "shared" / "data" / "vision", HOME / "data")
BATCHES = (1, 64)
CONTROL, OURS = "torch eager float32 (control)", "pennyweight"
LEVERS = ("distill", "prune", "quantize", "runtime")
SLOW_PEERS = frozenset({"torch.compile bf16", "PT2E int8 (torchao)"})  # minutes of compiling


@dataclass(frozen=True)
class Won:
    """What the product hands over: the control's and the winner's artifacts, and the certificate."""

    control: Artifact
    winner: Artifact
    certificate: Certificate
    levers: str


def main() -> None:
    args = _arguments()
    job = quick_job(_data(args.data)) if args.quick else full_job(_data(args.data))
    won = search(job, Shop.at(HOME / job.name))
    splits = job.material.splits
    subject = Subject(decode(won.control), splits.train.x)
    contenders, absent = _contenders(won, subject, quick=args.quick)
    x, y = splits.certify.x, splits.certify.y
    accuracy = {name: _accuracy(calls[BATCHES[-1]], x, y) for name, calls in contenders.items()}
    timings = {batch: _race(contenders, x, batch, quick=args.quick) for batch in BATCHES}
    _print(timings, accuracy, absent, won)
    emit(
        "serve_cnn", figures(timings, accuracy, won), min(t.rounds for each in timings.values() for t in each.values())
    )


def search(job: Job, shop: Shop) -> Won:
    """Let the product find its winner; what is on the ledger of an earlier run is not done again."""
    front = optimize(job, Search(levers=[name for name in LEVERS if name in levers.find()]), shop=shop)
    if front.certificate is None:
        raise SystemExit("The search was interrupted: no certificate, no benchmark.")
    control, winner = (shop.artifacts.get(run.artifact) for run in (front.control, front.winner))
    return Won(control, winner, front.certificate, str(front.winner.plan))


def figures(timings: Mapping[int, Mapping[str, Timing]], accuracy: Mapping[str, float], won: Won) -> dict[str, float]:
    """The numbers of the JSON line: ratios of medians, microseconds of CPU per prediction, accuracies."""
    found: dict[str, float] = {}
    for batch, times in timings.items():
        cheapest = cheapest_of(times)
        peer = best_peer(cheapest)
        ours, control = cheapest[OURS].cpu_s, cheapest[CONTROL].cpu_s
        found[f"cpu_ratio_vs_control_b{batch}"] = control / ours
        found[f"cpu_ratio_vs_best_peer_b{batch}"] = cheapest[peer].cpu_s / ours
        found[f"ours_cpu_us_b{batch}"] = 1e6 * ours / batch
        found[f"control_cpu_us_b{batch}"] = 1e6 * control / batch
    found["accuracy_control"] = accuracy[_key(CONTROL, 1)]
    found["accuracy_ours"] = accuracy[_key(OURS, 1)]
    found["p_value"] = won.certificate.p_value
    found["certified"] = float(won.certificate.held)
    return found


def cheapest_of(times: Mapping[str, Timing]) -> dict[str, Timing]:
    """For each contender, its cheaper number of threads."""
    best: dict[str, Timing] = {}
    for key, timing in times.items():
        name = key.rpartition(" ×")[0]
        if name not in best or timing.cpu_s < best[name].cpu_s:
            best[name] = timing
    return best


def best_peer(cheapest: Mapping[str, Timing]) -> str:
    """The peer that takes the fewest CPU seconds."""
    return min((name for name in cheapest if name not in {OURS, CONTROL}), key=lambda name: cheapest[name].cpu_s)


def _contenders(won: Won, subject: Subject, *, quick: bool) -> tuple[dict[str, dict[int, Call]], dict[str, str]]:
    """Calls by contender and batch, and the peers that cannot run here with the reason."""
    cores = os.cpu_count() or 1
    threads = (1,) if quick or cores == 1 else (1, cores)
    made: dict[str, dict[int, Call]] = {}
    absent: dict[str, str] = {}
    for count in threads:
        made[_key(OURS, count)] = {batch: _ours(won.winner, batch, count) for batch in BATCHES}
        made[_key(CONTROL, count)] = dict.fromkeys(BATCHES, subject.eager(count))
        for name, make in PEERS.items():
            if quick and name in SLOW_PEERS:
                absent[name] = "left out by --quick, which has no time to compile it"
            if name in absent:
                continue
            try:
                made[_key(name, count)] = make(subject, BATCHES, count)
            except Exception as error:  # ruff: ignore[blind-except] - a peer that does not run is a finding, not a failure
                absent[name] = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:160]}"
    return made, absent


def _key(name: str, threads: int) -> str:
    return f"{name} ×{threads}"


def _ours(artifact: Artifact, batch: int, threads: int) -> Call:
    serve = replace(ServeSpec(**artifact.facts["serve"]), batch=batch, threads=threads)
    return runtimes.load(serve.runtime).load(artifact, serve).predict


def _race(
    contenders: Mapping[str, Mapping[int, Call]], x: NDArray[Any], batch: int, *, quick: bool
) -> dict[str, Timing]:
    """Time one call of every contender in turn, on a batch that is in memory already."""
    body = np.ascontiguousarray(x[:batch])
    calls = {name: _bound(each[batch], body) for name, each in contenders.items()}
    return race(calls, rounds=15 if quick else 61, budget_s=20 if quick else 180, width=0.005)


def _bound(call: Call, body: NDArray[Any]) -> Callable[[], object]:
    return lambda: call(body)


def _accuracy(call: Call, x: NDArray[Any], y: NDArray[Any]) -> float:
    """The share of right answers over all rows, asked in full batches (the last one filled up)."""
    size = BATCHES[-1]
    rows = np.resize(np.arange(len(x)), -(-len(x) // size) * size)
    parts = [call(np.ascontiguousarray(x[rows[at : at + size]])).argmax(axis=1) for at in range(0, len(rows), size)]
    return float((np.concatenate(parts)[: len(x)] == y).mean())


def _print(
    timings: Mapping[int, Mapping[str, Timing]], accuracy: Mapping[str, float], absent: Mapping[str, str], won: Won
) -> None:
    print(f"winner: {won.levers}\n{won.certificate.test}: p = {won.certificate.p_value:.3g}, n = {won.certificate.n}\n")
    for batch, times in timings.items():
        print(f"batch {batch}: CPU microseconds per prediction, median of all rounds with 95% interval")
        ours = min((times[key] for key in times if key.startswith(OURS)), key=lambda timing: timing.cpu_s)
        rows = [
            (
                name,
                f"{1e6 * t.cpu_s / batch:.2f}",
                f"{1e6 * t.low_s / batch:.2f}–{1e6 * t.high_s / batch:.2f}",
                f"{1e6 * t.wall_s / batch:.2f}",
                f"{ratio(t, ours).value:.2f}x",
                f"{100 * accuracy[name]:.2f}%",
            )
            for name, t in sorted(times.items(), key=lambda pair: pair[1].cpu_s)
        ]
        table(("contender × threads", "CPU µs", "95%", "wall µs", "of ours", "accuracy"), rows)
        print()
    for name, reason in absent.items():
        print(f"not raced: {name}: {reason}")


def full_job(data: Path) -> Job:
    """The recipe as it is, 64 images at a time, with half an hour for the search."""
    job = load_recipe(ROOT / "recipes" / "mnist_cnn.py", data)
    demand = replace(job.demand, batch=BATCHES[-1])
    return replace(job, name="serve_cnn", demand=demand, limits=Limits(wall_s=900, trials=32))


def quick_job(data: Path) -> Job:
    """The same network after a short training on a fifth of the images, and a handful of trials."""
    full = full_job(data)
    splits = full.material.splits
    few = Splits(splits.train.take(slice(0, 10_000)), splits.select.take(slice(0, 4_000)), splits.certify)
    return torch_job(
        "serve_cnn_quick",
        full.material.make_model,
        few,
        full.floor,
        train=TrainSpec(epochs=3, batch=128, lr=1e-3),
        demand=full.demand,
        limits=Limits(trials=6),
    )


def _data(given: Path | None) -> Path:
    for place in (given,) if given else PLACES:
        if (place / "mnist.npz").is_file():
            return place
    raise SystemExit(f"There is no mnist.npz in {given or ' or '.join(map(str, PLACES))}. To fix: --data DIR.")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.serve_cnn", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a rough answer in about two minutes")
    parser.add_argument("--data", type=Path, help="the folder that holds mnist.npz")
    return parser.parse_args()


if __name__ == "__main__":
    main()
