"""The ledger: what was acknowledged stays, whatever happens, and dollars follow from seconds."""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pennyweight.catalog import PriceSheet
from pennyweight.core import Basis, Bill, Cost, Count, DataSpec, Demand, Form, Kind, Op, Phase, Score, Spec
from pennyweight.cost.price import Parts, price
from pennyweight.errors import BadInputError, CorruptError, PennyweightError
from pennyweight.store import home
from pennyweight.store.ledger import Ledger
from pennyweight.store.records import Entry, RunRecord, parts_of

WRITER = Path(__file__).with_name("writer.py")
SHEET = PriceSheet("local", 0.05, 0.005, 0.1, 0.3, "2026-11-01", "a bill")
SPEC = Spec(Form.MODULE, (Op("fc", Kind.LINEAR, 4, 2, writes="a"),), DataSpec(10, 16.0))
ENTRY = Entry("s1", "digits", Phase.TRAIN, Cost(10.0, 20.0, 30.0), sheet="local", peak_byte=1e9)
FAST = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
FINITE = st.floats(0, 1e12)
COSTS = st.builds(Cost, FINITE, FINITE, FINITE)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
SCORES = st.builds(Score, TEXT, st.floats(allow_nan=False), FINITE, st.integers(0, 10**6))
NOTES = st.dictionaries(TEXT, st.none() | st.booleans() | st.integers(-(2**60), 2**60) | TEXT, max_size=3)
PARTS = st.builds(Parts, COSTS, COSTS, COSTS, FINITE, st.none() | FINITE, FINITE, FINITE)
ENTRIES = st.builds(
    Entry,
    TEXT,
    TEXT,
    st.sampled_from(Phase),
    COSTS,
    *[TEXT] * 4,
    st.sampled_from(Basis),
    TEXT,
    FINITE,
    st.none() | st.builds(Count, FINITE, FINITE, FINITE, FINITE),
    TEXT,
    NOTES,
)
RECORDS = st.builds(
    RunRecord,
    TEXT,
    TEXT,
    TEXT,
    st.just(SPEC),
    SCORES,
    COSTS,
    COSTS,
    COSTS,
    FINITE,
    FINITE,
    st.none() | FINITE,
    FINITE,
    st.none() | PARTS,
    TEXT,
    st.floats(0.01, 1),
    st.integers(-(2**62), 2**62),
    st.lists(SCORES, max_size=3).map(tuple),
    *[TEXT] * 3,
    NOTES,
)


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path / "deep" / "ledger.db") as opened:
        yield opened


def test_home_is_where_the_environment_says_or_here(monkeypatch, tmp_path):
    monkeypatch.setenv("PENNYWEIGHT_HOME", str(tmp_path))
    assert home() == tmp_path
    monkeypatch.delenv("PENNYWEIGHT_HOME")
    assert home() == Path(".pennyweight")


@FAST
@given(ENTRIES)
def test_an_entry_is_read_back_as_it_was_written(tmp_path, entry):
    with Ledger(tmp_path / "ledger.db") as ledger:
        number = ledger.append(entry)
        found = ledger.entries()[-1]
    assert found.id == number
    assert found.at_utc.endswith("+00:00")
    assert replace(found, id=None, at_utc="") == entry


@FAST
@given(RECORDS)
def test_a_run_is_read_back_as_it_was_written(tmp_path, record):
    with Ledger(tmp_path / "ledger.db") as ledger:
        number = ledger.record(record)
        found = ledger.find(record.fingerprint, record.plan_key)
    assert found is not None
    assert found.id == number
    assert replace(found, id=None, at_utc="") == record


def test_the_latest_record_of_a_plan_is_found_and_no_other(ledger):
    record = RunRecord("plan", "job", "digits", SPEC, Score("accuracy", 0.9, 0.01, 100), Cost(1e-3))
    ledger.record(record)
    ledger.record(replace(record, artifact="newer"))
    ledger.record(replace(record, plan_key="other", job="cancer"))
    assert ledger.find("job", "plan").artifact == "newer"
    assert ledger.find("job", "nothing") is None
    assert ledger.find("plan", "job") is None
    assert [run.plan_key for run in ledger.runs()] == ["plan", "plan", "other"]
    assert [run.plan_key for run in ledger.runs("cancer")] == ["other"]


