"""Half an hour at seven tenths of what the server can do: memory flat, latency flat, sums equal to the client's count.

    python -m bench.serve_soak [--quick] [--minutes M]

The rate is 70% of what 16 JSON callers get without pause, measured first. Latency counts from the moment a question was
due, so a server that falls behind cannot hide it. Flat means: the median of the last third of the run against that of
the first third, after a warm-up of a tenth.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.report import emit, table
from bench.serve_load import Order, begin, load
from bench.serve_ours import books, team
from bench.serve_processes import ROOT

if TYPE_CHECKING:
    from bench.serve_processes import Started

CACHE = ROOT / ".pennyweight" / "bench" / "serve"
CLIENTS, SHARE, SLICES = 16, 0.7, 60
_FULL_S = 5.0


@dataclass(frozen=True)
class Slice:
    """A part of the run: answers a second, p99 and median in milliseconds, resident memory in MiB, CPU µs a request."""

    rps: float
    p99_ms: float
    p50_ms: float
    resident_mib: float
    cpu_us: float


@dataclass(frozen=True)
class Soak:
    """All slices; requests answered by the client's count, rows and nano-dollars by the store's."""

    slices: tuple[Slice, ...]
    rate: float
    answered: int
    rows: int
    nusd: int
    spent_nusd: int
    lost: int
    other: int
    whys: dict[str, str]


def main() -> None:
    args = _arguments()
    seconds = 60.0 if args.quick else 60.0 * args.minutes
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        found = soak(Path(folder), seconds)
    show(found)
    emit("serve_soak", figures(found), len(found.slices))


def soak(folder: Path, seconds: float, slices: int = SLICES) -> Soak:
    """Measure the top rate, then load the server at a share of it."""
    ours = team(folder / "ours", tariff=("--request", "0.000001"))
    server = ours.start()
    try:
        ask = ours.question()
        full = load(Order(ours.port, ask, CLIENTS, min(_FULL_S, seconds)))
        before = books(ours.store).rows
        rate = SHARE * full["rps"]
        last, parts = _watched(server, Order(ours.port, ask, CLIENTS, seconds, rate=rate, slice_s=seconds / slices))
    finally:
        server.stop()
    held = books(ours.store)
    other = sum(last["statuses"].values()) - last["answers"]
    return Soak(
        parts, rate, last["answers"], held.rows - before, held.nusd, held.spent_nusd, last["lost"], other, last["whys"]
    )


def _watched(server: Started, order: Order) -> tuple[dict[str, Any], tuple[Slice, ...]]:
    """Look at the server whenever the client reports."""
    parts, last = [], {}
    cpu_s = server.cpu_s()
    with begin(order) as client:
        for line in client.stdout or ():
            last = json.loads(line)
            now_s = server.cpu_s()
            cost = 1e6 * (now_s - cpu_s) / max(1, last["answers"])
            parts.append(Slice(last["rps"], last["p99_ms"], last["p50_ms"], server.resident_mib(), cost))
            cpu_s = now_s
    return last, tuple(parts[:-1])


def drift(values: list[float]) -> float:
    """How much larger the median of the last third is than that of the first third, after a tenth of warm-up."""
    warm = values[len(values) // 10 :]
    third = max(1, len(warm) // 3)
    return median(warm[-third:]) / median(warm[:third]) - 1


def show(found: Soak) -> None:
    step = max(1, len(found.slices) // 12)
    rows = [
        (i, f"{s.rps:,.0f}", f"{s.p50_ms:.2f}", f"{s.p99_ms:.2f}", f"{s.resident_mib:.1f}", f"{s.cpu_us:.0f}")
        for i, s in enumerate(found.slices)
        if i % step == 0
    ]
    table(("slice", "requests/s", "p50 ms", "p99 ms", "RSS MiB", "CPU µs"), rows)
    if found.other:
        print(f"refused: {found.whys}")
    print(f"answered {found.answered:,}, rows {found.rows:,}, lost {found.lost}, other than 200: {found.other}")


def figures(found: Soak) -> dict[str, float]:
    """The numbers of the JSON line."""
    return {
        "rate": found.rate,
        "answered": found.answered,
        "rss_drift": drift([each.resident_mib for each in found.slices]),
        "p99_drift": drift([each.p99_ms for each in found.slices]),
        "p99_ms": median(each.p99_ms for each in found.slices),
        "cpu_us": median(each.cpu_us for each in found.slices),
        "ledger_difference": abs(found.rows - found.answered),
        "sum_difference_nusd": abs(found.nusd - found.spent_nusd),
        "lost": found.lost,
    }


def _arguments() -> argparse.Namespace:
    about = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m bench.serve_soak", description=about)
    parser.add_argument("--quick", action="store_true", help="one minute")
    parser.add_argument("--minutes", type=float, default=30.0, help="how long")
    return parser.parse_args()


if __name__ == "__main__":
    main()
