"""Federated rules on scikit-learn's digits: accuracy against rounds and bytes, beside Flower's own on the same cut.

    python -m bench.federated [--quick] [--seeds N] [--flower FOLDER]

A softmax regression (650 weights), 20 clients, even and label-skewed cuts (Dirichlet 0.3), SGD at 0.5 in batches of 16.
Ours: real processes that talk through sockets; bytes are those of the sockets. Flower: its strategy and its messages,
serialised as its transport would, clients one after another in one process; it lives in an environment of its own in
FOLDER, made on the first run. Both begin with the same weights and train on the same rows; accuracy is that on a
quarter of the rows, held back. Secure aggregation and differential privacy are ours alone here.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from bench.report import emit, table
from pennyweight.core import TrainSpec
from pennyweight.train.federated import Aside, FederatedSpec, Privacy, run
from pennyweight.train.federated.cutting import cut

CLIENTS, TARGET = 20, 0.9
LOCAL = TrainSpec(epochs=1, batch=16, optimizer="sgd", lr=0.5, momentum=0.0)
RULES = ("fedavg", "fedprox:0.1", "fedadam:0.1")
CUTS: dict[str, float | None] = {"even": None, "uneven": 0.3}
PEER = "flwr>=1.20"

Course = list[tuple[float, float]]  # the accuracy after each round, and all bytes up to there


def main() -> None:
    args = _arguments()
    torch.set_num_threads(1)
    seeds = 1 if args.quick else args.seeds
    rounds = 20 if args.quick else 40
    rules = RULES[:1] if args.quick else RULES
    python = flower(args.flower)
    courses: dict[tuple[str, str, str], list[Course]] = {}
    for seed in range(seeds):
        for name, alpha in CUTS.items():
            for rule in rules:
                spec = FederatedSpec(CLIENTS, rounds, rule, alpha, local=LOCAL)
                courses.setdefault((name, rule, "ours"), []).append(ours(spec, seed))
                courses.setdefault((name, rule, "flower"), []).append(theirs(spec, seed, python))
        for rule, more in special(rounds, quick=args.quick).items():
            courses.setdefault(("even", rule, "ours"), []).append(ours(more, seed))
    show(courses)
    emit("federated", figures(courses), seeds)


def special(rounds: int, *, quick: bool) -> dict[str, FederatedSpec]:
    """What Flower is not asked for: only sums, and privacy."""
    private = FederatedSpec(
        CLIENTS,
        rounds,
        local=TrainSpec(epochs=3, batch=16, optimizer="sgd", lr=0.5, momentum=0.0),
        privacy=Privacy(8.0),
    )
    secret = FederatedSpec(CLIENTS, 5 if quick else 20, local=LOCAL, secure=True)
    return {"fedavg, secure": secret, "fedavg, epsilon 8": private}


def ours(spec: FederatedSpec, seed: int) -> Course:
    data, held = digits(seed)
    x, y = torch.from_numpy(held.x), torch.from_numpy(held.y)

    def right(model: Any) -> float:
        with torch.no_grad():
            return float((model(x).argmax(1) == y).double().mean())

    done = run(network(seed), data, spec, Aside(seed=seed, judge=right))
    byte = np.cumsum([each.down_byte + each.up_byte for each in done.rounds])
    return [(float(each.quality or 0), float(total)) for each, total in zip(done.rounds, byte, strict=True)]


def theirs(spec: FederatedSpec, seed: int, python: Path) -> Course:
    data, held = digits(seed)
    model = network(seed)
    arrays = {"held_x": held.x, "held_y": held.y, "weight": model.weight.detach().numpy()}
    arrays["bias"] = model.bias.detach().numpy()
    for i, rows in enumerate(cut(data.y, CLIENTS, spec.alpha, seed)):
        arrays |= {f"x_{i}": data.x[rows], f"y_{i}": data.y[rows]}
    name, number = spec.method
    with tempfile.TemporaryDirectory() as folder:
        files = {"data": str(Path(folder) / "cut.npz"), "told": str(Path(folder) / "told.json")}
        np.savez(files["data"], **arrays)
        local = {"epochs": round(LOCAL.epochs), "batch": LOCAL.batch, "lr": LOCAL.lr}
        order = {**files, **local, "seed": seed, "rule": name, "mu": number, "rounds": spec.rounds, "clients": CLIENTS}
        peer = Path(__file__).with_name("peers_flower.py")
        done = subprocess.run(
            [str(python), "-W", "ignore", str(peer), json.dumps(order)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"Flower failed:\n{done.stderr[-2000:]}")
        told = json.loads(Path(files["told"]).read_text(encoding="utf-8"))
    return [(each["quality"], each["byte"]) for each in told]


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


def show(courses: dict[tuple[str, str, str], list[Course]]) -> None:
    rows = []
    for (name, rule, who), runs in courses.items():
        best = [course[-1] for course in runs]
        counts = [reached(course) for course in runs]
        rows.append(
            (
                name,
                rule,
                who,
                len(runs[0]),
                f"{100 * median(each[0] for each in best):.1f}%",
                round(median(each[1] for each in best) / len(runs[0])),
                median(each[0] for each in counts),
                median(each[1] for each in counts),
            )
        )
    table(("cut", "rule", "by", "rounds", "accuracy", "B a round", "rounds to 90%", "B to 90%"), rows)


def figures(courses: dict[tuple[str, str, str], list[Course]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for (name, rule, who), runs in courses.items():
        key = f"{name}_{rule}_{who}".replace(":", "_").replace(", ", "_").replace(" ", "_")
        found[f"accuracy_{key}"] = median(course[-1][0] for course in runs)
        found[f"rounds_to_90_{key}"] = median(reached(course)[0] for course in runs)
        if who == "flower":
            mine = courses[name, rule, "ours"]
            pairs = list(zip(mine, runs, strict=True))
            found[f"accuracy_minus_flower_{name}_{rule.replace(':', '_')}"] = median(
                a[-1][0] - b[-1][0] for a, b in pairs
            )
            found[f"bytes_ratio_vs_flower_{name}_{rule.replace(':', '_')}"] = median(
                b[-1][1] / a[-1][1] for a, b in pairs
            )
    return found


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
    parser.add_argument("--seeds", type=int, default=5)
    usual = Path(tempfile.gettempdir()) / "pennyweight-bench-flower"
    parser.add_argument("--flower", type=Path, default=usual, help="where Flower's environment is, or is made")
    return parser.parse_args()


if __name__ == "__main__":
    main()
