"""Each layer is given the width that it needs, by measuring; others load what comes out, and it keeps to its size."""

import json

import numpy as np
import pytest
import torch
from llamas import TEXT, settings_of, write_llama
from safetensors.torch import load_file, save_file

from pennyweight.backends.large.kinds import restored
from pennyweight.backends.large.packed import roundings_of
from pennyweight.core import ServeSpec
from pennyweight.engine.shrinking import Calibration, Wish, check, needed_byte, plan, shrink
from pennyweight.engine.shrinking.budgeting import units_of
from pennyweight.engine.shrinking.sensing import harms_of
from pennyweight.errors import BadInputError, UnknownNameError
from pennyweight.runtimes.hf import open_model
from pennyweight.runtimes.hf.opening import open_hf, runtime_for

BITS = {"int3": 3, "int4": 4, "int8": 8}


@pytest.fixture(autouse=True)  # ruff: ignore[pytest-fixture-autouse] - no test may book in a real ledger
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("PENNYWEIGHT_HOME", str(tmp_path / "home"))


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT * 5)
    return Calibration(path)


def wish(text, to="4.5", **more):
    return Wish(**{"to": to, "group": 32, "method": "gptq", "calibration": text, **more})


def uneven(folder):
    """A model whose last block hardly has a say."""
    write_llama(folder, noise=1.0)
    weights = load_file(folder / "model.safetensors")
    for name in ("self_attn.o_proj", "mlp.down_proj"):
        weights[f"model.layers.1.{name}.weight"] *= 1e-3
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


def unpacked(folder):
    """The weights of all layers, by our own reading of codes and scales."""
    said, tensors, found = roundings_of(settings_of(folder)), {}, {}
    for file in folder.glob("*.safetensors"):
        tensors |= load_file(file)
    for layer, way in said.items():
        packed, scales = (tensors[f"{layer}.{part}"] for part in ("weight_packed", "weight_scale"))
        shape = tensors[f"{layer}.weight_shape"].tolist()
        codes, steps = (each.numpy().view(np.uint8).reshape(-1) for each in (packed, scales))
        found[f"{layer}.weight"] = torch.from_numpy(restored(codes, steps, "F32", way)).view(shape)
    return found


def test_what_matters_gets_more_and_all_stays_within_what_was_asked_for(tmp_path, text):
    folder, out = uneven(tmp_path / "llama"), tmp_path / "out"
    made = plan(folder, wish(text))
    said, heard = needed_byte(made), []
    receipt = shrink(made, out, watch=heard.append)
    counts = {name: each.count for name, each in made.source.tensors.items() if name in made.choice.rounded}
    bits = {name: BITS[receipt.widths[name.removesuffix(".weight")]] for name in counts}
    assert 4.3 < np.average(list(bits.values()), weights=list(counts.values())) <= 4.5
    first, last = ([b for name, b in bits.items() if f".{at}." in name] for at in (0, 1))
    assert np.mean(first) > np.mean(last) + 1.5
    assert len(set(bits.values())) > 1
    assert all(len({bits[name] for name in unit}) == 1 for unit in units_of(counts))
    assert receipt.peak_byte < receipt.most_byte <= 1.05 * said
    assert receipt.out_byte <= made.most_byte < 1.02 * receipt.out_byte
    assert sum(heard) == made.source.byte + made.sensed_byte
    assert not list(out.glob(".*"))
    facts = json.loads((out / "shrunk.json").read_text())
    assert (facts["widths"], facts["harm"]) == (dict(receipt.widths), receipt.harm)


@pytest.mark.parametrize("method", ["gptq", "awq"])
def test_others_load_it_and_say_what_our_own_reading_says(tmp_path, text, method):
    folder, out = uneven(tmp_path / "llama"), tmp_path / "out"
    receipt = shrink(plan(folder, wish(text, "4", method=method)), out)
    assert set(receipt.widths.values()) == {"int3", "int4", "int8"} or method == "awq"
    tokens, ours = torch.arange(8, 60)[None], open_model(folder)
    norms = {name: each for file in out.glob("*.safetensors") for name, each in load_file(file).items()}
    ours.load_state_dict(unpacked(out) | {n: e for n, e in norms.items() if n.endswith("norm.weight")}, strict=False)
    theirs = open_model(out)
    wanted = ours(tokens).logits
    assert torch.allclose(theirs(tokens).logits, wanted, atol=1e-4)
    assert runtime_for(out) == "openvino"
    chorus, _ = open_hf(out, ServeSpec("openvino"))
    told, _ = chorus.prefill([tokens[0].numpy()])
    assert np.abs(told[0] - wanted[0, -1].numpy()).max() < 1e-3


