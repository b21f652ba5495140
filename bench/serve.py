"""Serving side by side: our whole path (key, budget, durable metering) and peers, one network, one machine.

    python -m bench.serve [--quick] [--peers litserve bentoml litellm | none]

Every server answers the same 784 → 256 → 10 network by ONNX Runtime on one thread, and shares the machine's cores with
the client. Ours has a registry, a tenant with a key and a budget, and writes every request to SQLite before it is
answered; the peers do none of that, except that LiteLLM's proxy counts (in memory) and has no model behind it. Peers
live in environments of their own, made on the first run; LitServe and BentoML are raced with and without batching.
Rounds go through all servers in turn, medians are told. CPU is user and system time of the server's processes.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.report import emit, table
from bench.serve_load import Order, load
from bench.serve_ours import team
from bench.serve_peers import NEEDS, Place, commands
from bench.serve_processes import ROOT, Command, start

if TYPE_CHECKING:
    from bench.serve_processes import Started

OURS, BINARY, PROXY = "pennyweight", "pennyweight, binary", "litellm"
CACHE = ROOT / ".pennyweight" / "bench" / "serve"
CLIENTS = {BINARY: 64}  # all others have 16
_WARM_S, _IDLE_S, _US = 1.0, 2.0, 1e6


@dataclass(frozen=True)
class Entry:
    """One contender: how it is started, who started it, and what it is asked by how many."""

    server: str
    command: Command
    question: str
    clients: int


@dataclass
class Figures:
    """What was measured of one contender, one number a round."""

    rps: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    wrong: int = 0


@dataclass(frozen=True)
class Start:
    """What was measured of one server before any load: seconds to its first answer, MiB while it was idle."""

    first_s: float
    resident_mib: float
    own_mib: float


def main() -> None:
    args = _arguments()
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder, contextlib.ExitStack() as ends:
        entries, absent = contenders(Path(folder), [each for each in args.peers if each != "none"])
        started, starts = begin(entries, ends, absent, tries=1 if args.quick else 3)
        entries = {name: each for name, each in entries.items() if each.server in started}
        found = {name: Figures() for name in entries}
        rounds, seconds = (1, 3.0) if args.quick else (5, 6.0)
        for entry in entries.values():
            ask(started[entry.server], entry, _WARM_S)
        for _ in range(rounds):
            for name, entry in entries.items():
                note(found[name], started[entry.server], entry, seconds)
        show(found, starts, absent)
    emit("serve", figures(found, starts), rounds)


def contenders(folder: Path, peers: list[str]) -> tuple[dict[str, Entry], dict[str, str]]:
    """Everybody who races, and those who cannot with the reason."""
    ours = team(folder / "ours")
    command = ours.command()
    found = {
        OURS: Entry(OURS, command, ours.question(), 16),
        BINARY: Entry(OURS, command, ours.question(binary=True), CLIENTS[BINARY]),
    }
    absent = {}
    for peer in peers:
        try:
            made = commands(peer, Place(CACHE, folder))
        except Exception as error:  # ruff: ignore[blind-except] - a peer that cannot be installed is a finding
            absent[peer] = f"{type(error).__name__}: {str(error)[:200]}"
            continue
        found |= {name: Entry(name, command, command.question, 16) for name, command in made.items()}
    return found, absent


def begin(
    entries: dict[str, Entry], ends: contextlib.ExitStack, absent: dict[str, str], tries: int
) -> tuple[dict[str, Started], dict[str, Start]]:
    """Start all servers one after another, each with nothing else to do; ours several times."""
    started: dict[str, Started] = {}
    starts: dict[str, Start] = {}
    for entry in {each.server: each for each in reversed(entries.values())}.values():
        try:
            seconds = [_once(entry.command) for _ in range(tries - 1 if entry.server == OURS else 0)]
            server = start(entry.command)
        except SystemExit as error:
            if entry.server == OURS:
                raise
            absent[entry.server] = str(error)[-300:]
            continue
        ends.callback(server.stop)
        time.sleep(_IDLE_S)
        first_s = median([*seconds, server.first_s])
        started[entry.server] = server
        starts[entry.server] = Start(first_s, server.resident_mib(), server.own_mib())
        print(f"{entry.server} answers after {first_s:.2f} s", flush=True)
    return started, starts


def _once(command: Command) -> float:
    """Start and stop a server; the seconds to its first answer."""
    server = start(command)
    server.stop()
    return server.first_s


def ask(server: Started, entry: Entry, seconds: float) -> tuple[dict[str, Any], float]:
    """Let the client ask for a while; its report, and the CPU seconds of the server."""
    before = server.cpu_s()
    told = load(Order(server.port, entry.question, entry.clients, seconds))
    return told, server.cpu_s() - before


def note(found: Figures, server: Started, entry: Entry, seconds: float) -> None:
    """Measure a contender once more."""
    told, cpu_s = ask(server, entry, seconds)
    found.rps.append(told["rps"])
    found.p50_ms.append(told["p50_ms"])
    found.p99_ms.append(told["p99_ms"])
    found.cpu_us.append(_US * cpu_s / max(1, told["answers"]))
    wrong = told["lost"] + sum(told["statuses"].values()) - told["answers"]
    if wrong:
        print(f"not answered as they should be: {told['lost']} lost, {told['statuses']}, {told['whys']}", flush=True)
    found.wrong += wrong


def show(found: dict[str, Figures], starts: dict[str, Start], absent: dict[str, str]) -> None:
    rows = []
    for name, each in found.items():
        one = starts[OURS if name == BINARY else name]
        medians = [median(values) for values in (each.rps, each.p50_ms, each.p99_ms, each.cpu_us)]
        rps, p50, p99, cpu = (f"{value:,.{digits}f}" for value, digits in zip(medians, (0, 2, 2, 0), strict=True))
        memory = (f"{one.resident_mib:.0f}", f"{one.own_mib:.0f}")
        rows.append((name, CLIENTS.get(name, 16), rps, p50, p99, cpu, *memory, f"{one.first_s:.2f}", each.wrong))
    heads = ("server", "clients", "requests/s", "p50 ms", "p99 ms", "CPU µs", "RSS MiB", "PSS MiB", "first s", "failed")
    table(heads, rows)
    for name, reason in absent.items():
        print(f"not raced: {name}: {reason}")


def figures(found: dict[str, Figures], starts: dict[str, Start]) -> dict[str, float]:
    """The numbers of the JSON line; ratios are of medians."""
    ours, binary = found[OURS], found[BINARY]
    told = {
        "json16_rps": median(ours.rps),
        "json16_p50_ms": median(ours.p50_ms),
        "json16_p99_ms": median(ours.p99_ms),
        "json16_cpu_us": median(ours.cpu_us),
        "binary64_rps": median(binary.rps),
        "binary64_p99_ms": median(binary.p99_ms),
        "binary64_cpu_us": median(binary.cpu_us),
        "failed": float(ours.wrong + binary.wrong),
        "idle_mib": starts[OURS].own_mib,
        "idle_resident_mib": starts[OURS].resident_mib,
        "first_answer_s": starts[OURS].first_s,
    }
    peers = {name: each for name, each in found.items() if name not in {OURS, BINARY}}
    models = {name: each for name, each in peers.items() if name != PROXY}
    if models:
        told["rps_ratio_vs_best_peer"] = told["json16_rps"] / max(median(each.rps) for each in models.values())
    for name, each in peers.items():
        key = name.replace(", ", "_")
        told[f"cpu_ratio_vs_{key}"] = median(each.cpu_us) / told["json16_cpu_us"]
        told[f"rps_{key}"] = median(each.rps)
        told[f"first_answer_s_{key}"] = starts[name].first_s
        told[f"idle_mib_{key}"] = starts[name].own_mib
    return told


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.serve", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one short round")
    choices = [*NEEDS, "none"]
    parser.add_argument("--peers", nargs="+", choices=choices, default=list(NEEDS), help="who is raced against")
    return parser.parse_args()


if __name__ == "__main__":
    main()
