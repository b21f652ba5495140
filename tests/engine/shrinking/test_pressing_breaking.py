"""What is wrong with a text, a tokenizer or a model is said; what is cut off goes on to the same bytes."""

import json
import signal
import subprocess
import sys

import pytest
from llamas import TEXT, settings_of, write_llama
from safetensors.torch import load_file, save_file

from pennyweight.engine.shrinking import Calibration, Wish, plan, shrink
from pennyweight.engine.shrinking.states import States, Writing
from pennyweight.errors import BadInputError, CorruptError, UnknownNameError


@pytest.fixture(autouse=True)  # ruff: ignore[pytest-fixture-autouse] - no test may book in a real ledger
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("PENNYWEIGHT_HOME", str(tmp_path / "home"))


@pytest.fixture
def tiny(tmp_path):
    return write_llama(tmp_path / "tiny", layers=3, context=64)


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT * 3)
    return path


def wish(text, method="gptq", **more):
    return Wish(**{"to": "int4", "group": 32, "method": method, "calibration": Calibration(text), **more})


def test_wishes_that_contradict_each_other_are_refused(text, tmp_path):
    with pytest.raises(UnknownNameError, match="magic"):
        Wish(method="magic")
    with pytest.raises(BadInputError, match="gptq needs a text"):
        Wish(method="gptq")
    with pytest.raises(BadInputError, match="to nearest only"):
        Wish("mxfp4", method="hqq")
    with pytest.raises(BadInputError, match="is no file"):
        Calibration(tmp_path / "lost.txt")
    with pytest.raises(BadInputError, match="too few"):
        Calibration(text, 50)


def test_families_that_cannot_be_computed_are_refused_before_anything_is_written(tmp_path, text):
    folder = write_llama(tmp_path / "gemma", family="gemma2")
    with pytest.raises(BadInputError, match=r"'gemma2' cannot.*hqq without --calibrate"):
        plan(folder, wish(text))
    assert plan(folder, wish(text, "hqq", calibration=None)).choice.rounded


@pytest.mark.parametrize(
    ("body", "why"), [("word " * 10, "too few to calibrate"), ("", "too few to calibrate"), (None, "UTF-8")]
)
def test_too_little_text_and_what_is_no_text_are_said(tiny, tmp_path, body, why):
    path = tmp_path / "little.txt"
    path.write_bytes(b"\xff\xfe\x00" * 999 if body is None else body.encode())
    with pytest.raises(BadInputError, match=why):
        shrink(plan(tiny, wish(path)), tmp_path / "out")
    assert not (tmp_path / "out/config.json").exists()


@pytest.mark.parametrize(("body", "why"), [(None, "no tokenizer.json"), ('{"version": "1.0"}', "is no tokenizer")])
def test_a_tokenizer_that_is_missing_or_damaged_is_said(tiny, text, tmp_path, body, why):
    (tiny / "tokenizer.json").unlink()
    if body:
        (tiny / "tokenizer.json").write_text(body)
    with pytest.raises(BadInputError, match=why):
        shrink(plan(tiny, wish(text)), tmp_path / "out")


def test_a_tokenizer_of_another_model_is_said(tiny, text, tmp_path):
    weights = load_file(tiny / "model.safetensors")
    weights["model.embed_tokens.weight"] = weights["model.embed_tokens.weight"][:100].clone()
    save_file(weights, tiny / "model.safetensors")
    with pytest.raises(BadInputError, match="more than the 100 words"):
        shrink(plan(tiny, wish(text)), tmp_path / "out")


@pytest.mark.parametrize(("at", "number", "error"), [(1, float("nan"), CorruptError), (0, 1e38, BadInputError)])
def test_weights_and_states_that_are_no_numbers_are_said_and_nothing_passes_for_whole(
    tiny, text, tmp_path, at, number, error
):
    weights = load_file(tiny / "model.safetensors")
    for name in ("up", "down"):
        weights[f"model.layers.{at}.mlp.{name}_proj.weight"][:] = number
    save_file(weights, tiny / "model.safetensors")
    for method in ("gptq", "awq", "rtn"):
        with pytest.raises(error, match="infinite"):
            shrink(plan(tiny, wish(text, method)), tmp_path / method)
        assert not (tmp_path / method / "config.json").exists()


class StoppedError(Exception):
    pass


def interrupted(made, out, blocks):
    heard = []

    def watch(byte):
        heard.append(byte)
        if len(heard) == len(made.streamed) + blocks:
            raise StoppedError

    with pytest.raises(StoppedError):
        shrink(made, out, watch=watch)


