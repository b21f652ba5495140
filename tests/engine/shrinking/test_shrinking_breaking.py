"""What cannot be done is said at the start; what is cut off goes on; nothing half-written passes for whole."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from checkpoints import save, write

from pennyweight.engine.shrinking import Wish, plan, shrink
from pennyweight.errors import (
    BadInputError,
    CorruptError,
    NoEffectError,
    PennyweightError,
    StorageError,
    UnknownNameError,
)
from pennyweight.store.checkpoints import Checkpoint

SHARD, INDEX = "model-00001-of-00002.safetensors", "model.safetensors.index.json"


@pytest.fixture(autouse=True)  # ruff: ignore[pytest-fixture-autouse] - no test may book in a real ledger
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("PENNYWEIGHT_HOME", str(tmp_path / "home"))


@pytest.fixture
def tiny(tmp_path):
    write(tmp_path / "tiny")
    return tmp_path / "tiny"


def changed(path, **facts):
    path.write_text(json.dumps({**json.loads(path.read_text()), **facts}))


def cut(tiny):
    body = (tiny / SHARD).read_bytes()
    (tiny / SHARD).write_bytes(body[:-10])


def cut_head(tiny):
    (tiny / SHARD).write_bytes((tiny / SHARD).read_bytes()[:100])


def lengthened(tiny):
    with (tiny / SHARD).open("ab") as file:
        file.write(b"more")


def indexed(tiny, name, file):
    where = json.loads((tiny / INDEX).read_text())["weight_map"]
    changed(tiny / INDEX, weight_map={**where, name: file})


def linked(tiny):
    outside = tiny.parent / "outside.safetensors"
    shutil.move(tiny / SHARD, outside)
    (tiny / SHARD).symlink_to(outside)


def tokenizer_linked(tiny):
    (tiny / "vocab.txt").symlink_to("/etc/hostname")


def pickled(tiny):
    for file in (*tiny.glob("*.safetensors"), tiny / INDEX):
        file.unlink()
    (tiny / "pytorch_model.bin").write_bytes(b"\x80")


BROKEN = {
    "a shard is missing": (lambda tiny: (tiny / SHARD).unlink(), BadInputError, "missing"),
    "a shard is cut short": (cut, CorruptError, "cut short"),
    "a head is cut short": (cut_head, CorruptError, "within its head"),
    "a shard is too long": (lengthened, CorruptError, "belong to no tensor"),
    "the index names what is not there": (
        lambda t: indexed(t, "model.lost.weight", SHARD),
        BadInputError,
        "model.lost",
    ),
    "the index climbs out": (lambda t: indexed(t, "x", "../other.safetensors"), CorruptError, "no file of this folder"),
    "the index is absolute": (lambda t: indexed(t, "x", "/etc/passwd"), CorruptError, "no file of this folder"),
    "a shard is a link outside": (linked, CorruptError, "link out of its folder"),
    "another file is a link outside": (tokenizer_linked, CorruptError, "link out of its folder"),
    "only pickles": (pickled, BadInputError, "pickled"),
    "no config": (lambda t: (t / "config.json").unlink(), BadInputError, "no config.json"),
    "a config that is no JSON": (lambda t: (t / "config.json").write_text("{"), BadInputError, "not JSON"),
    "another width": (lambda t: changed(t / "config.json", hidden_size=512), BadInputError, "512 wide"),
    "another depth": (lambda t: changed(t / "config.json", num_hidden_layers=3), BadInputError, "3 blocks"),
    "an unknown architecture": (
        lambda t: changed(t / "config.json", model_type="m3gpt"),
        BadInputError,
        "known are bert",
    ),
    "GPT-2": (lambda t: changed(t / "config.json", model_type="gpt2"), BadInputError, "transposed"),
    "rounded before": (lambda t: changed(t / "config.json", quantization_config={}), BadInputError, "already"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_what_is_wrong_with_a_checkpoint_is_said_before_anything_is_written(tiny, how):
    spoil, kind, words = BROKEN[how]
    spoil(tiny)
    with pytest.raises(kind, match=words) as caught:
        plan(tiny, Wish())
    assert caught.value.fix


def test_weights_of_a_type_that_is_not_rounded_are_named(tmp_path):
    write(tmp_path / "tiny", "I8", 1)
    with pytest.raises(BadInputError, match="type I8"):
        plan(tmp_path / "tiny", Wish())


def test_a_block_that_lacks_a_layer_is_named(tmp_path):
    tensors = write(tmp_path / "tiny", shards=1)
    del tensors["model.layers.1.self_attn.k_proj.weight"]
    save(tmp_path / "tiny/model.safetensors", tensors)
    with pytest.raises(BadInputError, match=r"Block 1 has no 'self_attn\.k_proj\.weight'"):
        plan(tmp_path / "tiny", Wish())


def test_any_takes_an_unknown_architecture_but_not_its_embeddings_norms_and_head(tiny):
    changed(tiny / "config.json", model_type="gpt2")
    with pytest.raises(BadInputError, match="transposed"):
        plan(tiny, Wish(any_=True))
    changed(tiny / "config.json", model_type="m3gpt")
    chosen = plan(tiny, Wish(any_=True)).choice
    assert len(chosen.rounded) == 14
    assert chosen.ignored == ("lm_head",)


def test_wishes_that_make_no_sense_are_refused(tiny):
    with pytest.raises(UnknownNameError, match="int5"):
        Wish("int5")
    with pytest.raises(BadInputError, match="whole words"):
        Wish(group=100)
    with pytest.raises(NoEffectError, match="no multiple"):
        plan(tiny, Wish(group=1024))


def test_a_link_within_a_download_cache_is_followed(tmp_path):
    write(tmp_path / "tiny")
    snapshot, blobs = tmp_path / "hub/models--a--b/snapshots/123", tmp_path / "hub/models--a--b/blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, file in enumerate(sorted((tmp_path / "tiny").iterdir())):
        shutil.copy(file, blobs / str(number))
        (snapshot / file.name).symlink_to(f"../../blobs/{number}")
    assert Checkpoint.at(snapshot).byte == Checkpoint.at(tmp_path / "tiny").byte


@pytest.mark.parametrize("place", ["tiny", "tiny/inside", "."])
def test_the_checkpoint_itself_is_never_written_to(tiny, place):
    before = sorted(path.name for path in tiny.iterdir())
    with pytest.raises(BadInputError, match="itself"):
        shrink(plan(tiny, Wish()), tiny.parent / place, force=True)
    assert sorted(path.name for path in tiny.iterdir()) == before


def test_a_folder_with_something_else_is_left_alone_even_with_force(tiny, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    with pytest.raises(BadInputError, match="something else"):
        shrink(plan(tiny, Wish()), tmp_path / "out", force=True)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_a_finished_folder_is_written_again_only_with_force(tiny, tmp_path):
    made = plan(tiny, Wish())
    shrink(made, tmp_path / "out")
    with pytest.raises(BadInputError, match="is finished"):
        shrink(made, tmp_path / "out", resume=True)
    shrink(plan(tiny, Wish("int8")), tmp_path / "out", force=True)
    how = json.loads((tmp_path / "out/config.json").read_text())["quantization_config"]
    assert how["config_groups"]["group_0"]["weights"]["num_bits"] == 8


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_weight_that_is_no_number_is_named_and_nothing_passes_for_whole(tmp_path, number):
    tensors = write(tmp_path / "tiny", "F32", 1)
    tensors["model.layers.1.mlp.up_proj.weight"][1][3, 5] = number
    save(tmp_path / "tiny/model.safetensors", tensors)
    with pytest.raises(CorruptError, match=r"layers\.1\.mlp\.up_proj\.weight"):
        shrink(plan(tmp_path / "tiny", Wish()), tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"unfinished.json", ".unfinished.lock"}


def test_what_was_begun_goes_on_only_when_asked_with_the_same_weights_and_wish(tiny, tmp_path):
    made = plan(tiny, Wish(shard_byte=200_000))
    interrupted(made, tmp_path / "out", after=500_000)
    with pytest.raises(BadInputError, match="--resume"):
        shrink(made, tmp_path / "out")
    with pytest.raises(BadInputError, match="other weights or other settings"):
        shrink(plan(tiny, Wish("int8", shard_byte=200_000)), tmp_path / "out", resume=True)
    os.utime(tiny / SHARD, (1, 1))
    with pytest.raises(BadInputError, match="other weights or other settings"):
        shrink(plan(tiny, Wish(shard_byte=200_000)), tmp_path / "out", resume=True)


class StoppedError(Exception):
    pass


def interrupted(made, out, after):
    seen = 0

    def watch(byte):
        nonlocal seen
        seen += byte
        if seen >= after:
            raise StoppedError

    with pytest.raises(StoppedError):
        shrink(made, out, watch=watch)
    assert not (out / "config.json").exists()


def test_a_finished_shard_is_kept_and_a_damaged_one_written_again(tiny, tmp_path):
    made = plan(tiny, Wish(shard_byte=100_000))
    interrupted(made, tmp_path / "out", after=1_000_000)
    done = sorted((tmp_path / "out").glob("model-*.safetensors"))
    assert 2 <= len(done) < len(made.shards)
    done[0].write_bytes(done[0].read_bytes()[:-1] + b"\x55")
    before = done[1].stat().st_mtime_ns
    heard = []
    receipt = shrink(made, tmp_path / "out", resume=True, watch=heard.append)
    assert receipt.kept_shards == len(done) - 1
    assert done[1].stat().st_mtime_ns == before
    assert sum(heard) == made.source.byte
    shrink(made, tmp_path / "fresh")
    assert same(tmp_path / "out", tmp_path / "fresh")


def same(one, other):
    names = sorted(path.name for path in one.iterdir())
    assert names == sorted(path.name for path in other.iterdir())
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


PROGRAM = """
import sys
from pathlib import Path
from pennyweight.engine.shrinking import Wish, plan, shrink
made = plan(Path(sys.argv[1]), Wish(shard_byte=int(sys.argv[3])))
shrink(made, Path(sys.argv[2]), resume=True, watch=lambda byte: print(byte, flush=True))
print([line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")][0])
"""


def program(folder, out, shard):
    return [sys.executable, "-c", PROGRAM, folder, out, str(shard)]


def test_killed_again_and_again_it_arrives_at_the_same_bytes(tmp_path):
    write(tmp_path / "tiny", layers=6)
    out, kept = tmp_path / "out", []
    for lines in (1, 5, 9, 16, 23, 31):
        with subprocess.Popen(program(tmp_path / "tiny", out, 200_000), stdout=subprocess.PIPE) as process:
            for _ in range(lines):
                process.stdout.readline()
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        assert not (out / "config.json").exists()
        kept.append(len(json.loads((out / "unfinished.json").read_text())["shards"]))
    assert kept == sorted(kept)
    assert kept[-1] > kept[0]
    subprocess.run(program(tmp_path / "tiny", out, 200_000), check=True, capture_output=True)
    shrink(plan(tmp_path / "tiny", Wish(shard_byte=200_000)), tmp_path / "fresh")
    assert same(out, tmp_path / "fresh")


def test_memory_stays_below_what_was_said_for_a_checkpoint_several_times_larger(tmp_path):
    write(tmp_path / "tiny", shards=1, layers=1)
    folder = tmp_path / "tiny"
    rows, columns = 110_000, 2048
    tensors = {
        "model.layers.0.mlp.gate_proj.weight": (rows, columns),
        "model.layers.0.mlp.up_proj.weight": (rows, columns),
    }
    head, at = {}, 0
    for name, shape in tensors.items():
        head[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at := at + 2 * rows * columns]}
    text = json.dumps(head).encode()
    with (folder / "model.safetensors").open("wb") as file:  # with holes: it takes no room on the disk
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + at)
    changed(folder / "config.json", hidden_size=columns, num_hidden_layers=1)
    made = subprocess.run(
        program(folder, tmp_path / "out", 100_000_000),
        check=True,
        capture_output=True,
        text=True,
    )
    most = 60e6 + plan(folder, Wish(shard_byte=100_000_000)).work_byte
    assert at > 4 * most
    assert float(made.stdout.split()[-1]) * 1024 < most


def test_a_disk_without_room_is_said_at_the_start(tiny, tmp_path, monkeypatch):
    full = shutil.disk_usage(tmp_path)._replace(free=500_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    with pytest.raises(StorageError, match="will take"):
        shrink(plan(tiny, Wish()), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_disk_that_fills_up_leaves_whole_shards_only_and_more_room_goes_on(tiny, tmp_path):
    made = plan(tiny, Wish(shard_byte=200_000))
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, before[1]))
    try:
        with pytest.raises(PennyweightError) as caught:
            shrink(made, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert isinstance(caught.value, StorageError)
    assert not (tmp_path / "out/config.json").exists()
    assert not list((tmp_path / "out").glob("*.unfinished"))
    shrink(made, tmp_path / "out", resume=True)
    shrink(made, tmp_path / "fresh")
    assert same(tmp_path / "out", tmp_path / "fresh")


def test_two_processes_do_not_write_one_folder(tiny, tmp_path):
    made = plan(tiny, Wish())

    def again(byte):
        with pytest.raises(StorageError, match="Another process"):
            shrink(made, tmp_path / "out", resume=True)
        raise StoppedError

    with pytest.raises(StoppedError):
        shrink(made, tmp_path / "out", watch=again)