def test_a_check_compares_every_layer_by_its_own_width(tmp_path, text):
    folder, out = uneven(tmp_path / "llama"), tmp_path / "out"
    receipt = shrink(plan(folder, wish(text, method="hqq")), out)
    moved = check(folder, out).tensors
    by_width = {
        width: [moved[f"{name}.weight"] for name, each in receipt.widths.items() if each == width] for width in BITS
    }
    assert max(by_width["int8"], default=0) < 0.02 < min(by_width["int4"]) <= max(by_width["int4"]) < 0.15
    assert all(0.15 < each < 0.3 for each in by_width["int3"])


def test_the_harm_that_is_measured_is_how_far_what_the_model_says_moves(tmp_path, text):
    folder = write_llama(tmp_path / "llama", noise=1.0)
    text.text.write_text(TEXT * 25)
    made = plan(folder, wish(text, method="rtn"))
    (tmp_path / "states").mkdir()
    harms = harms_of(made, tmp_path / "states")
    assert not list((tmp_path / "states").iterdir())
    shrink(plan(folder, wish(text, "3", method="rtn")), tmp_path / "int3")
    tokens = torch.from_numpy(text.sequences(folder, settings_of(folder)))
    given, moved, model = says(open_model(folder), tokens), [], open_model(folder)
    rounded = unpacked(tmp_path / "int3")
    for unit in harms:
        model.load_state_dict({name: rounded[name] for name in unit}, strict=False)
        moved.append(float((given.exp() * (given - says(model, tokens))).sum(-1).mean()))
        model = open_model(folder)
    told = np.array([each["int3"] for each in harms.values()])
    assert told.sum() == pytest.approx(sum(moved), rel=0.35)
    assert np.corrcoef(np.log(told), np.log(moved))[0, 1] > 0.8
    assert all(each["int8"] < 0.1 * each["int4"] < 0.1 * each["int3"] for each in harms.values())


def says(model, tokens):
    with torch.no_grad():
        return model(tokens).logits.log_softmax(-1)


class StoppedError(Exception):
    pass


def stopped(made, out, times):
    heard = []

    def watch(byte):
        heard.append(byte)
        if len(heard) == times:
            raise StoppedError

    with pytest.raises(StoppedError):
        shrink(made, out, watch=watch)


def same(one, other):
    return all((one / path.name).read_bytes() == path.read_bytes() for path in other.iterdir())


@pytest.mark.parametrize("times", [3, 6])
def test_cut_off_while_measuring_or_after_it_arrives_at_the_same_bytes(tmp_path, text, times):
    made = plan(uneven(tmp_path / "llama"), wish(text))
    stopped(made, tmp_path / "out", times)
    assert (tmp_path / "out/.widths.json").exists() == (times > 4)
    shrink(made, tmp_path / "out", resume=True)
    shrink(made, tmp_path / "fresh")
    assert same(tmp_path / "out", tmp_path / "fresh")


def test_what_was_measured_is_not_measured_again_and_nothing_goes_on_without_it(tmp_path, text):
    made, out = plan(uneven(tmp_path / "llama"), wish(text)), tmp_path / "out"
    stopped(made, out, 6)
    noted = out / ".widths.json"
    before = noted.stat().st_mtime_ns, noted.read_bytes()
    stopped_again = []

    def watch(byte):
        stopped_again.append((byte, noted.stat().st_mtime_ns))

    shrink(made, out, resume=True, watch=watch)
    assert stopped_again[0] == (made.sensed_byte, before[0])
    stopped(made, tmp_path / "lost", 8)
    (tmp_path / "lost/.widths.json").write_bytes(before[1][:-9])
    with pytest.raises(BadInputError, match="is lost"):
        shrink(made, tmp_path / "lost", resume=True)
    assert shrink(made, tmp_path / "lost", force=True).widths


def test_a_size_is_kept_to_and_one_that_cannot_be_is_refused(tmp_path, text):
    folder = write_llama(tmp_path / "llama")
    made = plan(folder, wish(text, "260KB", among=("int8", "int4")))
    assert 235_000 < made.byte <= 260_000
    receipt = shrink(made, tmp_path / "out")
    assert receipt.out_byte <= 260_000
    assert set(receipt.widths.values()) == {"int4", "int8"}
    with pytest.raises(BadInputError, match=r"100KB is too little: with int3 everywhere it takes 2\d\d"):
        plan(folder, wish(text, "100KB"))


def test_wishes_for_averages_that_make_no_sense_are_refused(text):
    with pytest.raises(BadInputError, match="measured with a text"):
        Wish("3.5")
    with pytest.raises(BadInputError, match="9 bits are no average of int3, int4, int8"):
        wish(text, "9")
    with pytest.raises(UnknownNameError, match="int5"):
        wish(text, among=("int4", "int5"))
    with pytest.raises(BadInputError, match="nothing to choose"):
        wish(text, among=("int4", "int4"))
    with pytest.raises(BadInputError, match="--among goes with"):
        wish(text, "int4", among=("int4", "int8"))
    with pytest.raises(BadInputError, match="a size such as"):
        wish(text, "4XB")
