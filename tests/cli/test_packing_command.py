import json
import os

import numpy as np
import pytest
from warm import run

TABLE = "rooms,area,kind,price\n" + "".join(f"{n % 5},{n * 1.25},flat,{100 + n}\n" for n in range(1, 300))


@pytest.fixture
def table(tmp_path):
    """A CSV file of 299 rows."""
    path = tmp_path / "houses.csv"
    path.write_text(TABLE)
    return path


def pennyweight(folder, *words):
    environment = {**os.environ, "PENNYWEIGHT_HOME": str(folder / "home")}
    return run("from pennyweight.cli import main; main()", *words, cwd=folder, env=environment)


def test_a_table_goes_through_packing_and_back(tmp_path, table):
    done = pennyweight(tmp_path, "pack", table, "-o", "houses", "--target", "price", "--shard", "2KB")
    assert done.returncode == 0, done.stderr
    assert "times" in done.stdout
    assert pennyweight(tmp_path, "unpack", "houses", "--check").returncode == 0
    assert pennyweight(tmp_path, "unpack", "houses", "-o", "back.csv").returncode == 0
    assert (tmp_path / "back.csv").read_text() == TABLE


def test_its_facts_are_one_json_object(tmp_path, table):
    facts = json.loads(pennyweight(tmp_path, "pack", table, "-o", "h", "--json", "--drop", "kind").stdout)
    assert facts["parts"] == {"rows": {"rows": 299, "shards": 1}}
    assert [column["name"] for column in facts["columns"]] == ["rooms", "area", "price"]
    assert 0 < facts["byte"] < facts["raw_byte"]


def test_a_damaged_shard_is_named_with_exit_code_5(tmp_path, table):
    pennyweight(tmp_path, "pack", table, "-o", "h")
    shard = tmp_path / "h" / "rows-00000.parquet"
    shard.write_bytes(shard.read_bytes()[:-2])
    done = pennyweight(tmp_path, "unpack", "h", "--check")
    assert done.returncode == 5
    assert shard.name in done.stderr


def test_arrays_and_text_are_written_as_what_they_were(tmp_path):
    x, y = np.random.default_rng(0).integers(0, 9, (40, 3, 3)), np.arange(40) % 2
    np.savez(tmp_path / "a.npz", x=x, y=y)
    assert pennyweight(tmp_path, "pack", "a.npz", "-o", "a").returncode == 0
    assert pennyweight(tmp_path, "unpack", "a", "-o", "b.npz").returncode == 0
    with np.load(tmp_path / "b.npz") as found:
        assert np.array_equal(found["x"], x)
    (tmp_path / "t.txt").write_text("to be or not to be\n" * 20)
    assert pennyweight(tmp_path, "pack", "t.txt", "-o", "t").returncode == 0
    assert pennyweight(tmp_path, "unpack", "t", "-o", "u.txt").returncode == 0
    assert (tmp_path / "u.txt").read_text() == "to be or not to be\n" * 20


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("pack", "gone.csv", "-o", "h"), "There is no gone.csv"),
        (("pack", "houses.csv", "-o", "h", "--codec", "zip"), "no codec named 'zip'"),
        (("pack", "houses.csv", "-o", "h", "--shard", "some"), "is not a size"),
        (("pack", "houses.csv", "-o", "h", "--target", "cost"), "no column 'cost'"),
        (("pack", "houses.csv", "-o", "nosuch://h"), "cannot be opened"),
        (("unpack", "h"), "no packed data"),
    ],
)
def test_bad_words_are_answered_with_exit_code_2(tmp_path, table, words, said):
    done = pennyweight(tmp_path, *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert "To fix:" in done.stderr
    assert "Traceback" not in done.stderr