def test_a_record_gives_its_bill_for_any_demand_and_price(ledger):
    record = RunRecord(
        "plan", "job", "digits", SPEC, Score("accuracy", 0.9, 0.01, 100), Cost(1e-3, usd=99.0), Cost(3600.0),
        memory_byte=1e9, disk_byte=1e9, error=0.1, predicted=Parts(Cost(2e-3), memory_byte=1e9),
    )  # fmt: skip
    ledger.record(record)
    found = ledger.find("job", "plan")
    bill = found.bill(Demand(3.6e6, days=30), SHEET)
    assert bill.basis is Basis.MEASURED
    assert bill.error == pytest.approx(0.1)
    assert bill.line(Phase.TRAIN).usd == pytest.approx(0.055)
    assert bill.line(Phase.SERVE).usd == pytest.approx(0.055)
    assert bill.line(Phase.STORE).usd == pytest.approx(0.1)
    foreseen = found.foreseen(Demand(3.6e6, days=30), SHEET)
    assert foreseen.basis is Basis.PREDICTED
    assert foreseen.usd == pytest.approx(0.11)
    assert replace(found, predicted=None).foreseen(Demand(), SHEET) is None


def test_a_predicted_bill_is_taken_apart_and_put_together_again():
    parts = Parts(Cost(1e-3, 1e-3, 2.0), Cost(60.0, 60.0, 5.0), Cost(6.0, 6.0, 1.0), 1e9, None, 1e6, 0.2)
    record = RunRecord("p", "j", "digits", SPEC, Score("accuracy", 1, 0, 1), Cost(), predicted=parts)
    bill = record.foreseen(Demand(1000), SHEET)
    again = replace(record, predicted=parts_of(bill, 1e9, 1e6)).foreseen(Demand(1000), SHEET)
    assert again == bill


def test_the_newest_runs_and_one_run_are_found_without_reading_all(ledger):
    for plan in "abc":
        ledger.record(RunRecord(plan, "j", "digits", SPEC, Score("accuracy", 1, 0, 1), Cost()))
    assert [run.plan_key for run in ledger.latest(2)] == ["c", "b"]
    assert ledger.latest(9) == ledger.runs()[::-1]
    assert ledger.run(2) == ledger.runs()[1]
    assert ledger.run(4) is None


def test_no_dollars_are_on_the_disk(ledger):
    ledger.append(replace(ENTRY, cost=Cost(1, 2, 3, usd=123456.0)))
    parts = Parts(Cost(usd=123456.0), Cost(usd=123456.0), Cost(usd=123456.0))
    score = Score("accuracy", 0.9, 0.01, 100)
    ledger.record(RunRecord("p", "j", "digits", SPEC, score, *[Cost(usd=123456.0)] * 3, predicted=parts))
    with sqlite3.connect(ledger.path) as link:
        dump = "\n".join(link.iterdump())
    link.close()
    assert "123456" not in dump
    assert ledger.entries()[0].cost == Cost(1, 2, 3)


def test_a_corrected_price_changes_what_was_spent_and_no_entry(ledger):
    ledger.append(ENTRY)
    before = ledger.entries()
    ledger.keep(SHEET)
    ledger.keep(SHEET)
    assert ledger.spent()[0].cost == price(ENTRY.cost, 1e9, SHEET)
    corrected = replace(SHEET, core_hour_usd=5.0)
    ledger.keep(corrected)
    assert ledger.sheets == {"local": corrected}
    assert ledger.spent()[0].cost == price(ENTRY.cost, 1e9, corrected)
    assert ledger.entries() == before


