"""A training that is cut off anywhere goes on as if nothing had happened, to the bit, or says why it cannot."""

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pennyweight.core import Regular, TrainSpec
from pennyweight.data.splits import Arrays
from pennyweight.errors import BadInputError, CorruptError, StorageError
from pennyweight.store.generations import Generations
from pennyweight.train.checkpoint import Checkpoints, decode, encode
from pennyweight.train.loop import How, Judge, fit

SGD = TrainSpec(epochs=4, batch=16, optimizer="sgd", lr=0.05)
SETTINGS = {
    "sgd": replace(SGD, nesterov=True, schedule="cosine", warmup=0.1),
    "adamw": replace(SGD, optimizer="adamw", lr=1e-2, weight_decay=0.1, schedule="onecycle", accumulate=2),
    "muon": replace(SGD, optimizer="muon", lr=1e-2),
    "lamb": replace(SGD, optimizer="lamb", lr=1e-2, patience=2),
    "nadam": replace(SGD, optimizer="nadam", lr=1e-2),
    "float16": replace(SGD, precision="float16", optimizer="adam", lr=1e-2),
    "ema": replace(SGD, regular=Regular(ema=0.95, clip_norm=1.0)),
}


def rows():
    generator = np.random.default_rng(3)
    y = np.arange(120) % 3
    return Arrays((generator.normal(size=(120, 6)) + np.eye(3, 6)[y]).astype(np.float32), y)


def net(width=24):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.2), nn.Linear(width, 3))


def noisy(x, y):
    return x + 0.1 * torch.randn_like(x), y


def long(settings):
    return replace(settings, epochs=40, patience=settings.patience and 300)


def same(one, two):
    states = one.model.state_dict(), two.model.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0]) and one.history == two.history


def kept_in(folder, **more):
    kept = Generations(folder)
    return Checkpoints(kept.put, kept.latest(), **more)


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("cut", [1, 5, 8, 13, 23])
def test_a_training_cut_at_any_step_goes_on_to_the_bit(name, cut, tmp_path):
    settings, how = SETTINGS[name], How(seed=7, augment=noisy)
    whole = fit(net(), rows(), settings, how=how)
    first = fit(
        net(),
        rows(),
        settings,
        how=replace(how, watch=lambda at: at.step != cut, checkpoints=kept_in(tmp_path, every=1)),
    )
    torch.randn(5)
    rest = fit(net(), rows(), settings, how=replace(how, checkpoints=kept_in(tmp_path)))
    assert first.stopped
    assert rest.resumed in {cut, cut - cut % settings.accumulate, cut - 1}
    assert rest.rows == whole.rows
    assert same(rest, whole)
    assert rest.scores == whole.scores


PROGRAM = """
import sys, time
sys.path.insert(0, {here!r})
import torch
torch.set_num_threads(1)
from test_resuming import SETTINGS, How, fit, kept_in, long, net, noisy, rows
def watch(at):
    time.sleep(0.002)
    print(at.step, flush=True)
    return True
fit(net(), rows(), long(SETTINGS[{name!r}]),
    how=How(seed=7, augment=noisy, watch=watch, checkpoints=kept_in({folder!r}, every=3)))
"""


@pytest.mark.parametrize("name", SETTINGS)
def test_a_process_killed_at_a_random_moment_goes_on_to_the_bit(name, tmp_path):
    from warm import Begun  # not where the process that is killed reads this file

    here = Path(__file__).parent
    program = PROGRAM.format(here=str(here), name=name, folder=str(tmp_path / "run"))
    process = Begun(program, cwd=tmp_path, env=os.environ)
    for _ in range(random.Random(name).randint(6, 200)):
        assert process.stdout.readline()
    time.sleep(random.Random(name).random() / 100)
    process.kill()
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    settings, how = long(SETTINGS[name]), How(seed=7, augment=noisy)
    rest = fit(net(), rows(), settings, how=replace(how, checkpoints=kept_in(tmp_path / "run")))
    assert 0 < rest.resumed < 40 * 8
    assert same(rest, fit(net(), rows(), settings, how=how))


def test_a_judge_changes_nothing_and_is_heard_after_every_pass():
    heard = []
    judge = Judge(lambda model: float(model[0].weight.sum()) if not model.training else 0.0, every_s=0.0)

    def watch(at):
        heard.append((at.step, at.quality, at.judged))
        return True

    how = How(augment=noisy, judge=judge, watch=watch)
    assert same(
        fit(net(), rows(), SETTINGS["ema"], how=how), fit(net(), rows(), SETTINGS["ema"], how=How(augment=noisy))
    )
    assert {8, 16, 24, 32} <= {judged for _, _, judged in heard}
    assert heard[-1][0] == heard[-1][2] == 32
    assert heard[-1][1]


def test_a_finished_training_is_not_done_again(tmp_path):
    whole = fit(net(), rows(), SGD, how=How(checkpoints=kept_in(tmp_path)))
    steps = []
    again = fit(net(), rows(), SGD, how=How(checkpoints=kept_in(tmp_path), watch=lambda at: not steps.append(at)))
    assert not steps
    assert same(again, whole)


@pytest.mark.parametrize(
    ("model", "settings", "seed", "said"),
    [
        (net(25), SGD, 0, "another network"),
        (net(), replace(SGD, lr=0.06), 0, r"lr was 0\.05, now it is 0\.06"),
        (net(), replace(SGD, regular=Regular(ema=0.5)), 0, r"regular\.ema was 0\.0, now it is 0\.5"),
        (net(), SGD, 1, "seed was 0, now it is 1"),
    ],
)
def test_the_state_of_another_training_is_refused(model, settings, seed, said, tmp_path):
    fit(net(), rows(), SGD, how=How(checkpoints=kept_in(tmp_path)))
    with pytest.raises(BadInputError, match=said):
        fit(model, rows(), settings, how=How(seed=seed, checkpoints=kept_in(tmp_path)))


def test_what_is_encoded_comes_back_to_the_bit():
    tied = torch.randn(3, 2).T
    state = {"a": [tied, tied, None, (1, 2.5)], 3: {"b": torch.tensor(7), "nan": float("inf")}, "text": "é"}
    back = decode(encode(state))
    assert torch.equal(back["a"][0], tied)
    assert back["a"][2:] == [None, (1, 2.5)]
    assert back[3] == {"b": torch.tensor(7), "nan": float("inf")}
    assert back["text"] == "é"
    with pytest.raises(CorruptError, match="cannot be read"):
        decode({"state.json": b"{", "state.safetensors": b""})


def test_only_the_last_two_states_stay_and_a_damaged_one_is_passed_over(tmp_path):
    kept = Generations(tmp_path)
    for number in range(1, 5):
        assert kept.put({"a": bytes([number]) * 9}) == number
    assert kept.numbers() == [3, 4]
    (tmp_path / "00000004" / "a").write_bytes(b"changed")
    assert kept.latest() == {"a": b"\3" * 9}
    (tmp_path / "00000003" / "a").unlink()
    with pytest.raises(CorruptError, match="damaged"):
        kept.latest()
    assert Generations(tmp_path / "none").latest() is None


def test_a_full_disk_leaves_the_state_before_and_says_so(tmp_path):
    program = f"""
import resource, signal
from pennyweight.errors import StorageError
from pennyweight.store.generations import Generations
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
kept = Generations({str(tmp_path)!r})
kept.put({{"a": b"small"}})
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    kept.put({{"a": bytes(5000)}})
except StorageError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "no room" in said
    assert Generations(tmp_path).latest() == {"a": b"small"}
    assert len(list(tmp_path.iterdir())) == 1
    assert issubclass(StorageError, Exception)
