"""The product as a user starts it: a store, a model, a tenant with a key and a budget, `pennyweight serve`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.serve_load import http
from bench.serve_network import artifact, binary_question, json_question
from bench.serve_processes import ROOT, Command, free_port, start
from pennyweight.store.team.opened import opened, reading

if TYPE_CHECKING:
    from pathlib import Path

    from bench.serve_processes import Started

PENNYWEIGHT = (sys.executable, "-c", "from pennyweight.cli import main; main()")
MODEL, TENANT = "digits", "acme"
PATH = f"/v2/models/{MODEL}/infer"


@dataclass(frozen=True)
class Team:
    """A store with one model, one tenant and its key; servers of it share a port."""

    folder: Path
    store: str
    key: str
    port: int

    def question(self, *, binary: bool = False) -> str:
        """One row asked for by the tenant."""
        key = f"Bearer {self.key}"
        if not binary:
            return http(PATH, json_question(), self.port, Authorization=key, Content_Type="application/json")
        body, length = binary_question()
        more = {"Inference_Header_Content_Length": str(length), "Content_Type": "application/octet-stream"}
        return http(PATH, body, self.port, Authorization=key, **more)

    def command(self) -> Command:
        """How one server process is started."""
        words = (*PENNYWEIGHT, "serve", MODEL, "--port", str(self.port), "--store", self.store)
        env = {"PENNYWEIGHT_HOME": str(self.folder / "home")}
        return Command(words, self.port, self.question(), env, self.folder / "serve.log")

    def start(self) -> Started:
        """Start a server and wait until it answers."""
        return start(self.command())


def team(folder: Path, store: str = "", budget: str = "1000000usd/day", tariff: tuple[str, ...] = ()) -> Team:
    """Make a store, at `store` or in `folder`, by the commands that a user would give."""
    folder.mkdir(parents=True, exist_ok=True)
    store = store or str(folder / "team.db")
    made = artifact(folder / "network.pw")
    call(folder, store, "registry", "add", str(made), "--name", MODEL)
    call(folder, store, "registry", "promote", f"{MODEL}@1")
    if tariff:
        call(folder, store, "tariff", MODEL, *tariff)
    told = call(folder, store, "tenants", "add", TENANT, "--budget", budget, "--json")
    return Team(folder, store, json.loads(told)["key"], free_port())


def call(folder: Path, store: str, *words: str) -> str:
    """What a command prints; raises `SystemExit` if it fails."""
    env = {**os.environ, "PENNYWEIGHT_HOME": str(folder / "home")}
    done = subprocess.run(
        [*PENNYWEIGHT, *words, "--store", store], capture_output=True, text=True, cwd=ROOT, env=env, check=False
    )
    if done.returncode:
        raise SystemExit(f"pennyweight {' '.join(words)}: {done.stderr}")
    return done.stdout


@dataclass(frozen=True)
class Books:
    """What the store says: rows of usage, their sum, and what the windows of budgets say was spent and is reserved."""

    rows: int
    nusd: int
    spent_nusd: int
    reserved_nusd: int
    ids: frozenset[str] = frozenset()


def books(store: str, *, ids: bool = False) -> Books:
    """Read the store from outside of the servers."""
    from sqlalchemy import func, select

    from pennyweight.store.team.tables import usage, window

    with opened(store) as engine, reading(engine) as link:
        rows, nusd = link.execute(select(func.count(), func.coalesce(func.sum(usage.c.cost_nusd), 0))).one()
        sums = (func.coalesce(func.sum(column), 0) for column in (window.c.spent_nusd, window.c.reserved_nusd))
        spent, reserved = link.execute(select(*sums)).one()
        names = frozenset(link.execute(select(usage.c.request)).scalars()) if ids else frozenset()
    return Books(int(rows), int(nusd), int(spent), int(reserved), names)
