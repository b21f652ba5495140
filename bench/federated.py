"""Federated rules on scikit-learn's digits: accuracy against rounds and bytes, beside Flower's own on the same cut.

    python -m bench.federated [--quick] [--seeds N] [--flower FOLDER]
    python -m bench.federated --search          # rates and numbers of rules, on other splits

A softmax regression (650 weights), 20 clients, even and label-skewed cuts (Dirichlet 0.3). Every round is one pass of
every client over its rows by plain SGD at 1 in batches of 16, for both; the servers differ. Both begin with the same
weights and train on the same rows; accuracy is that on a quarter of the rows, held back. The rate, and for each side
the numbers of rules, were chosen by simulated rounds on other splits, cuts and weights (seeds from 100 on) than those
reported; `--search` tries them there with the real parts.

Ours: real processes that talk through sockets; bytes are those of the sockets, set-up included. Flower: its strategies
and its messages, serialised as its transport would, clients one after another in one process; it lives in an
environment of its own in FOLDER, made on the first run. It has no compressor of its own; ours with one is a row of its
own, and so are secure aggregation and differential privacy.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import sysconfig
import tempfile
import venv
from dataclasses import replace
from pathlib import Path
from statistics import mean, median
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bench.report import emit, table
from pennyweight.core import TrainSpec
from pennyweight.train.federated import Aside, FederatedSpec, Privacy, run
from pennyweight.train.federated.cutting import cut

if TYPE_CHECKING:
    from collections.abc import Sequence

CLIENTS, ROUNDS, TARGET = 20, 15, 0.9
SECRET = 4  # rounds with secure sums, whose keys cost more than all else
LOCAL = TrainSpec(epochs=1, batch=16, optimizer="sgd", lr=1.0, momentum=0.0)
RULES = {  # the rule, and its number for ours and for Flower
    "fedavg": ("", ""),
    "fedprox": (":0.1", ":0.1"),
    "fedavgm": (":0.9", ":0.7"),
    "fedadam": (":0.3", ":0.3"),
}
SHORT = ("int8", "int4")
RATES = (0.5, 1.0, 2.0)
TRIED = ("fedavgm:0.5", "fedavgm:0.7", "fedavgm:0.9", "fedadam:0.1", "fedadam:0.2", "fedadam:0.3")
CUTS: dict[str, float | None] = {"even": None, "uneven": 0.3}
SEARCHED = 100  # the first seed of the search
PEER = "flwr>=1.20"

Course = list[tuple[float, float]]  # the accuracy after each round, and all bytes up to there
Key = tuple[str, str, str]  # cut, rule, by whom
Courses = dict[Key, list[Course]]


def main() -> None:
    args = _arguments()
    torch.set_num_threads(1)
    python = flower(args.flower)
    if args.search:
        search(args.seeds, python)
        return
    seeds = 1 if args.quick else args.seeds
    courses: Courses = {}
    for seed in range(seeds):
        for key, course in both(specs(), seed, python).items():
            courses.setdefault(key, []).append(course)
        print(f"seed {seed} is done", flush=True)
    show(courses)
    emit("federated", figures(courses), seeds)


def both(wanted: dict[Key, FederatedSpec], seed: int, python: Path) -> dict[Key, Course]:
    """What became of each."""
    flowers = [key for key in wanted if key[2] == "flower"]
    found = dict(zip(flowers, theirs([wanted[key] for key in flowers], seed, python), strict=True))
    return {key: found[key] if key in found else ours(spec, seed) for key, spec in wanted.items()}


def specs() -> dict[Key, FederatedSpec]:
    """All that is run for a seed: every rule by both, then what Flower is not asked for."""
    found: dict[Key, FederatedSpec] = {}
    for cut_, alpha in CUTS.items():
        for rule, numbers in RULES.items():
            for who, number in zip(("ours", "flower"), numbers, strict=True):
                found[cut_, rule, who] = FederatedSpec(CLIENTS, ROUNDS, rule + number, alpha, local=LOCAL)
        quick = found[cut_, "fedavgm", "ours"]
        found |= {(cut_, f"fedavgm {each}", "ours"): replace(quick, compress=each) for each in SHORT}
    even = found["even", "fedavgm", "ours"]
    found["even", "fedavgm secure", "ours"] = replace(even, rounds=SECRET, secure=True)
    longer = replace(LOCAL, epochs=3, lr=0.5)
    found["even", "epsilon 8", "ours"] = replace(even, rule="fedavg", local=longer, privacy=Privacy(8.0))
    found["even", "epsilon 8 int8", "ours"] = replace(found["even", "epsilon 8", "ours"], compress="int8")
    return found


def search(seeds: int, python: Path) -> None:
    """Rates of clients, and numbers of rules at the rate chosen, by rounds to the target and accuracy in the end."""
    tried = [("fedavg", lr) for lr in RATES] + [(rule, LOCAL.lr) for rule in TRIED]
    wanted: dict[Key, FederatedSpec] = {}
    for rule, lr in tried:
        for cut_, alpha in CUTS.items():
            spec = FederatedSpec(CLIENTS, ROUNDS, rule, alpha, local=replace(LOCAL, lr=lr))
            wanted |= {(cut_, f"{rule} at {lr:g}", who): spec for who in ("ours", "flower")}
    courses: Courses = {}
    for seed in range(SEARCHED, SEARCHED + seeds):
        for key, course in both(wanted, seed, python).items():
            courses.setdefault(key, []).append(course)
    show(courses)


def ours(spec: FederatedSpec, seed: int) -> Course:
    data, held = digits(seed)
    x, y = torch.from_numpy(held.x), torch.from_numpy(held.y)

    def right(model: Any) -> float:
        with torch.no_grad():
            return float((model(x).argmax(1) == y).double().mean())

    done = run(network(seed), data, spec, Aside(seed=seed, judge=right))
    byte = np.cumsum([each.down_byte + each.up_byte for each in done.rounds])
    return [(float(each.quality or 0), float(total)) for each, total in zip(done.rounds, byte, strict=True)]


def theirs(specs: Sequence[FederatedSpec], seed: int, python: Path) -> list[Course]:
    """Flower's courses, one after another in one process of its own."""
    data, held = digits(seed)
    model = network(seed)
    start = {"weight": model.weight.detach().numpy(), "bias": model.bias.detach().numpy()}
    with tempfile.TemporaryDirectory() as folder:
        for alpha in {spec.alpha for spec in specs}:
            arrays = {"held_x": held.x, "held_y": held.y, **start}
            for i, rows in enumerate(cut(data.y, CLIENTS, alpha, seed)):
                arrays |= {f"x_{i}": data.x[rows], f"y_{i}": data.y[rows]}
            np.savez(Path(folder) / f"{alpha}.npz", **arrays)
        orders = [{**order(spec), "data": str(Path(folder) / f"{spec.alpha}.npz"), "seed": seed} for spec in specs]
        told, list_ = Path(folder) / "told.json", Path(folder) / "orders.json"
        list_.write_text(json.dumps(orders), encoding="utf-8")
        peer = str(Path(__file__).with_name("peers_flower.py"))
        call = [str(python), "-W", "ignore", peer, str(list_), str(told)]
        done = subprocess.run(call, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"Flower failed:\n{done.stderr[-2000:]}")
        courses = json.loads(told.read_text(encoding="utf-8"))
    return [[(each["quality"], each["byte"]) for each in course] for course in courses]


