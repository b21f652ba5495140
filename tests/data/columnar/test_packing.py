import json
import resource
import secrets
import signal
from contextlib import contextmanager
from hashlib import sha256

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pennyweight.data.columnar import Column, Packed, Packing, Rows, Shard, pack, pack_splits
from pennyweight.data.columnar.manifest import Manifest, Part
from pennyweight.data.splits import split
from pennyweight.errors import BadInputError, CorruptError, StorageError, UnknownNameError

SMALL = Packing(shard_byte=4000)


@pytest.fixture(params=["path", "file", "memory"])
def somewhere(request, tmp_path):
    """A new place of every kind."""
    places = {"path": str(tmp_path / "p"), "file": f"file://{tmp_path}/p", "memory": f"memory://{secrets.token_hex(8)}"}
    return places[request.param]


def rows(n=500):
    rng = np.random.default_rng(0)
    return {"x": rng.integers(0, 256, (n, 6, 6)).astype(np.float32) / 255, "y": rng.integers(0, 9, n)}


def equal(one, other):
    return list(one) == list(other) and all(one[key].tobytes() == other[key].tobytes() for key in one)


@contextmanager
def files_of_at_most(byte):
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (byte, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_splits_come_back_bit_for_bit_from_any_place(somewhere):
    given = rows()
    parts = split(given["x"], given["y"])
    made = pack_splits(parts, somewhere, SMALL)
    found = Packed.at(somewhere).splits()
    assert sum(len(part.shards) for part in made.parts.values()) > 3
    for name in ("train", "select", "certify"):
        one, other = getattr(parts, name), getattr(found, name)
        assert one.x.tobytes() == other.x.tobytes()
        assert one.y.tobytes() == other.y.tobytes()
    assert Packed.at(somewhere).check() == ()


def test_parts_whose_values_differ_in_range_share_one_column(tmp_path):
    given = {"a": {"v": np.array([1, 2])}, "b": {"v": np.array([-70_000, 3])}}
    pack(given, tmp_path / "p")
    assert all(equal(Packed.at(tmp_path / "p").arrays(name), given[name]) for name in given)


def test_parts_of_other_types_are_refused(tmp_path):
    with pytest.raises(BadInputError, match=r"'v' changes type: int64 .* then float64"):
        pack({"a": {"v": np.array([1, 2])}, "b": {"v": np.array([0.1])}}, tmp_path)


def test_text_and_numbers_share_a_table(tmp_path):
    given = {"name": np.array(["flat", "", "häuser"]), "rooms": np.array([3, 1, 2]), "area": np.array([1.5, np.nan, 3])}
    pack({"rows": given}, tmp_path / "p")
    assert equal(Packed.at(tmp_path / "p").arrays("rows"), given)


def test_what_is_packed_is_parquet_for_everybody_else(tmp_path):
    given = rows(20)
    pack({"train": given}, tmp_path)
    table = pq.read_table(tmp_path / "train-00000.parquet")
    assert table.column("y").to_pylist() == given["y"].tolist()


def test_a_packing_that_was_cut_off_goes_on_and_ends_the_same(tmp_path):
    given, calls = rows(), []

    def failing(start, stop):
        calls.append(start)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return {name: each[start:stop] for name, each in given.items()}

    whole = Rows.of(given)
    with pytest.raises(KeyboardInterrupt):
        pack({"train": Rows(whole.count, whole.columns, failing)}, tmp_path / "p", SMALL)
    with pytest.raises(BadInputError, match="not packed to the end"):
        Packed.at(tmp_path / "p")
    first = tmp_path / "p" / "train-00000.parquet"
    before = first.stat().st_mtime_ns
    made = pack({"train": given}, tmp_path / "p", SMALL)
    assert first.stat().st_mtime_ns == before
    assert made.fingerprint == pack({"train": given}, tmp_path / "other", SMALL).fingerprint
    assert sorted(each.name for each in (tmp_path / "p").iterdir()) == sorted(
        ["manifest.json", *(shard.name for shard in made.parts["train"].shards)]
    )


def test_other_rows_are_not_taken_for_those_packed_before(tmp_path):
    first, other = rows(), rows()
    other["x"] = other["x"][::-1].copy()
    columns = Rows.of(first).columns

    def none_after_one(start, stop):
        if start:
            raise KeyboardInterrupt
        return {name: each[start:stop] for name, each in first.items()}

    with pytest.raises(KeyboardInterrupt):
        pack({"train": Rows(500, columns, none_after_one)}, tmp_path, SMALL)
    pack({"train": other}, tmp_path, SMALL)
    assert equal(Packed.at(tmp_path).arrays("train"), other)


def test_a_full_disk_leaves_nothing_half_written_and_the_rest_is_written_later(tmp_path):
    noise = {"x": np.random.default_rng(0).normal(size=(400, 30))}
    pack({"train": {"x": noise["x"][:10]}, "more": noise}, tmp_path / "fine", Packing(shard_byte=1_000_000))
    with files_of_at_most(40_000), pytest.raises(StorageError, match="nothing half-written"):
        pack({"train": {"x": noise["x"][:10]}, "more": noise}, tmp_path / "p", Packing(shard_byte=1_000_000))
    left = sorted(each.name for each in (tmp_path / "p").iterdir())
    assert left == ["train-00000.parquet", "unfinished.json"]
    made = pack({"train": {"x": noise["x"][:10]}, "more": noise}, tmp_path / "p", Packing(shard_byte=1_000_000))
    assert made.fingerprint == Packed.at(tmp_path / "fine").manifest.fingerprint


def test_packed_data_is_not_overwritten(somewhere):
    pack({"train": rows(10)}, somewhere)
    with pytest.raises(BadInputError, match="holds packed data already"):
        pack({"train": rows(10)}, somewhere)


@pytest.mark.parametrize("wound", ["flip", "cut", "empty", "gone"])
def test_a_damaged_shard_is_named(tmp_path, wound):
    shard = pack({"train": rows()}, tmp_path, SMALL).parts["train"].shards[1]
    path = tmp_path / shard.name
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes({"flip": bytes(body), "cut": bytes(body[:-9]), "empty": b"", "gone": b""}[wound])
    if wound == "gone":
        path.unlink()
    with pytest.raises(CorruptError, match=shard.name):
        Packed.at(tmp_path).arrays("train")
    wrong = Packed.at(tmp_path).check()
    assert len(wrong) == 1
    assert wrong[0].startswith(shard.name)


def test_a_column_that_changes_type_between_shards_is_said(tmp_path):
    made = pack({"train": {"age": np.arange(3000) % 200}}, tmp_path, Packing(shard_byte=2000))
    shard = made.parts["train"].shards[1]
    pq.write_table(pa.table({"age": pa.array(np.zeros(shard.rows))}), tmp_path / shard.name)
    body = (tmp_path / shard.name).read_bytes()
    swapped = Shard(shard.name, shard.rows, len(body), sha256(body).hexdigest())
    part = made.parts["train"]
    shards = (part.shards[0], swapped)
    forged = Manifest(made.kind, made.columns, {"train": Part(part.group, shards)}, made.raw_byte, made.codec)
    (tmp_path / "manifest.json").write_bytes(forged.text())
    with pytest.raises(BadInputError, match=f"'age' changes type: uint8 by the manifest, double in shard {shard.name}"):
        Packed.at(tmp_path).arrays("train")


def test_a_manifest_that_was_changed_is_refused(tmp_path):
    pack({"train": rows(10)}, tmp_path)
    path = tmp_path / "manifest.json"
    facts = json.loads(path.read_bytes())
    facts["parts"]["train"]["shards"][0]["rows"] = 11
    path.write_text(json.dumps(facts))
    with pytest.raises(CorruptError, match="changed after it was written"):
        Packed.at(tmp_path)
    path.write_text("{")
    with pytest.raises(CorruptError, match="damaged"):
        Packed.at(tmp_path)


def test_a_manifest_may_not_name_files_elsewhere(tmp_path):
    shard = Shard("../secret", 1, 1, "")
    forged = Manifest("rows", (Column("x", "int64", (), "uint8"),), {"train": Part(1, (shard,))}, 1, "zstd")
    (tmp_path / "manifest.json").write_bytes(forged.text())
    with pytest.raises(CorruptError, match="secret"):
        Packed.at(tmp_path)


def test_bad_wishes_are_answered_with_what_there_is(tmp_path):
    with pytest.raises(UnknownNameError, match="zstd"):
        Packing("zst")
    with pytest.raises(BadInputError, match="no packed data"):
        Packed.at(tmp_path)
    with pytest.raises(BadInputError, match="cannot be opened"):
        Packed.at("nosuch://here")
    pack({"train": rows(10)}, tmp_path)
    with pytest.raises(BadInputError, match="use one of: train"):
        Packed.at(tmp_path).arrays("test")
    with pytest.raises(BadInputError, match="no three splits"):
        Packed.at(tmp_path).splits()