def test_what_was_spent_is_summed_by_job_phase_lever_and_day(ledger):
    ledger.keep(SHEET)
    ledger.append(replace(ENTRY, at_utc="2026-11-01T10:00:00.000+00:00"))
    ledger.append(replace(ENTRY, lever="prune", phase=Phase.COMPRESS, at_utc="2026-11-02T00:00:00.000+00:00"))
    ledger.append(replace(ENTRY, job="cancer", cost=Cost(1.0), sheet="lost", at_utc="2026-11-02T01:00:00.000+00:00"))
    ledger.append(replace(ENTRY, basis=Basis.PREDICTED, cost=Cost(1e6)))
    once = price(ENTRY.cost, 1e9, SHEET)
    assert [(row.key, row.cost, row.entries, row.unpriced) for row in ledger.spent("job")] == [
        ("digits", once + once, 2, 0),
        ("cancer", Cost(1.0), 1, 1),
    ]
    assert {row.key: row.entries for row in ledger.spent("phase")} == {"train": 2, "compress": 1}
    assert {row.key: row.entries for row in ledger.spent("lever")} == {"": 2, "prune": 1}
    assert [(row.key, row.entries) for row in ledger.spent("day")] == [("2026-11-01", 1), ("2026-11-02", 2)]
    assert ledger.spent("part") == []
    for part, wall_s in (("forward", 1.0), ("backward", 2.0), ("forward", 3.0)):
        ledger.append(replace(ENTRY, cost=Cost(1.0, wall_s, 1.0), note={"part": part}))
    rows = {row.key: (row.entries, row.cost.wall_s, row.cost.joule) for row in ledger.spent("part")}
    assert rows == {"forward": (2, 4.0, 2.0), "backward": (1, 2.0, 1.0)}
    assert all(row.cost.usd > 0 for row in ledger.spent("part")) == bool(ledger.sheets)


def test_entries_are_narrowed_by_what_is_given(ledger):
    ledger.append(ENTRY)
    ledger.append(replace(ENTRY, session="s2", phase=Phase.FIND, basis=Basis.PREDICTED))
    ledger.append(replace(ENTRY, job="cancer"))
    assert len(ledger.entries()) == len(list(ledger)) == 3
    assert len(ledger.entries("digits")) == 2
    assert len(ledger.entries(session="s2")) == 1
    assert len(ledger.entries(phase=Phase.TRAIN)) == 2
    assert len(ledger.entries("digits", basis=Basis.MEASURED)) == 1


@pytest.mark.parametrize("table", ["entry", "run", "sheet"])
@pytest.mark.parametrize(
    "sql", ["UPDATE {t} SET at_utc = 'x'", "DELETE FROM {t}", "REPLACE INTO {t} SELECT * FROM {t}"]
)
def test_the_database_itself_refuses_to_change_or_delete(ledger, table, sql):
    ledger.append(ENTRY)
    ledger.record(RunRecord("p", "j", "digits", SPEC, Score("accuracy", 0.9, 0.01, 100), Cost()))
    ledger.keep(SHEET)
    link = sqlite3.connect(ledger.path)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        link.execute(sql.format(t=table))
    link.close()
    assert len(ledger.entries()) == len(ledger.runs()) == len(ledger.sheets) == 1


def test_what_no_measurement_can_be_is_refused(ledger):
    for bad in (Cost(wall_s=-1.0), Cost(joule=float("nan")), Cost(device_s=float("inf"))):
        with pytest.raises(BadInputError, match="cannot hold a cost"):
            replace(ENTRY, cost=bad)
        with pytest.raises(BadInputError, match="cannot hold a cost"):
            RunRecord("p", "j", "digits", SPEC, Score("accuracy", 0.9, 0.01, 100), Cost(), tune=bad)
    with pytest.raises(BadInputError, match="cannot hold this"):
        ledger.append(replace(ENTRY, job="\udcff"))
    with pytest.raises(BadInputError, match="cannot be kept as JSON"):
        ledger.append(replace(ENTRY, note={"model": object()}))
    with pytest.raises(BadInputError, match="cannot hold this"):
        ledger.record(RunRecord("p", "j", "digits", SPEC, Score("a", 0, 0, 1), Cost(), seed=2**70))
    assert ledger.entries() == ledger.runs() == []


