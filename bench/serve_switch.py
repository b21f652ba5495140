"""Switching under full load: nobody notices but by the version that is named, and the way back is short.

    python -m bench.serve_switch [--quick] [--switches N] [--workers N]

16 JSON callers ask without pause while `production` is moved back and forth between two versions, 100 times, by what
`pennyweight switch` calls; every answer is compared with what the version that its header names would say. Blocks with
switches and blocks without alternate, and latencies are compared block by block: the second server process that loads
and proves a version shares the machine's cores with all others. Every tenth switch is a `pennyweight rollback`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.report import emit, table
from bench.serve_crew import Crew
from bench.serve_load import Order, begin, end
from bench.serve_network import artifact, rows
from bench.serve_ours import MODEL, Team, call, team
from bench.serve_processes import ROOT
from pennyweight.engine.answers import answer, open_session
from pennyweight.serve.versions.switching import Switch, back, switch
from pennyweight.store.artifacts import load
from pennyweight.store.team.opened import opened
from pennyweight.store.team.registry import PRODUCTION, Move

if TYPE_CHECKING:
    from sqlalchemy import Engine

CACHE = ROOT / ".pennyweight" / "bench" / "serve"
CLIENTS, BLOCKS, BACK_EVERY, PAUSE_S = 16, 10, 10, 0.1


@dataclass
class Seen:
    """What the callers and who switched saw, over all blocks."""

    steady: list[dict[str, Any]] = field(default_factory=list)
    moving: list[dict[str, Any]] = field(default_factory=list)
    switch_s: list[float] = field(default_factory=list)
    back_s: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Size:
    """How often is switched in how many blocks, by how many processes followed."""

    switches: int = 100
    blocks: int = BLOCKS
    workers: int = 1


def main() -> None:
    args = _arguments()
    size = Size(8, 2, args.workers) if args.quick else Size(args.switches, BLOCKS, args.workers)
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        found = raced(Path(folder), size)
    show(found)
    emit("serve_switch", figures(found), size.switches)


def raced(folder: Path, size: Size) -> Seen:
    """Alternate blocks with and without switches."""
    ours = team(folder / "ours")
    second = artifact(folder / "second.pw", seed=1)
    call(ours.folder, ours.store, "registry", "add", str(second), "--name", MODEL)
    answers = {"1": _answer(folder / "ours" / "network.pw"), "2": _answer(second)}
    seen, moves = Seen(), [size.switches // size.blocks] * size.blocks
    with Crew(ours.command(), size.workers), opened(ours.store) as engine:
        took_s = _block(ours, answers, seen, lambda: _moved(engine, seen, moves[0]))
        seen = Seen()  # the first block was for warming up, and told how long one is
        for count in moves:
            _block(ours, answers, seen, lambda count=count: _moved(engine, seen, count), moving=True)
            _block(ours, answers, seen, lambda: time.sleep(took_s))
    return seen


def _answer(made: Path) -> list[float]:
    found = load(made)
    return [float(value) for value in answer(open_session(found), found, _asked())[0]]


def _asked() -> Any:
    return rows()[:1].round(4)


def _block(ours: Team, answers: dict[str, list[float]], seen: Seen, meanwhile: Any, *, moving: bool = False) -> float:
    """Let the callers ask while something is done, and note what they saw; the seconds that it took."""
    order = Order(ours.port, ours.question(), CLIENTS, 3600.0, answers=answers)
    with begin(order) as client:
        begin_s = time.monotonic()
        meanwhile()
        took_s = time.monotonic() - begin_s
        told = end(client, now=True)
    (seen.moving if moving else seen.steady).append(told)
    return took_s


def _moved(engine: Engine, seen: Seen, count: int) -> None:
    """Switch to the other version so many times; the last of every ten times on the way back."""
    for number in range(1, count + 1):
        time.sleep(PAUSE_S)
        move = Move("bench", "to the other version")
        if number % BACK_EVERY == 0:
            seen.back_s.append(back(engine, Switch(MODEL, PRODUCTION, move)).took_s)
            continue
        asked = f"{MODEL}@{1 + number % 2}"
        seen.switch_s.append(switch(engine, Switch(asked, PRODUCTION, move, uncertified=True)).took_s)


def show(found: Seen) -> None:
    lines = [
        (name, f"{_mid(told, 'rps'):,.0f}", f"{_mid(told, 'p50_ms'):.2f}", f"{_mid(told, 'p99_ms'):.2f}", _bad(told))
        for name, told in (("steady", found.steady), ("switching", found.moving))
    ]
    table(("blocks", "requests/s", "p50 ms", "p99 ms", "failed or wrong"), lines)
    versions: dict[str, int] = {}
    for told in found.moving:
        for name, count in told["versions"].items():
            versions[name] = versions.get(name, 0) + count
    print(f"answers by version while switching: {json.dumps(versions)}")


def figures(found: Seen) -> dict[str, float]:
    """The numbers of the JSON line; the ratio is of neighbouring blocks, and its median is told."""
    ratios = [a["p99_ms"] / b["p99_ms"] for a, b in zip(found.moving, found.steady, strict=True)]
    return {
        "switches": float(len(found.switch_s) + len(found.back_s)),
        "switch_failures": float(_bad([*found.moving, *found.steady])),
        "answers": float(sum(each["answers"] for each in found.moving)),
        "p99_ratio": median(ratios),
        "p99_ratio_of_medians": _mid(found.moving, "p99_ms") / _mid(found.steady, "p99_ms"),
        "switch_s": median(found.switch_s),
        "switch_s_max": max(found.switch_s),
        "rollback_s": median(found.back_s) if found.back_s else 0.0,
        "rollback_s_max": max(found.back_s, default=0.0),
    }


def _mid(told: list[dict[str, Any]], key: str) -> float:
    return median(float(each[key]) for each in told)


def _bad(told: list[dict[str, Any]]) -> int:
    return sum(each["lost"] + each["wrong"] + sum(each["statuses"].values()) - each["answers"] for each in told)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.serve_switch", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="eight switches")
    parser.add_argument("--switches", type=int, default=100, help="how often in all")
    parser.add_argument("--workers", type=int, default=1, help="how many server processes")
    return parser.parse_args()


if __name__ == "__main__":
    main()
