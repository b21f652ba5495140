"""Tokens per second through the server beside the runtime alone, and whether what is told is what is on the ledger.

    python -m bench.serve_text [--quick]

The model is the recipe's character GPT (10.8 million parameters) with random weights: what it says is noise, what it
costs is not. The server is `pennyweight serve` as a user starts it, one process, every request on the disk before it is
told to be whole. The runtime alone is the same graph in a loop of one process that does nothing else: the same texts,
as many at once, joining and leaving as they come and end. Both go through the same questions, in turn. Then come mixed
questions, streams, stop sequences and callers who hang up, and every answer is held against its row.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from bench.report import emit, table
from bench.serve_load import http
from bench.serve_ours import PENNYWEIGHT, call
from bench.serve_processes import Command, free_port, start
from bench.text_load import Asked, Callers
from bench.text_model import ALPHABET, artifact
from pennyweight.core import ServeSpec
from pennyweight.engine.answers import open_session
from pennyweight.runtimes.chorus import open_chorus
from pennyweight.runtimes.tokens import Characters
from pennyweight.store.artifacts import save
from pennyweight.store.team.opened import opened, reading

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.serve_processes import Started
    from bench.text_load import Told
    from pennyweight.core import Artifact
    from pennyweight.runtimes.chorus import Chorus

AT_ONCE, MIXED_AT_ONCE = 16, 32
PRICE_IN, PRICE_OUT = 200, 1000


@dataclass(frozen=True)
class Effort:
    """How much is asked: rounds of both, questions of a round, mixed questions, blocks of the model."""

    rounds: int
    questions: int
    mixed: int
    layers: int


FULL, QUICK = Effort(7, 96, 10_000, 6), Effort(2, 24, 300, 2)


@dataclass(frozen=True)
class Spent:
    """What making some tokens took: wall and CPU seconds of the process that computes."""

    tokens: int
    wall_s: float
    cpu_s: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.serve_text", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a rough answer: a small model, few questions")
    effort = QUICK if parser.parse_args().quick else FULL
    made = artifact(effort.layers)
    chorus = open_chorus(made, ServeSpec(**made.facts["serve"]), open_session(made))
    with tempfile.TemporaryDirectory(prefix="pennyweight-bench-") as folder:
        house = begun(Path(folder), made)
        try:
            rounds = race(chorus, house, effort)
            told = asyncio.run(Callers(house.server.port, house.key, MIXED_AT_ONCE).ask(mixed(effort.mixed)))
            time.sleep(1.0)  # who hung up last is on the disk soon, and nobody waits for it
        finally:
            house.server.stop()
        books = compared(mixed(effort.mixed), told, rows(house.store))
    show(rounds, books, effort)


def race(chorus: Chorus, house: House, effort: Effort) -> dict[str, list[Spent]]:
    """The same questions to each in turn, after one round that does not count."""
    found: dict[str, list[Spent]] = {"alone": [], "whole": [], "streamed": []}
    for number in range(effort.rounds + 1):
        asked = questions(effort.questions, number)
        taken = {
            "alone": alone(chorus, asked),
            "whole": served(house, asked),
            "streamed": served(house, [replace(each, stream=True) for each in asked]),
        }
        for name, spent in taken.items():
            found[name] += [spent] if number else []
    return found


def questions(count: int, seed: int) -> list[Asked]:
    """Prompts of 8 to 96 characters, each continued by 16 to 128."""
    rng = np.random.default_rng(seed)
    sizes = zip(rng.integers(8, 97, count).tolist(), rng.integers(16, 129, count).tolist(), strict=True)
    return [Asked("".join(rng.choice(list(ALPHABET), size)), most) for size, most in sizes]


def mixed(count: int) -> list[Asked]:
    """All kinds of questions, one in five of a caller who hangs up."""
    rng = np.random.default_rng(99)
    found = []
    for number in range(count):
        prompt = "".join(rng.choice(list(ALPHABET), int(rng.integers(1, 60))))
        asked = Asked(prompt, int(rng.integers(1, 33)), stream=number % 2 == 0)
        if number % 5 == 0:
            asked = replace(asked, most=120, stream=True, leave=int(rng.integers(0, 6)))
        elif number % 3 == 0:
            asked = replace(asked, stop=str(rng.choice(list(ALPHABET))))
        found.append(asked)
    return found


def alone(chorus: Chorus, asked: Sequence[Asked]) -> Spent:
    """The likeliest tokens of all texts, `AT_ONCE` together, by the runtime and nothing else."""
    places = {character: code for code, character in enumerate(ALPHABET)}
    line = [(np.array([places[each] for each in one.prompt], np.int64), one.most) for one in reversed(asked)]
    memory, left, last, tokens = None, np.empty(0, np.int64), np.empty(0, np.int64), 0
    begin_s, cpu_s = time.perf_counter(), time.process_time()
    while line or len(left):
        fresh = [line.pop() for _ in range(min(AT_ONCE - len(left), len(line)))]
        parts = [(memory, range(len(left)))] if len(left) else []
        if fresh:
            logits, read = chorus.prefill([prompt for prompt, _ in fresh])
            memory = chorus.gather([*parts, (read, range(len(fresh)))]) if parts else read
            last = np.concatenate([last, logits.argmax(axis=1)])
            left = np.concatenate([left, [most - 1 for _, most in fresh]])
            tokens += len(fresh)
        logits, memory = chorus.step(last, memory)
        last, left = logits.argmax(axis=1), left - 1
        tokens += len(left)
        stay = np.flatnonzero(left > 0)
        if len(stay) < len(left):
            last, left = last[stay], left[stay]
            memory = chorus.gather([(memory, stay)]) if len(stay) else None
    return Spent(tokens, time.perf_counter() - begin_s, time.process_time() - cpu_s)


def served(house: House, asked: Sequence[Asked]) -> Spent:
    """The same by as many callers."""
    begin_s, cpu_s = time.perf_counter(), house.server.cpu_s()
    told = asyncio.run(Callers(house.server.port, house.key, AT_ONCE).ask(asked))
    wall_s, took_s = time.perf_counter() - begin_s, house.server.cpu_s() - cpu_s
    made = sum(each.used[1] for each in told.values() if each.used)
    if made != sum(each.most for each in asked):
        raise SystemExit(f"The server made {made} tokens: {next(iter(told.values()))}")
    return Spent(made, wall_s, took_s)


@dataclass(frozen=True)
class House:
    """A running server, its store, and the key of a tenant."""

    server: Started
    store: str
    key: str


def begun(folder: Path, made: Artifact) -> House:
    """A store with the model, a tenant with a budget, and the server, made by the commands that a user gives."""
    store, port = str(folder / "team.db"), free_port()
    save(made, folder / "gpt.pw")
    call(folder, store, "registry", "add", str(folder / "gpt.pw"), "--name", "gpt")
    call(folder, store, "registry", "promote", "gpt@1")
    call(folder, store, "tariff", "gpt", "--row", f"{PRICE_IN / 1e9:.9f}usd", "--answer", f"{PRICE_OUT / 1e9:.9f}usd")
    told = call(folder, store, "tenants", "add", "acme", "--budget", "1000000usd/day", "--json")
    words = (*PENNYWEIGHT, "serve", "gpt", "--api", "openai", "--port", str(port), "--store", store)
    key = json.loads(told)["key"]
    look = http("/v1/models", b"", port, Authorization=f"Bearer {key}").replace("POST", "GET", 1)
    env = {"PENNYWEIGHT_HOME": str(folder / "home")}
    return House(start(Command(words, port, look, env, folder / "serve.log")), store, key)


def rows(store: str) -> dict[str, tuple[int, int, int, int]]:
    """What the ledger says: tokens in and out, status and cost, by the name of the request."""
    from sqlalchemy import text

    with opened(store) as engine, reading(engine) as link:
        found = link.execute(text("SELECT request, in_units, out_units, status, cost_nusd FROM usage")).all()
    return {row[0]: tuple(row[1:]) for row in found}


def compared(
    asked: Sequence[Asked], told: Mapping[int, Told], kept: Mapping[str, tuple[int, int, int, int]]
) -> dict[str, int]:
    """How many answers there were, how many were not whole, and how many disagree with the ledger or the tokenizer."""
    tokenizer = Characters(ALPHABET)
    found = {"mixed": len(told), "aborted": 0, "mismatches": 0, "refused": 0}
    for number, each in told.items():
        row, prompt = kept.get(each.name), len(tokenizer.encode(asked[number].prompt))
        if each.status != 200:
            found["refused"] += 1
            continue
        made = len(tokenizer.encode(each.text)) + (each.reason == "stop")
        if row is None or row[3] != PRICE_IN * row[0] + PRICE_OUT * row[1] or row[0] != prompt:
            found["mismatches"] += 1
        elif each.used is None:
            found["aborted"] += row[2] == 499
            found["mismatches"] += not made <= row[1] <= asked[number].most
        else:
            found["mismatches"] += (prompt, made) != each.used or each.used != row[:2] or row[2] != 200
    return found


def show(rounds: Mapping[str, Sequence[Spent]], books: Mapping[str, int], effort: Effort) -> None:
    speed = {name: median(each.tokens / each.wall_s for each in spent) for name, spent in rounds.items()}
    cpu = {name: median(1e6 * each.cpu_s / each.tokens for each in spent) for name, spent in rounds.items()}
    table(("way", "tokens/s", "CPU µs per token"), [(name, speed[name], cpu[name]) for name in rounds])
    ratio = {
        name: median(
            (a.tokens / a.wall_s) / (b.tokens / b.wall_s) for a, b in zip(rounds[name], rounds["alone"], strict=True)
        )
        for name in ("whole", "streamed")
    }
    print(f"\nmixed: {books}")
    figures = {f"{name}_tokens_s": value for name, value in speed.items()}
    figures |= {f"{name}_cpu_us_per_token": value for name, value in cpu.items()}
    figures |= {f"{name}_speed_vs_alone": value for name, value in ratio.items()}
    emit("serve_text", figures | {name: float(value) for name, value in books.items()}, effort.rounds)


if __name__ == "__main__":
    main()
