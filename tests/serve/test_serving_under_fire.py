"""Real servers, killed at random moments: budgets hold, and what was acknowledged is recorded."""

import asyncio
import os
import time

import pytest
from sqlalchemy import func, select
from warm import run

from bench import serve_budget, serve_ours
from bench.serve_budget import Size, overrun, storm
from bench.serve_ledger import killed, written
from bench.serve_load import Order, load
from bench.serve_ours import PENNYWEIGHT, books, team
from bench.serve_processes import ROOT
from bench.serve_soak import drift, soak
from bench.serve_stores import database
from pennyweight.store.team.opened import opened, reading
from pennyweight.store.team.tables import usage

SMALL = Size(workers=2, callers=16, requests=900, limit_nusd=600_000)
_LIFE = 100  # requests that are answered between two kills, on average


@pytest.fixture(autouse=True)  # ruff: ignore[pytest-fixture-autouse] - every test gives commands before it begins
def _warm(monkeypatch):
    """The commands that make a team begin warm; servers and callers begin as a person's do."""

    def call(folder, store, *words):
        env = {**os.environ, "PENNYWEIGHT_HOME": str(folder / "home")}
        done = run(PENNYWEIGHT[-1], *words, "--store", store, cwd=ROOT, env=env)
        assert done.returncode == 0, done.stderr
        return done.stdout

    monkeypatch.setattr(serve_ours, "call", call)


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request, tmp_path):
    if request.param == "sqlite":
        return str(tmp_path / "team.db")
    return database(str(request.getfixturevalue("postgres")))


def test_no_nano_dollar_is_spent_over_a_budget_while_workers_are_killed(tmp_path, where, monkeypatch):
    def killing(crew, _, over):
        """Kill as `serve_budget` does, but after so many answers and not seconds: a busy machine is slow with both."""
        with opened(where) as engine:

            def rows():
                with reading(engine) as link:
                    return link.execute(select(func.count()).select_from(usage)).scalar_one()

            kills, at = 0, crew.dice.uniform(0, 2 * _LIFE)
            while not over():
                if rows() > at and crew.kill_one():
                    kills, at = kills + 1, at + crew.dice.uniform(0, 2 * _LIFE)
                time.sleep(0.01)
            return kills

    monkeypatch.setattr(serve_budget, "killing", killing)
    seen = storm(tmp_path, where, SMALL)
    assert seen.kills > 0
    assert overrun(seen, SMALL.limit_nusd) == 0
    assert seen.answered <= seen.after.rows
    assert seen.after.nusd == seen.after.spent_nusd
    assert seen.refused > 0
    assert seen.other == 0
    assert seen.after.nusd > 0.9 * SMALL.limit_nusd


def test_what_was_acknowledged_before_a_kill_is_recorded_once(tmp_path):
    seen = killed(tmp_path, 3, pause_s=0.5)
    assert seen.acknowledged > 0
    assert (seen.missing, seen.twice) == (0, 0)
    assert seen.unacknowledged <= seen.lost
    assert seen.recorded == seen.acknowledged + seen.unacknowledged


def test_thousands_that_wait_are_written_together(tmp_path):
    rows_s, _ = asyncio.run(written(tmp_path, 8192))
    assert rows_s > 5000


def test_under_an_even_load_the_store_counts_what_the_client_counts(tmp_path):
    seen = soak(tmp_path, 2.0, slices=4)
    assert seen.answered > 100
    assert (seen.rows, seen.nusd) == (seen.answered, seen.spent_nusd)
    assert (seen.lost, seen.other, seen.whys) == (0, 0, {})


def test_binary_questions_are_answered_like_those_in_json(tmp_path):
    ours = team(tmp_path)
    server = ours.start()
    try:
        told = load(Order(ours.port, ours.question(binary=True), 8, 20.0, count=200))
    finally:
        server.stop()
    assert told["statuses"] == {"200": 200}
    assert told["lost"] == 0
    assert books(ours.store).rows == 201  # one more showed that the server answers


def test_drift_is_that_of_the_last_third_against_the_first():
    assert drift([9.0, *[1.0] * 9, *[1.5] * 9]) == pytest.approx(0.5)
    assert drift([1.0] * 20) == 0
