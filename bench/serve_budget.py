"""Budgets under fire: many callers, several processes, workers killed, and not a nano-dollar over the limit.

    python -m bench.serve_budget [--quick] [--stores sqlite postgresql]

64 callers ask 10,000 times through 8 `pennyweight serve` processes that share one port and one store, for a tenant
whose budget ends about half-way; a worker is killed (SIGKILL) and replaced again and again meanwhile. What the killed
ones had reserved comes back when their leases expire; then the rest is asked for. The overrun is what the store's rows
come to beyond the limit; the used part of the budget is told before and after the leases expired.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.report import emit, table
from bench.serve_crew import Crew
from bench.serve_load import Order, begin, end, load
from bench.serve_ours import Books, books, team
from bench.serve_processes import ROOT
from bench.serve_stores import POSTGRES, SQLITE, store

if TYPE_CHECKING:
    from collections.abc import Callable

NUSD = 1_000_000_000
TARIFF = ("--request", "0.000001", "--second", "0.001")
LIMIT_NUSD = 6_000_000  # some 5,000 requests of 1,000 nano-dollars and their compute
LEASE_S = 6.5  # after which nobody holds anything for a dead worker
CACHE = ROOT / ".pennyweight" / "bench" / "serve"


@dataclass(frozen=True)
class Size:
    """How many processes, callers and requests, and how often a worker is killed."""

    workers: int = 8
    callers: int = 64
    requests: int = 10_000
    kill_s: float = 0.3
    limit_nusd: int = LIMIT_NUSD


@dataclass(frozen=True)
class Storm:
    """What a storm left behind: the store right after it and when leases had expired, answers by status, kills."""

    at_once: Books
    after: Books
    answered: int
    refused: int
    other: int
    lost: int
    kills: int


def main() -> None:
    args = _arguments()
    size = Size(workers=4, requests=4000, limit_nusd=2_000_000) if args.quick else Size()
    rounds = 1 if args.quick else 3
    CACHE.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[Storm]] = {}
    for kind in args.stores:
        for seed in range(rounds):
            with tempfile.TemporaryDirectory(dir=CACHE) as folder, store(kind, Path(folder)) as where:
                found.setdefault(kind, []).append(storm(Path(folder), where, size, seed))
                print(f"{kind}, storm {seed + 1} of {rounds}: {found[kind][-1]}", flush=True)
    show(found, size)
    emit("serve_budget", figures(found, size), rounds)


def storm(folder: Path, where: str, size: Size, seed: int = 0) -> Storm:
    """Let all callers ask while workers die, wait for leases to expire, and ask for the rest."""
    budget = f"{size.limit_nusd / NUSD:.9f}usd/total"
    ours = team(folder / "ours", where, budget, TARIFF)
    order = Order(ours.port, ours.question(), size.callers, 120.0, size.requests)
    with Crew(ours.command(), size.workers, np.random.default_rng(seed)) as crew:
        with begin(order) as client:
            kills = killing(crew, size.kill_s, lambda: client.poll() is not None)
            told = end(client)
        at_once = books(where)
        crew.whole()
        time.sleep(LEASE_S)
        more = load(Order(ours.port, ours.question(), size.callers, 60.0, size.requests // 2))
    statuses = told["statuses"]
    for status, count in more["statuses"].items():
        statuses[status] = statuses.get(status, 0) + count
    good, refused = statuses.pop("200", 0), statuses.pop("429", 0)
    lost = told["lost"] + more["lost"]
    return Storm(at_once, books(where), good, refused, sum(statuses.values()), lost, kills)


def killing(crew: Crew, every_s: float, over: Callable[[], bool]) -> int:
    """Kill workers at random moments until it is over; how many were."""
    kills, until_s = 0, time.monotonic() + crew.dice.uniform(0, 2 * every_s)
    while not over():
        if time.monotonic() > until_s:
            kills += crew.kill_one()
            until_s = time.monotonic() + crew.dice.uniform(0, 2 * every_s)
        time.sleep(0.005)
    return kills


def overrun(each: Storm, limit_nusd: int) -> int:
    """Nano-dollars over the limit: by the rows, or by what budgets hold as spent and reserved."""
    sums = (each.at_once.nusd, each.after.nusd, *(b.spent_nusd + b.reserved_nusd for b in (each.at_once, each.after)))
    return max(0, max(sums) - limit_nusd)


def show(found: dict[str, list[Storm]], size: Size) -> None:
    rows = [
        (
            kind,
            each.kills,
            each.answered,
            each.refused,
            each.other,
            each.lost,
            each.after.rows,
            f"{100 * each.at_once.nusd / size.limit_nusd:.2f}%",
            f"{100 * each.after.nusd / size.limit_nusd:.2f}%",
            overrun(each, size.limit_nusd),
            each.after.nusd - each.after.spent_nusd,
        )
        for kind, storms in found.items()
        for each in storms
    ]
    heads = (
        "store",
        "kills",
        "200",
        "429",
        "other",
        "lost",
        "rows",
        "used",
        "used after expiry",
        "over",
        "rows - spent",
    )
    table(heads, rows)


def figures(found: dict[str, list[Storm]], size: Size) -> dict[str, float]:
    """The numbers of the JSON line, the worst of all rounds."""
    every = [each for storms in found.values() for each in storms]
    told = {
        "budget_overrun": float(max(overrun(each, size.limit_nusd) for each in every)),
        "kills": float(sum(each.kills for each in every)),
        "unrecorded": float(sum(max(0, each.answered - each.after.rows) for each in every)),
        "rows_unlike_windows": float(sum(abs(each.after.nusd - each.after.spent_nusd) for each in every)),
    }
    for kind, storms in found.items():
        told[f"budget_used_{kind}"] = min(each.after.nusd for each in storms) / size.limit_nusd
        told[f"budget_used_at_once_{kind}"] = min(each.at_once.nusd for each in storms) / size.limit_nusd
    return told


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.serve_budget", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="one storm of 4,000 requests")
    choices = [SQLITE, POSTGRES]
    parser.add_argument("--stores", nargs="+", choices=choices, default=choices, help="where the budgets are kept")
    return parser.parse_args()


if __name__ == "__main__":
    main()