def order(spec: FederatedSpec) -> dict[str, Any]:
    """What Flower is told of a training."""
    name, number = spec.method
    local = {"epochs": round(spec.local.epochs), "batch": spec.local.batch, "lr": spec.local.lr}
    return {**local, "rule": name, "mu": number, "rounds": spec.rounds, "clients": CLIENTS}


def flower(folder: Path) -> Path:
    """The interpreter of an environment with Flower, which also sees, after its own, what is installed here."""
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", PEER], check=True)
        theirs_ = next((folder / "lib").glob("python*/site-packages"))
        (theirs_ / "here.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
        (folder / "ready").touch()
    return python


def show(courses: Courses) -> None:
    rows = []
    for (name, rule, who), runs in sorted(courses.items(), key=lambda each: each[0][0]):
        ends = [course[-1] for course in runs]
        counts = [reached(course) for course in runs]
        to = [median(each[i] for each in counts) for i in range(2)]
        size = median(each[1] for each in ends) / len(runs[0])
        accuracy = f"{100 * median(each[0] for each in ends):.1f}%"
        rows.append((name, rule, who, len(runs[0]), accuracy, round(size), *to))
    table(("cut", "rule", "by", "rounds", "accuracy", "B a round", "rounds to 90%", "B to 90%"), rows)


def figures(courses: Courses) -> dict[str, float]:
    """Accuracy, rounds and bytes of all; beside Flower, the medians over seeds of ratios within a seed."""
    found: dict[str, float] = {}
    for (name, rule, who), runs in courses.items():
        key = f"{name}_{rule}_{who}".replace(" ", "_")
        found[f"accuracy_{key}"] = median(course[-1][0] for course in runs)
        found[f"rounds_to_90_{key}"] = median(reached(course)[0] for course in runs)
        if who == "flower":
            found |= beside(f"{name}_{rule}", courses[name, rule, "ours"], runs)
    for name in CUTS:
        best = min((runs for key, runs in courses.items() if key[::2] == (name, "flower")), key=_speed)
        found |= beside(f"{name}_best", courses[name, "fedavgm", "ours"], best)
        found |= beside(f"{name}_best_int8", courses[name, "fedavgm int8", "ours"], best)
    return found


def beside(key: str, mine: list[Course], flowers: list[Course]) -> dict[str, float]:
    """How much more rounds and bytes Flower takes to the target, and how much less it reaches in the end."""
    pairs = [(reached(a), reached(b)) for a, b in zip(mine, flowers, strict=True)]
    ends = [a[-1][0] - b[-1][0] for a, b in zip(mine, flowers, strict=True)]
    return {
        f"accuracy_minus_flower_{key}": median(ends),
        f"rounds_ratio_flower_{key}": median(b[0] / a[0] for a, b in pairs),
        f"bytes_ratio_flower_{key}": median(b[1] / a[1] for a, b in pairs),
    }


def _speed(runs: list[Course]) -> float:
    return mean(min(reached(course)[0], len(course) + 1) for course in runs)


def reached(course: Course) -> tuple[float, float]:
    """The round and the bytes at which the target is first reached; infinite if it never is."""
    at = next((i for i, (quality, _) in enumerate(course) if quality >= TARGET), None)
    return (np.inf, np.inf) if at is None else (at + 1, course[at][1])


def digits(seed: int) -> tuple[Any, Any]:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    parts = train_test_split((x / 16).astype(np.float32), y, test_size=0.25, random_state=seed, stratify=y)
    return SimpleNamespace(x=parts[0], y=parts[2]), SimpleNamespace(x=parts[1], y=parts[3])


def network(seed: int) -> torch.nn.Linear:
    torch.manual_seed(seed)
    return torch.nn.Linear(64, 10)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed, in under two minutes")
    parser.add_argument("--search", action="store_true", help="try rates and numbers of rules on other splits")
    parser.add_argument("--seeds", type=int, default=5)
    usual = Path(tempfile.gettempdir()) / "pennyweight-bench-flower"
    parser.add_argument("--flower", type=Path, default=usual, help="where Flower's environment is, or is made")
    return parser.parse_args()


if __name__ == "__main__":
    main()