def _kill(path, rounds):
    said = []
    for number in range(rounds):
        command = [sys.executable, str(WRITER), "entries", str(path), f"s{number}"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        said.append(process.stdout.readline())
        time.sleep(0.03 * (1 + number / rounds))
        os.kill(process.pid, signal.SIGKILL)
        said += process.stdout.readlines()
        process.stdout.close()
        process.wait()
    return [line.split() for line in said if line.endswith("\n")]


def test_what_was_acknowledged_survives_a_kill_at_any_moment(tmp_path):
    path = tmp_path / "ledger.db"
    said = _kill(path, rounds=6)
    with Ledger(path) as ledger:
        ledger.check()
        found = {(entry.session, entry.note["number"]) for entry in ledger}
    assert len(said) >= 6
    assert {(session, int(number)) for session, number in said} <= found
    assert len(found) <= len(said) + 6


def test_many_processes_append_at_once_and_nothing_is_lost(tmp_path):
    path = tmp_path / "new" / "ledger.db"  # that none of them has made yet
    environment = os.environ | {"COUNT": "40"}
    commands = [[sys.executable, str(WRITER), "entries", str(path), f"s{number}"] for number in range(4)]
    writers = [subprocess.Popen(each, stdout=subprocess.DEVNULL, env=environment) for each in commands]
    assert [writer.wait() for writer in writers] == [0] * 4
    with Ledger(path) as ledger:
        found = sorted((entry.session, entry.note["number"]) for entry in ledger)
    assert found == [(f"s{number}", count) for number in range(4) for count in range(40)]


def _open_at_once(path, gate, answers):
    gate.wait()
    try:
        with Ledger(path) as ledger:
            ledger.runs()
    except PennyweightError as error:
        answers.put(str(error))
    else:
        answers.put("")


def test_processes_that_make_a_ledger_at_the_same_moment_all_get_it(tmp_path):
    context, said = multiprocessing.get_context("fork"), []
    for number in range(30):  # each time a few in a hundred once took a half-made file for another program's
        gate, answers = context.Barrier(6), context.Queue()
        arguments = (tmp_path / f"{number}.db", gate, answers)
        processes = [context.Process(target=_open_at_once, args=arguments) for _ in range(6)]
        for process in processes:
            process.start()
        said += [answers.get() for _ in processes]
        for process in processes:
            process.join()
    assert said == [""] * 180


def test_threads_and_forked_children_share_a_ledger(ledger):
    threads = [threading.Thread(target=lambda: [ledger.append(ENTRY) for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    child = multiprocessing.get_context("fork").Process(target=ledger.append, args=(replace(ENTRY, session="child"),))
    child.start()
    child.join()
    assert child.exitcode == 0
    ledger.append(ENTRY)
    assert [entry.session for entry in ledger] == ["s1"] * 80 + ["child", "s1"]


def test_a_file_that_is_no_ledger_is_refused_and_left_alone(tmp_path):
    (tmp_path / "text").write_text("Dear diary" * 1000)
    foreign = sqlite3.connect(tmp_path / "foreign.db")
    foreign.execute("CREATE TABLE address (name)")
    foreign.commit()
    foreign.close()
    for name, says in (("text", "damaged or no ledger"), ("foreign.db", "of another program")):
        before = (tmp_path / name).read_bytes()
        with pytest.raises(CorruptError, match=says) as error:
            Ledger(tmp_path / name)
        assert "move it away" in error.value.fix
        assert (tmp_path / name).read_bytes() == before


def test_a_ledger_of_another_version_is_refused(tmp_path):
    Ledger(tmp_path / "ledger.db").close()
    link = sqlite3.connect(tmp_path / "ledger.db")
    link.execute("PRAGMA user_version = 99")
    link.close()
    with pytest.raises(BadInputError, match="of version 99") as error:
        Ledger(tmp_path / "ledger.db")
    assert "newest" in error.value.fix


@FAST
@given(where=st.floats(0, 1, exclude_max=True), size=st.integers(1, 4096), value=st.integers(0, 255))
def test_a_damaged_ledger_is_a_sentence_or_still_reads_right(tmp_path, where, size, value):
    good = tmp_path / "good.db"
    if not good.exists():
        with Ledger(good) as ledger:
            for number in range(20):
                ledger.append(replace(ENTRY, note={"number": number}))
    bad = tmp_path / "bad.db"
    body = bytearray(good.read_bytes())
    start = int(where * len(body))
    body[start : start + size] = bytes([value]) * len(body[start : start + size])
    bad.write_bytes(body)
    for path in tmp_path.glob("bad.db-*"):
        path.unlink()
    try:
        with Ledger(bad) as ledger:
            ledger.check()
            found = [entry.note["number"] for entry in ledger]
    except PennyweightError:
        return
    assert found == list(range(20))


def test_a_digit_changed_on_the_disk_is_found(tmp_path):
    path = tmp_path / "ledger.db"
    with Ledger(path) as ledger:
        ledger.append(replace(ENTRY, note={"number": 7777777}))
    path.write_bytes(path.read_bytes().replace(b"7777777", b"7777778"))
    with Ledger(path) as ledger:
        for read in (ledger.entries, ledger.spent, ledger.check):
            with pytest.raises(CorruptError, match=r"Row 1 of .* has changed"):
                read()


def test_a_place_that_can_hold_no_file_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file" / "ledger.db", tmp_path, Path("/proc/pennyweight/ledger.db")):
        with pytest.raises(PennyweightError) as error:
            Ledger(path)
        assert "PENNYWEIGHT_HOME" in error.value.fix


def test_a_writer_that_never_finishes_is_a_sentence(ledger, monkeypatch):
    other = sqlite3.connect(ledger.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    ledger._open().execute("PRAGMA busy_timeout = 10")
    with pytest.raises(PennyweightError, match="being written by another process") as error:
        ledger.append(ENTRY)
    assert "stop it" in error.value.fix
    assert ledger.entries() == []
    other.execute("ROLLBACK")
    other.close()
    assert ledger.append(ENTRY) == 1


FILL = """
import sys
from pennyweight.core import Cost, Phase
from pennyweight.errors import PennyweightError
from pennyweight.store.ledger import Ledger
from pennyweight.store.records import Entry
with Ledger(sys.argv[1]) as ledger:
    said = 0
    try:
        while True:
            ledger.append(Entry("s", "job", Phase.TRAIN, Cost(), note={"text": "x" * 50_000}))
            said += 1
    except PennyweightError as error:
        print(error.problem, "|", error.fix)
    assert said == len(ledger.entries()) > 0, said
"""


def _check_full(done):
    assert done.returncode == 0, done.stderr
    assert "full or failing" in done.stdout
    assert "free space" in done.stdout


def test_a_full_disk_is_a_sentence_and_loses_nothing(tmp_path):
    unshare = shutil.which("unshare")
    disk = tmp_path / "disk"
    disk.mkdir()
    inside = f'mount -t tmpfs -o size=1m tmpfs "{disk}" && exec "$@"'
    command = [unshare or "", "--user", "--map-root-user", "--mount", "sh", "-c", inside, "sh"]
    if not unshare or subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no small disk can be mounted here")
    script = [sys.executable, "-W", "error", "-c", FILL, str(disk / "ledger.db")]
    _check_full(subprocess.run([*command, *script], capture_output=True, text=True, check=False))


def test_a_file_size_limit_is_a_sentence_and_loses_nothing(tmp_path):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    script = [sys.executable, "-W", "error", "-c", FILL, str(tmp_path / "ledger.db")]
    _check_full(subprocess.run(script, capture_output=True, text=True, check=False, preexec_fn=limit))


def test_a_read_only_disk_is_a_sentence(tmp_path):
    unshare = shutil.which("unshare")
    Ledger(tmp_path / "ledger.db").close()
    inside = f'mount --bind "{tmp_path}" "{tmp_path}" && mount -o remount,bind,ro "{tmp_path}" && exec "$@"'
    command = [unshare or "", "--user", "--map-root-user", "--mount", "sh", "-c", inside, "sh"]
    if not unshare or subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    code = "import sys; from pennyweight.store.ledger import Ledger; Ledger(sys.argv[1]).keep(None)"
    script = [sys.executable, "-c", code, str(tmp_path / "ledger.db")]
    done = subprocess.run([*command, *script], capture_output=True, text=True, check=False)
    assert "cannot be opened or written" in done.stderr
    assert "To fix: change its permissions" in done.stderr


def test_bills_of_records_are_of_one_basis_each():
    record = RunRecord("p", "j", "digits", SPEC, Score("accuracy", 1, 0, 1), Cost(), predicted=Parts(Cost()))
    with pytest.raises(BadInputError, match="cannot be compared"):
        _ = record.bill(Demand(), SHEET) < record.foreseen(Demand(), SHEET)
    assert Bill(Basis.MEASURED).usd == 0
