"""`pennyweight shrink` says what it will take, what came of it, and everything that goes wrong in two sentences."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from checkpoints import write
from llamas import TEXT, write_llama


@pytest.fixture
def place(tmp_path):
    write(tmp_path / "tiny")
    return tmp_path


def call(place, *words, before=()):
    command = [*before, sys.executable, "-c", "from pennyweight.cli import main; main()", "shrink", *words]
    environment = {**os.environ, "PENNYWEIGHT_HOME": str(place / "home"), "COLUMNS": "160"}
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_memory_is_said_before_and_the_receipt_after(place):
    code, out, err = call(place, "tiny", "--to", "int4", "-o", "out")
    assert (code, err) == (0, "")
    assert "Needs at most" in out.splitlines()[1]
    assert "14 of 21 tensors are int4, in groups of 128" in out
    assert "Held at most" in out


def test_the_receipt_is_one_json_object(place):
    code, out, _ = call(
        place, "tiny", "--to", "int8", "--group", "64", "--keep", "k_proj,v_proj", "-o", "out", "--json"
    )
    facts = json.loads(out)
    assert code == 0
    assert (facts["to"], facts["group"], facts["rounded"], facts["kept"]) == ("int8", 64, 10, 4)
    assert 0 < facts["peak_byte"] < facts["most_byte"]
    assert facts["out_byte"] < facts["in_byte"]
    assert set(facts["kept_whole"].values()) == {"kept as asked"}


def test_a_check_tells_blocks_and_exits_with_five_when_a_shard_changed(place):
    assert call(place, "tiny", "-o", "out")[0] == 0
    code, out, _ = call(place, "tiny", "--check", "out", "--json")
    assert code == 0
    assert list(json.loads(out)["blocks"]) == ["0", "1"]
    code, out, _ = call(place, "tiny", "--check", "out")
    assert (code, "rounded weights together moved by" in out) == (0, True)
    shard = place / "out/model-00001-of-00001.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1] + b"\x7f")
    code, out, err = call(place, "tiny", "--check", "out")
    assert (code, out) == (5, "")
    assert "To fix:" in err


@pytest.mark.parametrize(
    "words",
    [("tiny",), ("tiny", "-o", "a", "--check", "b"), ("tiny", "-o", "a", "--resume", "--force"), ("lost", "-o", "a")],
)
def test_words_that_contradict_each_other_are_two_sentences(place, words):
    code, out, err = call(place, *words)
    assert (code, out) == (2, "")
    assert "To fix:" in err
    assert not (place / "a").exists()


def test_a_small_disk_is_a_sentence_and_leaves_nothing_that_passes_for_whole(place):
    unshare, disk = shutil.which("unshare"), place / "disk"
    disk.mkdir()
    mount = f'mount -t tmpfs -o size=700k tmpfs "{disk}" && "$@"; code=$?; ls -A "{disk}" > "{place}/left"; exit $code'
    before = [unshare or "", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh"]
    if not unshare or subprocess.run([*before, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no small disk can be mounted here")
    code, _, err = call(place, "tiny", "-o", str(disk / "out"), before=before)
    assert code == 9
    assert "free space" in err
    assert not (place / "left").read_text()


def test_with_a_text_errors_of_outputs_are_told_and_a_check_tells_them_again(place):
    write_llama(place / "llama")
    (place / "text.txt").write_text(TEXT * 3)
    words = ("--to", "int3", "--group", "32", "--method", "gptq", "--calibrate", "text.txt", "--tokens", "1024")
    code, out, err = call(place, "llama", *words, "-o", "out")
    assert (code, err) == (0, "")
    assert "Needs at most" in out
    assert "Outputs of 14 layers moved by" in out
    assert "Outputs of 14 layers moved by" in call(place, "llama", "--check", "out")[1]


def test_a_method_that_needs_a_text_says_so(place):
    code, out, err = call(place, "tiny", "--method", "awq", "-o", "out")
    assert (code, out) == (2, "")
    assert "--calibrate TEXT.txt" in err


def test_of_an_average_it_is_told_which_layers_were_given_how_much_and_why(place):
    write_llama(place / "llama", noise=1.0)
    (place / "text.txt").write_text(TEXT * 3)
    words = ("--to", "4.5", "--group", "32", "--method", "gptq", "--calibrate", "text.txt")
    code, out, err = call(place, "llama", *words, "--among", "int4,int8", "-o", "out")
    assert (code, err) == (0, "")
    assert "become at most" in out
    assert "tensors are int4 (" in out
    assert "int8 (" in out
    assert "self_attn.q_proj, k_proj, v_proj" in out
    assert "expected to move by" in out
    assert "rounded weights together moved by" in call(place, "llama", "--check", "out")[1]


def test_an_average_without_a_text_says_what_is_needed(place):
    code, out, err = call(place, "tiny", "--to", "3.5", "-o", "out")
    assert (code, out) == (2, "")
    assert "--calibrate TEXT.txt" in err
