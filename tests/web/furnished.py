"""A house to look at: a real store with tenants, versions, requests and budgets, and a ledger with runs."""

import contextlib
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import httpx

from pennyweight.catalog import load_prices
from pennyweight.core import Cost, DataSpec, Form, Kind, Op, Phase, Score, Spec
from pennyweight.cost.price import Parts
from pennyweight.store.ledger import Ledger
from pennyweight.store.records import Entry, RunRecord
from pennyweight.store.team import alerts, registry
from pennyweight.store.team.budgets import Budget, put, track
from pennyweight.store.team.opened import opened
from pennyweight.store.team.periods import span
from pennyweight.store.team.registry import Move, Version
from pennyweight.store.team.tenants import Tenant, add_key, add_tenant
from pennyweight.store.team.usage import Request, Units, record
from pennyweight.store.team.workers import Serving, Worker, beat
from pennyweight.web.app import Dashboard
from pennyweight.web.books import Books
from pennyweight.web.guard import Guard

EVIL = "<script>alert(1)</script>"
HERE = "http://127.0.0.1:8100"
S = 10**9
SPEC = Spec(Form.MODULE, (Op("fc", Kind.LINEAR, 4, 2, writes="a"),), DataSpec(10, 16.0))


def furnish(folder, *, why="better on new data"):
    """Fill a folder with what a month of work leaves; the address of its store."""
    store = str(folder / "team.db")
    now = time.time_ns()
    with opened(store) as engine, engine.begin() as link:
        add_tenant(link, Tenant("acme", "group", rate_s=100))
        add_tenant(link, Tenant("beta", "group"))
        for number in range(1, 4):
            lineage = {"job": "digits", "run": number}
            proof = {"text": "accuracy is at least 98.2%, at 95%"} if number > 1 else None
            registry.add(link, Version("digits", 0, f"{number}" * 64, "", lineage, proof, made_by="ada"))
        registry.promote(link, "digits@1", "production", Move("ada", "the first"))
        registry.promote(link, "digits@2", "production", Move("ada", why))
        registry.promote(link, "digits@3", "staging", Move("ada"))
        budget = put(link, Budget("tenant", "acme", "day", 5 * S))
        put(link, Budget("tenant", "beta", "month", 50 * S, hard=False))
        track(link, {(budget.id, span("day", "UTC", now)[0]): 4_300_000_000})
        record(link, list(requests(now)))
        alerts.add(link, alerts.Alert("digits", 2, "drift", "Inputs drift: PSI 0.31 of feature 7", 0.31))
        serving = Serving("digits", "digits", "production", 2)
        beat(link, Worker("w1", "here", 1, "http://127.0.0.1:8000", now, (serving,)))
    _runs(folder)
    return store


def requests(now_ns):
    """Some hundred requests of the last ten minutes, a few of them failed."""
    for number in range(600):
        tenant = "acme" if number % 3 else "beta"
        units = Units(fed=1 + number % 7, made=1, compute_ns=200_000 + 40_000 * (number % 11))
        status = 500 if number % 97 == 0 else 200
        at_ns = now_ns - number * S
        yield Request(f"r{number:031d}", at_ns, tenant, "k" + tenant, "digits", 2, units, status, 3_000 + number)


def _runs(folder):
    """Four runs of one job, and what they cost."""
    tried = (
        ("", 0.985, 4e-4, 90.0),
        ("prune(0.5)", 0.984, 2e-4, 95.0),
        ("prune(0.5) → quantize(8)", 0.982, 0.8e-4, 97.0),
        ("quantize(4)", 0.95, 1e-4, 92.0),
    )
    with Ledger(folder / "ledger.db") as ledger:
        ledger.keep(load_prices("local"))
        for number, (plan, mean, unit_s, train_s) in enumerate(tried):
            cost = Cost(unit_s, unit_s, unit_s * 20)
            foreseen = Parts(cost * 1.2, Cost(train_s, train_s, 900.0), memory_byte=1e8, disk_byte=4e5)
            measured = RunRecord(
                f"p{number}", "f", "digits", SPEC, Score("accuracy", mean, 0.002, 2000), cost,
                Cost(train_s, train_s, 1000.0), memory_byte=1e8, disk_byte=4e5, predicted=foreseen,
                plan_text=plan or "as asked", sheet="local", artifact="a" * 64,
            )  # fmt: skip
            ledger.record(measured)
            lever = plan.partition("(")[0]
            ledger.append(Entry("s", "digits", Phase.TRAIN, Cost(train_s, train_s, 1000.0), lever=lever, sheet="local"))


@contextlib.asynccontextmanager
async def dashboard(folder, *, keyed=False, open_here=True, **facts):
    """The dashboard of a furnished house and a browser without scripts."""
    store = furnish(folder, **facts)
    with opened(store) as engine:
        keys = {}
        if keyed:
            with engine.begin() as link:
                keys = {"caller": add_key(link, "acme"), "admin": add_key(link, "acme", "admin")}
        guard = Guard(open_here)
        house = Dashboard(Books(engine, folder), guard)
        app = house.app()
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HERE) as client:
            yield SimpleNamespace(**locals())


@contextlib.contextmanager
def shown(folder, **facts):
    """The command itself with a furnished house: its process and its address."""
    words = [sys.executable, "-c", "from pennyweight.cli import main; main()", "ui", "--port", "0"]
    environment = {**os.environ, "PENNYWEIGHT_HOME": str(folder)}
    words += ["--store", furnish(folder, **facts)]
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process, process.stdout.readline().split()[-1]
        finally:
            process.kill()
