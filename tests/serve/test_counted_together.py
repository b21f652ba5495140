"""Whichever process of a server is asked, its metrics are the sums over all of them, also over one that died."""

import os
import re
import signal
import stat
from pathlib import Path

import httpx
import psutil
import pytest
from multiples import asked, filled, until
from processes import start
from prometheus_client.parser import text_string_to_metric_families

from pennyweight.serve import counters
from pennyweight.serve.counters import OTHERS, SIZE_BYTE, Counters, files
from pennyweight.store.team.usage import Request, Units

INFER = "/v2/models/times/infer"
LABELS = (("model", "times"), ("tenant", "local"), ("version", "1"))


def paid(n, tenant="acme"):
    return Request(f"r{n}", 1, tenant, "k", "digits", 1, Units(2, 1), 200, 5)


def test_what_processes_count_in_their_files_is_added_up_and_outlives_them():
    with files(2) as (first, second):
        one, other = Counters.at(first), Counters.at(second)
        for n in range(3):
            one.wrote(paid(n))
            one.replied(200, 0.001)
        other.wrote(paid(4))
        other.wrote(paid(5, "beta"))
        other.replied(429, 20.0)
        other.watched(failed=1, missed=7)
        assert one.total() == other.total()
        found = one.total()
        assert found.replies == {200: 3, 429: 1}
        assert {who: (each.requests, each.fed, each.cost_nusd) for who, each in found.paid.items()} == {
            ("acme", "digits", 1): (4, 8, 20),
            ("beta", "digits", 1): (1, 2, 5),
        }
        assert (found.failed, found.missed, found.buckets[-1]) == (1, 7, 1)
        after = Counters.at(first)  # who takes the place of one that died
        after.wrote(paid(6))
        assert other.total().paid["acme", "digits", 1].requests == 5
        assert sum(each.requests for each in one.sums().paid.values()) == 4


def test_the_files_are_for_their_owner_alone_and_gone_afterwards():
    with files(2) as found:
        for each in map(Path, found):
            assert stat.S_IMODE(each.stat().st_mode) == 0o600
            assert stat.S_IMODE(each.parent.stat().st_mode) == 0o700
            assert each.stat().st_blocks * 512 >= SIZE_BYTE
    assert not Path(found[0]).parent.exists()


def test_more_tenants_than_places_are_counted_together(monkeypatch):
    monkeypatch.setattr(counters, "MOST", 5)
    few = Counters()
    for n in range(20):
        few.wrote(paid(n, f"t{n % 10}"))
    found = few.sums().paid
    assert len(found) == 5
    assert found[OTHERS].requests == 12
    assert sum(each.requests for each in found.values()) == 20


@pytest.fixture
def crew(tmp_path):
    """Two processes that serve "times", and where."""
    filled(tmp_path / "team.db", tmp_path)
    server = start(
        tmp_path, "serve", "times", "--port", "0", "--workers", "2", "--store", str(tmp_path / "team.db"),
        env={"TMPDIR": str(tmp_path)},
    )  # fmt: skip
    said = server.stdout.readline()
    found = re.search(r"http://127\.0\.0\.1:\d+", said)
    assert found, (said, *server.communicate(timeout=120))
    yield server, found[0]
    server.send_signal(signal.SIGTERM)
    _, err = server.communicate(timeout=120)
    assert (server.returncode, err) == (0, "")
    assert not list(tmp_path.glob("pennyweight-*"))


def scraped(address):
    """All samples, by name and labels, from whichever process takes a new connection."""
    reply = httpx.get(f"{address}/metrics", timeout=120)
    families = text_string_to_metric_families(reply.text)
    return {(each.name, *sorted(each.labels.items())): each.value for family in families for each in family.samples}


def test_a_scrape_of_any_process_tells_what_all_have_done_and_goes_on_when_one_dies(crew):
    server, address = crew
    for _ in range(60):  # each on a connection of its own, so that both processes answer
        assert httpx.post(address + INFER, json=asked(), timeout=120).status_code == 200
    told = [scraped(address) for _ in range(10)]
    assert {each["pennyweight_requests_total", *LABELS] for each in told} == {60}
    assert {each["pennyweight_processes",] for each in told} == {2}
    assert [each["pennyweight_replies_total", ("code", "200")] for each in told] == list(range(60, 70))
    until(lambda: scraped(address)["pennyweight_batch_rows_sum", ("model", "times"), ("version", "1")] == 120)
    assert scraped(address)["pennyweight_version_served", ("model", "times"), ("version", "1")] == 2

    (victim, *_) = psutil.Process(server.pid).children()
    os.kill(victim.pid, signal.SIGKILL)
    until(
        lambda: len(psutil.Process(server.pid).children()) == 2 and victim not in psutil.Process(server.pid).children()
    )
    until(lambda: scraped(address)["pennyweight_processes",] == 2)
    for _ in range(20):
        assert httpx.post(address + INFER, json=asked(), timeout=120).status_code == 200
    assert {scraped(address)["pennyweight_requests_total", *LABELS] for _ in range(10)} == {80}
    assert scraped(address)["pennyweight_cost_nanodollars_total", *LABELS] == 80_000
