"""The ledger against power cuts: what was acknowledged is recorded, exactly; and how many rows a second are durable.

    python -m bench.serve_ledger [--quick] [--kills N]

16 callers ask without pause through two `pennyweight serve` processes at one port; one of them is killed (SIGKILL) at a
random moment and started again, 200 times. The client keeps the x-request-id of each answer that it got whole. At the
end each of these must be a row of the store, once; rows beyond them can only be requests that were in flight at a kill,
of which the client counted how many there were.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.report import emit, table
from bench.serve_crew import Crew
from bench.serve_load import Order, begin, end
from bench.serve_ours import books, team
from bench.serve_processes import ROOT
from pennyweight.serve.money.book import Book
from pennyweight.serve.money.purse import Hold
from pennyweight.store.team import leases
from pennyweight.store.team.budgets import Budget, put
from pennyweight.store.team.opened import opened
from pennyweight.store.team.usage import Request, Units

CACHE = ROOT / ".pennyweight" / "bench" / "serve"
CALLERS, WORKERS, PAUSE_S = 16, 2, 0.8
_FOREVER_S = 7200.0
_WRITTEN = 200_000
_LINE = 4096  # rows that wait at once, as they would under a heavy load


@dataclass(frozen=True)
class Count:
    """What the client and the store say of one run."""

    kills: int
    acknowledged: int
    recorded: int
    missing: int
    twice: int
    unacknowledged: int
    lost: int
    other: int


def main() -> None:
    args = _arguments()
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        found = killed(Path(folder), 8 if args.quick else args.kills)
    speeds = []
    for _ in range(1 if args.quick else 5):
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            speeds.append(asyncio.run(written(Path(folder), _WRITTEN // (4 if args.quick else 1))))
    best_s = sorted(speeds)[len(speeds) // 2]
    show(found, best_s)
    emit("serve_ledger", figures(found, best_s), found.kills)


def killed(folder: Path, kills: int, pause_s: float = PAUSE_S) -> Count:
    """Kill workers under load so many times, and compare what the client and the store count."""
    ours, ids = team(folder / "ours"), folder / "ids"
    order = Order(ours.port, ours.question(), CALLERS, _FOREVER_S, ids=str(ids))
    with Crew(ours.command(), WORKERS) as crew, begin(order) as client:
        done = 0
        while done < kills:
            crew.whole()
            time.sleep(crew.dice.uniform(0, 2 * pause_s))
            done += crew.kill_one()
            if not done % 20:
                print(f"{done} of {kills} killed", flush=True)
        told = end(client, now=True)
    names = ids.read_text(encoding="latin-1").split()
    held = books(ours.store, ids=True)
    acknowledged = frozenset(names)
    statuses = sum(told["statuses"].values()) - told["statuses"].get("200", 0)
    return Count(
        done,
        len(names),
        held.rows,
        len(acknowledged - held.ids),
        len(names) - len(acknowledged),
        len(held.ids - acknowledged),
        told["lost"],
        statuses,
    )


async def written(folder: Path, count: int) -> tuple[float, float]:
    """Rows a second that the Book makes durable when thousands wait, and microseconds of CPU for one of them."""
    with opened(str(folder / "team.db")) as engine:
        now_ns = time.time_ns()
        with engine.begin() as link:
            budget = put(link, Budget("tenant", "acme", "total", 10**18))
            lease = leases.reserve(link, budget, 10**17, leases.Holder("bench", 10**12), now_ns)
        assert lease is not None  # ruff: ignore[assert] - the budget is as large as all that is spent
        hold, book = Hold(1000, ((lease.id, 1000),)), Book(engine)
        begin_s, cpu_s = time.perf_counter(), time.process_time()
        for at in range(0, count, _LINE):
            await asyncio.gather(*(book.write(_request(n), hold) for n in range(at, min(count, at + _LINE))))
        took_s, cpu_s = time.perf_counter() - begin_s, time.process_time() - cpu_s
        book.close()
    return count / took_s, 1e6 * cpu_s / count


def _request(number: int) -> Request:
    now_ns = time.time_ns()
    units = Units(1, 1, 0, 30_000, 100)
    return Request(f"{now_ns:016x}{number:08x}", now_ns, "acme", "0123456789ab", "digits", 1, units, 200, 1000)


def show(found: Count, speed: tuple[float, float]) -> None:
    rows = [
        ("kills", found.kills),
        ("acknowledged (the client's count)", found.acknowledged),
        ("recorded (rows)", found.recorded),
        ("acknowledged and not recorded", found.missing),
        ("acknowledged twice", found.twice),
        ("recorded, in flight at a kill", found.unacknowledged),
        ("asked and never answered", found.lost),
        ("answers other than 200", found.other),
        ("durable rows a second", round(speed[0])),
        ("CPU µs a row", round(speed[1], 1)),
    ]
    table(("what", "how many"), rows)


def figures(found: Count, speed: tuple[float, float]) -> dict[str, float]:
    """The numbers of the JSON line."""
    beyond = max(0, found.unacknowledged - found.lost)
    return {
        "kills": found.kills,
        "acknowledged": found.acknowledged,
        "ledger_missing": found.missing,
        "ledger_twice": found.twice,
        "ledger_beyond_in_flight": beyond,
        "in_flight_recorded": found.unacknowledged,
        "in_flight_lost": found.lost,
        "durable_rows_s": speed[0],
        "row_cpu_us": speed[1],
    }


def _arguments() -> argparse.Namespace:
    about = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m bench.serve_ledger", description=about)
    parser.add_argument("--quick", action="store_true", help="8 kills")
    parser.add_argument("--kills", type=int, default=200, help="how often a worker is killed")
    return parser.parse_args()


if __name__ == "__main__":
    main()