def same(one, other):
    names = sorted(path.name for path in one.iterdir())
    assert names == sorted(path.name for path in other.iterdir())
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


@pytest.mark.parametrize("method", ["gptq", "awq"])
def test_finished_blocks_are_kept_with_their_errors(tiny, text, tmp_path, method):
    made = plan(tiny, wish(text, method))
    whole = shrink(made, tmp_path / "fresh")
    interrupted(made, tmp_path / "out", blocks=4)
    before = {each.file: (tmp_path / "out" / each.file).stat().st_mtime_ns for each in made.blocks[:2]}
    heard = []
    receipt = shrink(made, tmp_path / "out", resume=True, watch=heard.append)
    assert receipt.kept_shards >= 3
    assert all((tmp_path / "out" / name).stat().st_mtime_ns == time for name, time in before.items())
    assert receipt.errors == whole.errors
    assert sum(heard) == made.source.byte
    assert same(tmp_path / "out", tmp_path / "fresh")


def test_without_the_states_blocks_are_done_again_and_with_others_nothing_goes_on(tiny, text, tmp_path):
    made = plan(tiny, wish(text))
    interrupted(made, tmp_path / "out", blocks=4)
    (states,) = (tmp_path / "out").glob(".states-*")
    body = bytearray(states.read_bytes())
    body[100] ^= 1
    states.write_bytes(body)
    text.write_text(TEXT * 3 + "more")
    with pytest.raises(BadInputError, match="other settings"):
        shrink(plan(tiny, wish(text)), tmp_path / "out", resume=True)
    text.write_text(TEXT * 3)
    shrink(made, tmp_path / "out", resume=True)
    shrink(made, tmp_path / "fresh")
    assert same(tmp_path / "out", tmp_path / "fresh")


def test_with_another_tokenizer_nothing_goes_on(tiny, text, tmp_path):
    interrupted(plan(tiny, wish(text)), tmp_path / "out", blocks=1)
    words = tiny / "tokenizer.json"
    words.write_text(json.dumps(json.loads(words.read_text()) | {"version": "1.0", "normalizer": {"type": "NFC"}}))
    with pytest.raises(BadInputError, match="other settings"):
        shrink(plan(tiny, wish(text)), tmp_path / "out", resume=True)


def test_states_that_are_not_whole_are_not_taken(tmp_path):
    import torch

    with Writing(tmp_path, 3, (2, 4, 8)) as writing:
        for _ in range(2):
            writing.add(torch.ones(4, 8))
        writing.finish({"a": 0.25})
    found = States.found(tmp_path, 3, (2, 4, 8))
    assert found.errors == {"a": 0.25}
    assert (found.text(1) == 1).all()
    assert States.found(tmp_path, 3, (2, 4, 9)) is None
    assert States.found(tmp_path, 4, (2, 4, 8)) is None
    found.path.write_bytes(found.path.read_bytes()[:-1])
    assert States.found(tmp_path, 3, (2, 4, 8)) is None


PROGRAM = """
import sys
from pathlib import Path
from pennyweight.engine.shrinking import Calibration, Wish, plan, shrink
made = plan(Path(sys.argv[1]), Wish("int4", group=32, method="gptq", calibration=Calibration(Path(sys.argv[3]))))
shrink(made, Path(sys.argv[2]), resume=True, watch=lambda byte: print(byte, flush=True))
"""


def test_killed_again_and_again_blocks_arrive_at_the_same_bytes(text, tmp_path):
    folder, out = write_llama(tmp_path / "six", layers=6, context=64), tmp_path / "out"
    command, kept = [sys.executable, "-c", PROGRAM, folder, out, text], []
    lines = len(plan(folder, wish(text)).streamed) + 3
    for more in (0, 3):
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            for _ in range(lines + more):
                process.stdout.readline()
            process.send_signal(signal.SIGKILL)
        assert not (out / "config.json").exists()
        kept.append(len(json.loads((out / "unfinished.json").read_text())["shards"]))
    assert kept == sorted(kept)
    subprocess.run(command, check=True, capture_output=True)
    shrink(plan(folder, wish(text)), tmp_path / "fresh")
    assert same(out, tmp_path / "fresh")


def test_code_beside_the_weights_is_not_run(tiny, text, tmp_path):
    said = settings_of(tiny) | {"auto_map": {"AutoConfig": "run_me.Config", "AutoModelForCausalLM": "run_me.Model"}}
    (tiny / "config.json").write_text(json.dumps(said))
    (tiny / "run_me.py").write_text("raise SystemExit('a checkpoint was executed')")
    assert shrink(plan(tiny, wish(text)), tmp_path / "out").errors
