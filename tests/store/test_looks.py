"""The ledger remembers every look at a certify split, for good and in order."""

import sqlite3
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pennyweight.core import Cost, Floor, Look, Phase, Score, Slack
from pennyweight.errors import CorruptError
from pennyweight.store.database import Schema, connect
from pennyweight.store.ledger import Ledger
from pennyweight.store.records import Entry
from pennyweight.store.schema import LEDGER

FAST = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SHARE = st.floats(0, 1)
NAMES = st.lists(st.text("0123456789abcdef", min_size=1, max_size=8), max_size=3).map(tuple)
FLOORS = st.builds(Floor, st.just("accuracy"), SHARE, st.sampled_from(Slack), st.floats(0.6, 0.99))
SCORES = st.lists(st.builds(Score, st.just("accuracy"), SHARE, SHARE, st.integers(1, 9999)), max_size=3).map(tuple)
PLAIN = st.builds(
    Look,
    number=st.just(1),
    floor=FLOORS,
    control=st.text(max_size=8),
    runs=NAMES,
    aside=NAMES,
    level=SHARE,
    p_values=st.lists(SHARE, max_size=3).map(tuple),
    scores=SCORES,
    test=st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    n=st.integers(0, 10**9),
    needed=st.none() | st.integers(1, 10**9),
)
LOOK = Look(1, Floor("accuracy", 0.01), "control", ("a", "b"), ("c",), 0.045, (0.01, 0.2), (), "exact", 500, 900)


def keep(ledger, look, fingerprint="job", session="s1"):
    return ledger.look(look, job="digits", fingerprint=fingerprint, session=session)


@FAST
@given(PLAIN)
def test_a_look_is_read_back_as_it_was_written(tmp_path, look):
    fingerprint = str(len(list(tmp_path.iterdir())))
    with Ledger(tmp_path / f"{fingerprint}.db") as ledger:
        assert keep(ledger, look)
        assert ledger.looks("job") == (look,)


def test_looks_are_kept_by_job_in_the_order_of_their_numbers(tmp_path):
    with Ledger(tmp_path / "ledger.db") as ledger:
        for number in (1, 2, 3):
            assert keep(ledger, replace(LOOK, number=number, n=number))
        assert keep(ledger, LOOK, fingerprint="another")
        assert [look.n for look in ledger.looks("job")] == [1, 2, 3]
        assert ledger.looks("another") == (LOOK,)
        assert ledger.looks("nobody") == ()


def test_of_two_that_looked_at_the_same_time_one_is_kept_and_the_other_told(tmp_path):
    with Ledger(tmp_path / "ledger.db") as one, Ledger(tmp_path / "ledger.db") as other:
        assert keep(one, LOOK, session="s1")
        assert not keep(other, replace(LOOK, n=7), session="s2")
        assert other.looks("job") == (LOOK,)


@pytest.mark.parametrize(
    "sql", ["UPDATE look SET body = 'x'", "DELETE FROM look", "REPLACE INTO look SELECT * FROM look"]
)
def test_the_database_itself_refuses_to_forget_a_look(tmp_path, sql):
    with Ledger(tmp_path / "ledger.db") as ledger:
        keep(ledger, LOOK)
        link = sqlite3.connect(ledger.path)
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            link.execute(sql)
        link.close()
        assert ledger.looks("job") == (LOOK,)


def test_a_look_that_was_tampered_with_is_found(tmp_path):
    path = tmp_path / "ledger.db"
    with Ledger(path) as ledger:
        keep(ledger, replace(LOOK, n=7777777))
    path.write_bytes(path.read_bytes().replace(b"7777777", b"7777778"))
    with Ledger(path) as ledger:
        for read in (ledger.check, lambda: ledger.looks("job")):
            with pytest.raises(CorruptError, match="has changed"):
                read()


def test_a_ledger_from_before_looks_were_kept_gains_them_and_loses_nothing(tmp_path):
    path = tmp_path / "ledger.db"
    link = connect(path, Schema(LEDGER.steps[:1], LEDGER.mark))
    link.execute("INSERT INTO sheet (at_utc, name, body, seal) VALUES ('', '', '', '')")
    assert link.execute("SELECT count(*) FROM sqlite_master WHERE name = 'look'").fetchone()[0] == 0
    link.close()
    with Ledger(path) as ledger:
        ledger.append(Entry("s", "job", Phase.TRAIN, Cost()))
        assert keep(ledger, LOOK)
        assert ledger.looks("job") == (LOOK,)
    link = sqlite3.connect(path)
    assert link.execute("SELECT count(*) FROM sheet").fetchone()[0] == 1
    assert link.execute("PRAGMA user_version").fetchone()[0] == len(LEDGER.steps)
    link.close()


def test_many_may_gain_them_at_the_same_time(tmp_path):
    path = tmp_path / "ledger.db"
    connect(path, Schema(LEDGER.steps[:1], LEDGER.mark)).close()
    code = "import sys; from pennyweight.store.ledger import Ledger; Ledger(sys.argv[1]).check()"
    several = [subprocess.Popen([sys.executable, "-c", code, str(path)]) for _ in range(4)]
    assert [process.wait() for process in several] == [0] * 4


def test_bytes_that_are_no_text_are_a_damaged_ledger(tmp_path):
    path = tmp_path / "ledger.db"
    with Ledger(path) as ledger:
        keep(ledger, replace(LOOK, test="exactly so"))
    path.write_bytes(path.read_bytes().replace(b"exactly so", b"\xff" * 10))
    with Ledger(path) as ledger, pytest.raises(CorruptError, match="damaged") as error:
        ledger.looks("job")
    assert "\\xff" not in str(error.value)
    assert len(str(error.value)) < 400
