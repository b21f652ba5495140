"""Gradient compression: bytes on the wire to equal validation loss, beside no compression and PyTorch's own PowerSGD.

    python -m bench.compress_gradients [--quick] [--seeds N] [--recipes NAME …] [--workers 2 4] [--only NAME …]
        [--keep FILE] [--data DIR]

DIR holds vision/mnist.npz and text/tinyshakespeare.txt. Two recipes: the network of recipes/mnist_cnn.py (Adam,
batches of 128) and a character GPT of 4 layers, width 128 and context 64 (AdamW, batches of 12), each batch shared
among the workers. The target is the validation loss of uncompressed synchronous training after a fixed number of steps,
and 1% more; the figure is the bytes that one worker has handed to collectives when a contender's loss, looked at every
16 steps, is first at the target. Every contender may take up to twice the steps; how many it took is told. The rows
that the loss is taken on are held back from training and are not the test rows.

Seconds to equal loss on slower links are simulated: measured CPU seconds of one worker, plus its bytes over the link,
plus 50 µs for each message of a collective. All contenders run in turn on the same machine with one thread a worker.
All of it takes hours; with `--keep`, what was run is kept in FILE, a line each, and a later call goes on from there.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from bench.gradient_worker import Contender, Look
from bench.report import emit, table
from pennyweight.train.distributed.launch import launch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
SLACK = 1.01
MORE = 2.0  # times the control's steps that a contender may take
LATENCY_S = 50e-6
LINKS = {"100mb": 100e6 / 8, "1gb": 1e9 / 8, "10gb": 10e9 / 8}  # bytes per second
RECIPES = ("mnist", "gpt")
STEPS = {"mnist": 320, "gpt": 320}
QUICK_STEPS = {"mnist": 128, "gpt": 96}
NONE = "none"


CONTENDERS = {
    NONE: Contender(),
    "bf16": Contender(compress="bf16"),
    "torch PowerSGD 1": Contender(torch_rank=1),
    "torch PowerSGD 2": Contender(torch_rank=2),
    "torch PowerSGD 4": Contender(torch_rank=4),
    "torch PowerSGD 1 fp16": Contender(torch_rank=1, half=True),
    "powersgd:1+int4": Contender(compress="powersgd:1+int4"),
    "topk:0.01+onebit": Contender(compress="topk:0.01+onebit"),
    "local:8 int2": Contender("local:8", "int2"),
    "diloco:16 int4": Contender("diloco:16", "int4"),
    "local:8 topk:0.1+onebit": Contender("local:8", "topk:0.1+onebit"),
    "local:16 topk:0.05+onebit": Contender("local:16", "topk:0.05+onebit"),
}
OURS = tuple(name for name, each in CONTENDERS.items() if each.compress)
PEERS = tuple(name for name, each in CONTENDERS.items() if each.torch_rank)
QUICK = (NONE, "torch PowerSGD 1", "local:8 topk:0.1+onebit")


def main() -> None:
    args = _arguments()
    seeds = 1 if args.quick else args.seeds
    steps = QUICK_STEPS if args.quick else STEPS
    workers = args.workers or ((2,) if args.quick else (2, 4))
    names = QUICK if args.quick else (NONE, *(name for name in args.only or CONTENDERS if name != NONE))
    kept = Kept(args.keep)
    figures: dict[str, float] = {}
    for recipe in args.recipes:
        for size in workers:
            trials = [Trial(recipe, size, steps[recipe], str(args.data), seed) for seed in range(seeds)]
            figures.update(judged(recipe, size, race(trials, names, kept)))
    for key in ("bytes_ratio_vs_none", "bytes_ratio_vs_powersgd"):
        figures[key] = min(value for name, value in figures.items() if name.startswith(key + "_"))
    emit("compress_gradients", figures, seeds)


@dataclass(frozen=True)
class Trial:
    """What is trained by how many, how long, with which data and seed."""

    recipe: str
    size: int
    steps: int
    data: str
    seed: int


@dataclass(frozen=True)
class Told:
    """Where a run first was at the target, or its end if it never was; `loopback_byte` is what `lo` carried in all."""

    reached: bool
    at: Look
    end: Look
    loopback_byte: float


@dataclass(frozen=True)
class Kept:
    """What was run before, in a file of lines (trial, name, what the first worker saw, bytes on the loopback)."""

    path: Path | None

    def run(self, trial: Trial, name: str, target: float = 0.0) -> tuple[list[Look], float]:
        """The kept run of a contender, or a new one, kept from now on."""
        asked = [asdict(trial) | {"data": ""}, name, target]
        for line in self.path.read_text(encoding="utf-8").splitlines() if self.path and self.path.exists() else ():
            *of, looks, byte = json.loads(line)
            if of == asked:
                return [Look(**each) for each in looks], byte
        looks, byte = run(trial, CONTENDERS[name], target)
        if self.path:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps([*asked, [asdict(each) for each in looks], byte]) + "\n")
        return looks, byte


def race(trials: Sequence[Trial], names: Sequence[str], kept: Kept) -> dict[str, list[Told]]:
    """Every contender in every trial, in turn; the last loss of the control sets the target of all, its own as well."""
    runs: dict[str, list[Told]] = {name: [] for name in names}
    for trial in trials:
        looks, byte = kept.run(trial, NONE)
        target = SLACK * looks[-1].loss
        runs[NONE].append(told(looks, target, byte))
        for name in names:
            if name != NONE:
                looks, byte = kept.run(trial, name, target)
                runs[name].append(told(looks, target, byte))
            _say(trial, name, runs[name][-1], target)
    return runs


def told(looks: Sequence[Look], target: float, loopback_byte: float) -> Told:
    """The first of `looks` at the target, and the last."""
    first = next((each for each in looks if each.loss <= target), None)
    return Told(first is not None, first or looks[-1], looks[-1], loopback_byte)


def _say(trial: Trial, name: str, run: Told, target: float) -> None:
    outcome = "reached" if run.reached else "NOT reached"
    print(
        f"{trial.recipe} n={trial.size} seed {trial.seed} {name}: {outcome} {run.at.loss:.4f} (target {target:.4f}) "
        f"after {run.at.steps} steps, {run.at.byte:,.0f} B",
        flush=True,
    )


def run(trial: Trial, contender: Contender, target: float = 0.0) -> tuple[list[Look], float]:
    """One training, until the target if there is one: what the first worker saw, and the bytes on the loopback."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "told.json"
        order = {**asdict(trial), "contender": asdict(contender), "target": target, "told": str(path)}
        if target:
            order["steps"] = round(MORE * trial.steps)
        before = _loopback()
        launch([sys.executable, "-m", "bench.gradient_worker", json.dumps(order)], trial.size, Path(folder))
        looks = [Look(**each) for each in json.loads(path.read_text(encoding="utf-8"))]
        return looks, _loopback() - before


