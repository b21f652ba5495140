"""`pennyweight requests`: the rows that bills are sums of, as a user meets them."""

import csv
import json
import time

from processes import call

from pennyweight.store.team.opened import opened
from pennyweight.store.team.usage import Request, Units, record

DAY_NS = 86_400 * 10**9


def kept(store, count=3):
    """Requests of two tenants, one a day, the newest of them now."""
    now_ns = time.time_ns()
    rows = [
        Request(
            f"r{n}", now_ns - (count - n) * DAY_NS, "acme" if n % 2 else "zeta", "k", "digits", 1,
            Units(3, 1, 1, 2_000_000, 5), 200, 1_500,
        )
        for n in range(1, count + 1)
    ]  # fmt: skip
    with opened(str(store)) as engine, engine.begin() as link:
        record(link, rows)


def test_requests_are_listed_newest_first_and_by_who_asked(tmp_path):
    store = tmp_path / "team.db"
    code, out, err = call(tmp_path, "requests", "--store", store)
    assert (code, out) == (0, "No such request was recorded.\n"), err
    kept(store)
    code, out, _ = call(tmp_path, "requests", "--store", store, "--json")
    found = json.loads(out)
    assert [each["request"] for each in found] == ["r3", "r2", "r1"]
    assert found[0] | {"at": ""} == {
        "request": "r3", "at": "", "tenant": "acme", "key": "k", "model": "digits", "version": 1, "units_in": 3,
        "units_out": 1, "units_cached": 1, "compute_s": 0.002, "joule": 5e-6, "status": 200, "usd": "0.000001500",
    }  # fmt: skip
    code, out, _ = call(tmp_path, "requests", "--store", store, "--tenant", "zeta")
    assert "r2" in out
    assert "r3" not in out
    code, out, _ = call(tmp_path, "requests", "--store", store, "--since", "12h", "--model", "digits", "--json")
    assert [each["request"] for each in json.loads(out)] == ["r3"]
    code, out, _ = call(tmp_path, "requests", "--store", store, "--last", "2", "--json")
    assert len(json.loads(out)) == 2


def test_all_rows_go_to_a_file_that_is_there_whole_or_not_at_all(tmp_path):
    store = tmp_path / "team.db"
    kept(store, 1500)
    code, out, err = call(tmp_path, "requests", "--store", store, "-o", "rows.csv", "--json")
    assert (code, json.loads(out)["requests"]) == (0, 1500), err
    with (tmp_path / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {each["request"] for each in rows} == {f"r{n}" for n in range(1, 1501)}
    code, _, err = call(tmp_path, "requests", "--store", store, "-o", "nowhere/rows.csv")
    assert code == 2
    assert "cannot be read or written" in err
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []
