"""A cut checkpoint learns from the one it was made of: nearer to it, never worse than before, the same every time."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from llamas import settings_of
from patients import cut, language, renumbered, taught
from safetensors.torch import load_file

from pennyweight.engine import Shop
from pennyweight.errors import BadInputError, NoEffectError, OverBudgetError, StorageError
from pennyweight.runtimes.hf import describe, open_model, open_tokenizer
from pennyweight.training.healing import Asked, heal, needed_byte, plan
from pennyweight.training.healing.answering import Teacher, loss_of
from pennyweight.training.healing.planning import check_memory, check_room
from pennyweight.training.healing.reading import parted, teachers_numbers, windows
from pennyweight.training.healing.workplace import Workplace, aside_of

TOKENS = 4000


@pytest.fixture(scope="module")
def ward(tmp_path_factory):
    """The folder with the model "whole", "cut" without one of its blocks, and a text."""
    place = tmp_path_factory.mktemp("ward")
    taught(place / "whole")
    cut(place / "whole", place / "cut")
    (place / "text.txt").write_text(language(5000, 7))
    return place


@pytest.fixture(autouse=True)  # ruff: ignore[pytest-fixture-autouse] - no test may write into another's ledger
def _own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("PENNYWEIGHT_HOME", str(tmp_path / "home"))


def asked(ward, **more):
    return Asked(ward / "whole", (ward / "text.txt",), **{"window": 32, "tokens": TOKENS, **more})


@pytest.fixture(scope="module")
def healed(ward, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PENNYWEIGHT_HOME", str(home))
        return heal(plan(ward / "cut", asked(ward)), ward / "healed"), home


def weights(folder):
    return load_file(folder / "model.safetensors")


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_a_cut_model_comes_nearer_to_its_teacher(ward, healed):
    found, _ = healed
    assert found.teacher < found.before
    assert found.after < found.before
    assert found.recovered > 0.3
    held = plan(ward / "cut", asked(ward)).held
    model = open_model(ward / "healed")
    assert math.exp(loss_of(lambda ids: model(input_ids=ids).logits, held, 8)) == pytest.approx(found.after, rel=1e-5)


def test_what_is_written_is_laid_out_as_what_came_in(ward, healed):
    before, after = weights(ward / "cut"), weights(ward / "healed")
    assert {name: (each.dtype, each.shape) for name, each in before.items()} == {
        name: (each.dtype, each.shape) for name, each in after.items()
    }
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        assert (ward / "healed" / name).read_bytes() == (ward / "cut" / name).read_bytes()
    assert not any(torch.equal(before[name], after[name]) for name in before)
    assert not aside_of(ward / "healed").exists()


def test_the_receipt_is_what_the_ledger_has(healed):
    found, home = healed
    entries = list(Shop.at(home).ledger.entries("heal cut"))
    assert len(entries) >= 2
    assert sum(each.cost.device_s for each in entries) == pytest.approx(found.cpu_s)
    assert entries[-1].note["after"] == found.after
    assert 0 < found.peak_byte < found.most_byte
    assert (found.tokens, found.updates, found.learning) == (TOKENS, 16, found.parameters)


def test_adapters_are_added_to_the_weights_and_the_head_stays(ward, tmp_path):
    found = heal(plan(ward / "cut", asked(ward, lora=4, dtype="bfloat16")), tmp_path / "out")
    assert found.after < found.before
    assert found.learning < found.parameters / 4
    before, after = weights(ward / "cut"), weights(tmp_path / "out")
    stayed = {name for name in before if torch.equal(before[name], after[name])}
    assert stayed == {"model.embed_tokens.weight", "lm_head.weight"}


def test_only_what_is_named_learns(ward, tmp_path):
    found = heal(plan(ward / "cut", asked(ward, only=("norm", "layers.1.mlp"))), tmp_path / "out")
    before, after = weights(ward / "cut"), weights(tmp_path / "out")
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {name for name in before if "norm" in name or "layers.1.mlp" in name}
    assert found.learning == sum(before[name].numel() for name in moved)


def test_a_healing_that_is_interrupted_goes_on_to_the_same_weights(ward, healed, tmp_path):
    made = plan(ward / "cut", asked(ward))

    def stop(now):
        if now.stage == "learning":
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        heal(made, tmp_path / "out", watch=stop)
    assert not (tmp_path / "out").exists()
    with pytest.raises(BadInputError, match="--resume"):
        heal(made, tmp_path / "out")
    with pytest.raises(BadInputError, match="other settings"):
        heal(plan(ward / "cut", asked(ward, lr=1e-3)), tmp_path / "out", resume=True)
    again = heal(made, tmp_path / "out", resume=True)
    assert again.points == healed[0].points
    assert same(weights(tmp_path / "out"), weights(ward / "healed"))


KILLED = """
import os, signal, sys
from pathlib import Path
from pennyweight.training.healing import Asked, heal, plan
import pennyweight.training.healing.watching as watching
watching._TELL_S = 0.0
heard = 0
def watch(now):
    global heard
    heard += now.stage == "learning"
    if heard == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
