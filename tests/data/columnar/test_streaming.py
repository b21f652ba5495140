import json
import secrets
import threading

import numpy as np
import pytest

from pennyweight.data.columnar import Flow, Packed, Packing, Stream, pack
from pennyweight.data.columnar.ahead import ahead
from pennyweight.errors import BadInputError, CorruptError, UnknownNameError

N = 1000


@pytest.fixture(params=["path", "memory"])
def place(request, tmp_path):
    """A thousand numbered rows in several shards."""
    where = str(tmp_path / "p") if request.param == "path" else f"memory://{secrets.token_hex(8)}"
    x = np.tile(np.arange(N, dtype=np.float32)[:, None], (1, 4)) / 7
    pack({"train": {"x": x, "y": np.arange(N)}}, where, Packing(shard_byte=4000))
    return where


def numbers(stream):
    return [batch["y"].tolist() for batch in stream]


def in_a_row(stream):
    return [number for batch in stream for number in batch["y"].tolist()]


def test_a_pass_gives_every_row_once_in_an_order_of_its_own(place):
    stream = Stream(Packed.at(place), "train", Flow(batch=64, buffer=300))
    first, second = in_a_row(stream), in_a_row(stream)
    assert sorted(first) == sorted(second) == list(range(N))
    assert first != second
    assert first != sorted(first)


def test_x_and_y_of_a_row_stay_together(place):
    for batch in Stream(Packed.at(place), "train", Flow(batch=96, buffer=256)):
        assert np.array_equal(batch["x"][:, 0], batch["y"].astype(np.float32) / 7)


def test_batches_are_of_one_size_but_the_last(place):
    stream = Stream(Packed.at(place), "train", Flow(batch=96, buffer=256))
    assert [len(batch["y"]) for batch in stream] == [96] * 10 + [40]
    assert len(stream) == 11


def test_one_seed_gives_one_order_and_another_another(place):
    orders = [
        numbers(Stream(Packed.at(place), "train", Flow(seed=seed, ahead=n))) for seed, n in ((1, 0), (1, 3), (2, 0))
    ]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]


def test_without_a_buffer_rows_come_in_order(place):
    assert in_a_row(Stream(Packed.at(place), "train", Flow(buffer=0))) == list(range(N))


@pytest.mark.parametrize("seen", [0, 1, 5, 10, 11, 14])
def test_a_stream_goes_on_with_the_very_next_row(place, seen):
    flow = Flow(batch=96, buffer=250, seed=3)
    whole = Stream(Packed.at(place), "train", flow)
    wanted = numbers(whole) + numbers(whole)
    first = Stream(Packed.at(place), "train", flow)
    found = []
    while len(found) < seen:
        for batch in first:
            found.append(batch["y"].tolist())
            if len(found) == seen:
                break
    state = json.loads(json.dumps(first.state()))
    second = Stream(Packed.at(place), "train", flow)
    second.restore(state)
    while len(found) < len(wanted):
        found += numbers(second)
    assert found[: len(wanted)] == wanted


def test_the_state_of_another_stream_is_refused(place):
    stream = Stream(Packed.at(place), "train", Flow(seed=1))
    with pytest.raises(BadInputError, match="its seed is 1, here it is 2"):
        Stream(Packed.at(place), "train", Flow(seed=2)).restore(stream.state())


def test_a_damaged_shard_is_refused_or_skipped_and_said(tmp_path):
    made = pack({"train": {"y": np.arange(N)}}, tmp_path, Packing(shard_byte=500))
    shard = made.parts["train"].shards[2]
    path = tmp_path / shard.name
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(CorruptError, match=shard.name):
        numbers(Stream(Packed.at(tmp_path)))
    stream = Stream(Packed.at(tmp_path), "train", Flow(batch=64, buffer=300, damaged="skip"))
    with pytest.warns(UserWarning, match=f"{shard.name} .* Its rows are left out"):
        left = in_a_row(stream)
    assert sorted(left) == [*range(500), *range(750, N)]
    assert stream.skipped == [shard.name]


def test_each_shard_is_checked_when_it_is_first_read_only(place):
    packed = Packed.at(place)
    stream = Stream(packed)
    numbers(stream)
    once = packed.byte_read
    assert once == packed.manifest.byte
    assert len(packed._checked) == len(packed.part("train").shards)


def test_tensors_share_the_memory_of_what_was_read(place):
    torch = pytest.importorskip("torch")
    batch = next(iter(Stream(Packed.at(place), "train", Flow(torch=True, buffer=0, ahead=0))))
    assert batch["x"].dtype == torch.float32
    assert batch["y"].dtype == torch.int64
    packed = Packed.at(place)
    shard = packed.part("train").shards[0]
    codes = packed.codes(shard, packed.part("train").group, [0])[0]["x"]
    assert codes.base is not None


@pytest.mark.parametrize("hold_byte", [0, 1 << 27])
def test_rows_in_order_are_views_of_what_was_decoded(tmp_path, hold_byte):
    x = np.random.default_rng(0).normal(size=(500, 3))
    pack({"train": {"x": x}}, tmp_path)
    packed = Packed.at(tmp_path, hold_byte)
    assert packed.columns[0].form == "plain"
    batches = [batch["x"] for batch in Stream(packed, "train", Flow(batch=100, buffer=0))]
    assert np.array_equal(np.concatenate(batches), x)
    assert all(batch.base is not None for batch in batches)
    assert all(batch.flags.writeable != bool(hold_byte) for batch in batches)


def test_data_gives_the_same_batches_held_or_not(place):
    flow = Flow(batch=96, buffer=250)
    held, bare = Stream(Packed.at(place), "train", flow), Stream(Packed.at(place, 0), "train", flow)
    for _ in range(2):
        assert numbers(held) == numbers(bare)
    assert held._packed.byte_read < bare._packed.byte_read


def test_leaving_a_stream_early_leaves_no_thread_behind(place):
    before = threading.active_count()
    for _ in Stream(Packed.at(place), "train", Flow(buffer=100, ahead=2)):
        break
    assert threading.active_count() == before


def test_what_fails_in_the_thread_is_raised_to_the_reader():
    def failing():
        yield 1
        raise CorruptError("Broken.", "mend it.")

    items = ahead(failing(), 2)
    assert next(items) == 1
    with pytest.raises(CorruptError):
        next(items)


def test_flows_that_make_no_sense_are_refused():
    with pytest.raises(BadInputError):
        Flow(batch=0)
    with pytest.raises(UnknownNameError, match="refuse, skip"):
        Flow(damaged="ignore")