def judged(recipe: str, size: int, runs: Mapping[str, list[Told]]) -> dict[str, float]:
    """The figures of one recipe and number of workers, and their table."""
    control = runs[NONE]
    ratios = {name: _ratios(control, each) for name, each in runs.items()}
    _print(recipe, size, runs, ratios)
    ours = max((name for name in runs if name in OURS), key=lambda name: median(ratios[name]))
    # A peer that never is at the target in twice the steps needs more than the bytes it has spent by then.
    peer = min((name for name in runs if name in PEERS), key=lambda name: (-_hits(runs[name]), _byte(runs[name])))
    key, best = f"{recipe}_{size}", runs[ours]
    print(f"ours: {ours}; best peer: {peer}\n", flush=True)
    figures = {
        f"bytes_ratio_vs_none_{key}": median(ratios[ours]),
        f"bytes_ratio_vs_powersgd_{key}": _byte(runs[peer]) / _byte(best) if median(ratios[ours]) else 0.0,
        f"steps_ratio_{key}": median(each.at.steps for each in best) / median(each.at.steps for each in control),
        # What the interface carried for each byte that was counted: headers, acknowledgements, meeting.
        f"loopback_per_byte_none_{key}": _overhead(control, size),
        f"loopback_per_byte_ours_{key}": _overhead(best, size),
    }
    for link, speed in LINKS.items():
        figures[f"simulated_wall_ratio_{link}_{key}"] = _seconds(control, speed) / _seconds(best, speed)
    return figures


def _print(recipe: str, size: int, runs: Mapping[str, Sequence[Told]], ratios: Mapping[str, Sequence[float]]) -> None:
    rows = []
    for name, each in runs.items():
        waits = [f"{_seconds(each, speed):.1f}" for speed in LINKS.values()]
        spread = f"{min(ratios[name]):.3g} to {max(ratios[name]):.3g}"
        steps = median(one.at.steps for one in each)
        rows.append(
            (name, f"{_hits(each)}/{len(each)}", steps, _byte(each), f"{median(ratios[name]):.1f}x", spread, *waits)
        )
    print(f"\n{recipe}, {size} workers: bytes that one worker sends to equal loss; simulated seconds by link")
    table(("contender", "reached", "steps", "bytes", "vs none", "spread", *LINKS), rows)
    print()


def _hits(runs: Sequence[Told]) -> int:
    return sum(each.reached for each in runs)


def _byte(runs: Sequence[Told]) -> float:
    return median(each.at.byte for each in runs)


def _overhead(runs: Sequence[Told], size: int) -> float:
    return median(each.loopback_byte / (size * each.end.byte) for each in runs)


def _ratios(control: Sequence[Told], runs: Sequence[Told]) -> list[float]:
    """Bytes of the control for each of a contender's, seed by seed; 0 where the target was not reached."""
    return [a.at.byte / b.at.byte if b.reached else 0.0 for a, b in zip(control, runs, strict=True)]


def _seconds(runs: Sequence[Told], speed: float) -> float:
    """Simulated seconds on a link of `speed` bytes per second: compute, then bytes, then latency, nothing at once."""
    return median(each.at.cpu_s + each.at.byte / speed + LATENCY_S * each.at.messages for each in runs)


def _loopback() -> float:
    """Bytes that the loopback interface has carried, headers and all, for whoever."""
    for line in Path("/proc/net/dev").read_text(encoding="ascii").splitlines():
        name, _, numbers = line.partition(":")
        if name.strip() == "lo":
            return float(numbers.split()[8])
    return 0.0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.compress_gradients", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed, two workers, fewer steps and contenders")
    parser.add_argument("--seeds", type=int, default=5, help="how often everything is run")
    parser.add_argument("--workers", type=int, nargs="+", help="how many processes (default: 2 and 4)")
    parser.add_argument("--only", nargs="+", choices=tuple(CONTENDERS), help="these contenders (default: all)")
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=RECIPES, help="these recipes (default: both)")
    parser.add_argument("--keep", type=Path, help="a file of what was run before, added to and gone on from")
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of vision/ and text/")
    return parser.parse_args()


if __name__ == "__main__":
    main()