place = Path(sys.argv[1])
asked = Asked(place / "whole", (place / "text.txt",), window=32, tokens=4000)
heal(plan(place / "cut", asked), Path("out"), watch=watch)
"""


def test_a_process_that_is_killed_leaves_what_goes_on_to_the_same_weights(ward, healed, tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, str(ward), "9"], cwd=tmp_path, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    again = heal(plan(ward / "cut", asked(ward)), tmp_path / "out", resume=True)
    assert again.points == healed[0].points
    assert same(weights(tmp_path / "out"), weights(ward / "healed"))


def test_another_seed_gives_other_weights(ward, healed, tmp_path):
    heal(plan(ward / "cut", asked(ward, seed=1)), tmp_path / "out")
    assert not same(weights(tmp_path / "out"), weights(ward / "healed"))


def test_what_gained_nothing_is_not_written(ward, tmp_path):
    shutil.copytree(ward / "whole", tmp_path / "copy")
    with pytest.raises(NoEffectError, match="did not become better"):
        heal(plan(tmp_path / "copy", asked(ward, mix=1.0, lr=1e-7, tokens=600)), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not aside_of(tmp_path / "out").exists()


def test_a_budget_is_planned_with_and_kept(ward, healed, tmp_path):
    whole = healed[0].usd
    found = heal(plan(ward / "cut", asked(ward, tokens=40 * TOKENS, usd=2 * whole)), tmp_path / "out")
    assert found.usd <= 2 * whole
    assert 0 < found.tokens < 40 * TOKENS
    with pytest.raises(OverBudgetError, match="less than a step"):
        heal(plan(ward / "cut", asked(ward, usd=1e-9)), tmp_path / "none")
    assert not aside_of(tmp_path / "none").exists()


def test_it_ends_when_perplexity_no_longer_falls(ward, tmp_path):
    found = heal(plan(ward / "cut", asked(ward, lr=0.05, only=("norm",))), tmp_path / "out")
    assert found.why == "Perplexity on what is held out no longer fell."
    assert found.updates < 16
    assert found.after == pytest.approx(min(each for _, each in found.points), rel=1e-5)


def test_gpt2_in_bfloat16_is_healed_through_adapters(tmp_path):
    taught(tmp_path / "whole", 40, "gpt2", dtype="bfloat16", tied=True)
    cut(tmp_path / "whole", tmp_path / "cut")
    (tmp_path / "text.txt").write_text(language(3000, 7))
    made = plan(tmp_path / "cut", Asked(tmp_path / "whole", (tmp_path / "text.txt",), lora=2, window=32, lr=0.01))
    found = heal(made, tmp_path / "out")
    assert found.after < found.before
    before, after = weights(tmp_path / "cut"), weights(tmp_path / "out")
    assert {each.dtype for each in after.values()} == {torch.bfloat16}
    assert {name: each.shape for name, each in before.items()} == {name: each.shape for name, each in after.items()}
    assert torch.equal(before["transformer.wte.weight"], after["transformer.wte.weight"])


def test_the_teacher_says_the_same_to_a_student_that_numbers_tokens_otherwise(ward, tmp_path):
    other = renumbered(ward / "whole", tmp_path / "other")
    made = plan(other, asked(ward))
    usual = plan(ward / "cut", asked(ward))
    assert usual.numbers is None
    assert not np.array_equal(made.held.x, usual.held.x)
    model = open_model(ward / "whole")
    losses = [loss_of(Teacher(model, each.numbers), each.held, 8) for each in (made, usual)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert (made.numbers[-2:] == -1).all()


def test_a_teacher_that_lacks_tokens_is_refused(ward):
    tokenizer = open_tokenizer(ward / "whole")
    other = open_tokenizer(ward / "whole")
    other.add_tokens(["<|new|>"])
    described = describe(ward / "whole")
    with pytest.raises(BadInputError, match="does not know the token"):
        teachers_numbers((other, tokenizer), replace(described, vocabulary=len(other)), described)


def test_windows_follow_each_other_and_an_eighth_is_held_out(ward):
    tokenizer = open_tokenizer(ward / "whole")
    every = windows([language(5000, 7)], tokenizer, 32)
    assert np.array_equal(every.x[:, 1:], every.y[:, :-1])
    assert np.array_equal(every.y[:-1, -1], every.x[1:, 0])
    train, held = parted(every, 10**6)
    assert len(train) + len(held) == len(every)
    assert len(held) == pytest.approx(len(every) / 8, abs=8)
    assert not {each.tobytes() for each in held.x} & {each.tobytes() for each in train.x}
    assert len(parted(every, 5)[1]) == 5


def test_a_mark_of_the_beginning_stands_before_every_window(ward):
    class Marking:
        bos_token_id, eos_token_id = 0, None

        def __call__(self, text, add_special_tokens=True, verbose=True):
            ids = list(range(1, len(text) + 1))
            return {"input_ids": [0, *ids] if add_special_tokens else ids}

    every = windows(["a" * 40 * 4], Marking(), 4)
    assert (every.x[:, 0] == 0).all()
    assert np.array_equal(every.x[:, 1:], every.y[:, :-1])
    assert np.array_equal(every.y.ravel(), np.arange(1, every.y.size + 1))


def test_what_cannot_be_healed_is_refused_before_weights_are_read(ward, tmp_path):
    rounded = shutil.copytree(ward / "cut", tmp_path / "rounded")
    (rounded / "config.json").write_text(json.dumps({**settings_of(ward / "cut"), "quantization_config": {}}))
    with pytest.raises(BadInputError, match="are rounded"):
        plan(rounded, asked(ward))
    with pytest.raises(BadInputError, match="its own teacher"):
        plan(ward / "whole", asked(ward))
    with pytest.raises(BadInputError, match="more than the models look at"):
        plan(ward / "cut", asked(ward, window=4096))
    with pytest.raises(BadInputError, match="too few for 16 windows"):
        plan(ward / "cut", replace(asked(ward), texts=(_short(tmp_path),)))
    with pytest.raises(BadInputError, match="no loss"):
        asked(ward, temperature=0.0)


def _short(place):
    (place / "short.txt").write_text("the mill")
    return place / "short.txt"


def test_memory_that_is_not_there_is_said_with_the_figure(ward):
    made = plan(ward / "cut", asked(ward))
    assert needed_byte(made) > 0
    check_memory(made)
    large = replace(made, description=replace(made.description, parameters=10**12))
    with pytest.raises(BadInputError, match=r"about \d+ TB of memory"):
        check_memory(large)


def test_a_disk_that_is_too_small_is_said_with_the_figure(ward, tmp_path):
    made = plan(ward / "cut", asked(ward))
    check_room(made, tmp_path / "new" / "out")
    large = replace(made, description=replace(made.description, parameters=10**13))
    with pytest.raises(StorageError, match=r"takes \d+ TB beside"):
        check_room(large, tmp_path / "new" / "out")


def test_a_name_that_no_weight_has_is_said(ward, tmp_path):
    with pytest.raises(BadInputError, match="No weight has wheel"):
        heal(plan(ward / "cut", asked(ward, only=("wheel",))), tmp_path / "out")
    with pytest.raises(BadInputError, match="adapter of rank 900"):
        heal(plan(ward / "cut", asked(ward, lora=900)), tmp_path / "out")
    assert list(tmp_path.iterdir()) == [tmp_path / "home"]


def test_two_processes_do_not_work_towards_one_folder(tmp_path):
    with Workplace(tmp_path / "out", "key") as place:
        place.note({"tokens": 1})
        with pytest.raises(StorageError, match="Another process"), Workplace(tmp_path / "out", "key"):
            pass
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("")
    with pytest.raises(BadInputError, match="holds something"), Workplace(tmp_path / "out", "key"):
        pass


def test_what_was_begun_is_begun_again_by_force(tmp_path):
    with Workplace(tmp_path / "out", "key") as place:
        place.note({"tokens": 1})
        place.best(3).write_bytes(b"")
    with Workplace(tmp_path / "out", "other", force=True) as place:
        assert place.noted is None
        assert not place.best(3).exists()
    assert not Path(aside_of(tmp_path / "out")).exists()


def test_wide_models_learn_at_a_lower_rate_unless_told(ward):
    made = plan(ward / "cut", asked(ward))
    wide = replace(made, student=replace(made.student, config={**made.student.config, "hidden_size": 4096}))
    assert made.settings(TOKENS).lr == 5e-4
    assert wide.settings(TOKENS).lr == pytest.approx(5e-4 / 16)
    assert replace(wide, asked=asked(ward, lora=8)).settings(TOKENS).lr == pytest.approx(2e-3 / 16)
    assert replace(wide, asked=asked(ward, lr=0.1)).settings(TOKENS).lr == 0.1
