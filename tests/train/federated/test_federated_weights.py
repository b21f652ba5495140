"""What goes over the wire in few bytes, what clients are told, and what rules make of their updates."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from pennyweight.core import Regular, TrainSpec
from pennyweight.errors import BadInputError, CorruptError, PennyweightError
from pennyweight.train.federated import Aside, FederatedSpec, Privacy, run
from pennyweight.train.federated.circle import gathered
from pennyweight.train.federated.cutting import cut, part
from pennyweight.train.federated.frames import Message
from pennyweight.train.federated.run import run_among
from pennyweight.train.federated.tenant import Tenant, even, plain, settings_of
from pennyweight.train.federated.weights import Packer, Rule, Told, codec, fill, flat, unpacked

LOCAL = TrainSpec(epochs=1, batch=16, optimizer="sgd", lr=0.3, momentum=0.0)
SPEC = FederatedSpec(5, 6, local=LOCAL)


def rows(count=400, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 4, count)
    x = rng.normal(size=(count, 8)) + 3 * np.eye(4, 8)[y]
    return SimpleNamespace(x=x.astype(np.float32), y=y)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 4))


def right(model):
    data = rows(400, 1)
    with torch.no_grad():
        return float((model(torch.tensor(data.x)).argmax(1).numpy() == data.y).mean())


def test_eight_bits_train_as_well_for_less_than_half_of_the_bytes():
    plainly, shortly = (
        run(network(), rows(), replace(SPEC, compress=each), Aside(judge=right)) for each in ("", "int8")
    )
    assert shortly.rounds[-1].quality > plainly.rounds[-1].quality - 0.02
    for before, after in zip(plainly.rounds[1:], shortly.rounds[1:], strict=True):
        assert after.down_byte < 0.4 * before.down_byte
        assert after.up_byte < 0.4 * before.up_byte
    assert shortly.rounds[0].down_byte >= plainly.rounds[0].down_byte
    assert shortly.wire_byte < 0.5 * plainly.wire_byte


def test_the_few_largest_numbers_are_enough_when_the_rest_is_kept_for_later():
    spec = replace(SPEC, rounds=10, compress="topk:0.1+int8", rule="fedavgm:0.5")
    assert run(network(), rows(), spec, Aside(judge=right)).rounds[-1].quality > 0.9


def test_who_misses_a_move_is_told_all_again_and_everybody_has_the_same_weights():
    code, told = codec("int4"), Told(codec("int4"))
    rng, known = np.random.default_rng(0), {}
    weights = rng.normal(size=700)
    for answer in ({0, 1, 2}, {0, 2}, {0, 1, 2}, {2}, {0, 1, 2}):
        for client, arrays in told.arrays(weights, [0, 1, 2]).items():
            if client not in answer:
                continue
            whole = arrays.get("weights")
            known[client] = known[client] + unpacked(code, arrays["move"], 700) if whole is None else whole.copy()
        told.heard(answer)
        assert all(np.array_equal(known[each], known[min(answer)]) for each in answer)
        weights += rng.normal(size=700) / 10
    error = np.abs(known[2] - weights).max()
    for _ in range(20):
        for client, arrays in told.arrays(weights, [0, 1, 2]).items():
            known[client] += unpacked(code, arrays["move"], 700)
        told.heard({0, 1, 2})
    assert np.abs(known[2] - weights).max() < 1e-3 * error


def test_clients_drawn_by_turns_and_one_that_dies_do_not_hinder_short_rounds():
    data = rows()
    parts = [part(data, each) for each in cut(data.y, 5, None, 0)]
    spec = replace(SPEC, rounds=8, share=0.6, compress="int8")
    with gathered(network(), parts, Aside().task, 0) as circle:
        kill = circle.processes[3].kill
        done = run_among(circle, network(), spec, Aside(judge=right, watch=lambda told: told.number != 2 or not kill()))
    assert done.rounds[-1].quality > 0.9
    assert [each.asked for each in done.rounds][:2] == [3, 3]


def test_what_a_code_loses_is_told_later():
    packer, code = Packer(codec("topk:0.2")), codec("topk:0.2")
    x, total = np.random.default_rng(0).normal(size=600), np.zeros(600)
    for _ in range(200):
        total += unpacked(code, packer.packed(packer.whole(x)), 600)
    assert np.abs(total / 200 - x).max() < 0.1


@pytest.mark.parametrize("length", [0, 3, 650])
def test_bytes_that_are_no_code_are_refused(length):
    with pytest.raises(CorruptError):
        unpacked(codec("topk:0.1+int8"), np.zeros(length, np.uint8), 10_000)


def test_private_updates_may_be_short_and_spend_no_more():
    pytest.importorskip("opacus")
    spec = FederatedSpec(20, 4, local=replace(LOCAL, epochs=3), privacy=Privacy(8.0), compress="int8")
    done = run(nn.Linear(8, 4), rows(600), spec, Aside(judge=right))
    assert 7.5 < done.epsilon <= 8.0
    assert done.rounds[-1].quality > 0.5


def test_facts_are_told_once_and_again_when_they_change():
    told = Told(None)
    assert told.news(0, {"lr": 1, "round": 1}) == {"lr": 1, "round": 1}
    assert told.news(0, {"lr": 1, "round": 2}) == {"round": 2}
    assert told.news(1, {"lr": 1, "round": 2}) == {"lr": 1, "round": 2}


def test_every_setting_reaches_the_clients_as_it_was():
    settings = replace(LOCAL, schedule="cosine", learns=("fc",), regular=Regular(clip_norm=1.0), accumulate=2)
    assert settings_of(json.loads(json.dumps(plain(settings)))) == settings
    bound = replace(LOCAL, regular=Regular(max_norm=0.01))
    done = run(nn.Linear(8, 4), rows(), replace(SPEC, local=bound))
    assert done.model.weight.norm(dim=1).max() < 0.011


def test_a_move_from_weights_that_were_never_told_is_refused():
    tenant = Tenant(0, network(), rows(50))
    facts = {"local": plain(LOCAL), "round": 1, "compress": "int8"}
    answer = tenant.answer(Message("train", facts, {"move": np.zeros(100, np.uint8)}))
    assert answer.kind == "failed"
    assert "weights it has not told" in answer.facts["why"]


def test_a_tenant_with_another_model_or_without_rows_is_left_out():
    data = rows()
    parts = [part(data, each) for each in cut(data.y, 4, None, 0)]
    parts[2] = SimpleNamespace(x=data.x[:0], y=data.y[:0])
    with gathered(network(), parts, Aside().task, 0) as circle:
        done = run_among(circle, network(), SPEC)
    assert "Client 2 is lost: it has no rows" in done.rounds[0].said[0]
    assert {each.counted for each in done.rounds} == {3}
    other = gathered(nn.Linear(8, 4), parts, Aside().task, 0)
    with other as circle, pytest.raises(PennyweightError, match="its model is another one"):
        run_among(circle, network(), SPEC)


@pytest.mark.parametrize("said", [float("nan"), float("inf"), "7", None, [1]])
def test_what_a_stranger_says_is_a_number_or_nothing(said):
    assert Message("update", {"cpu_s": said}).number("cpu_s") is None
    assert Message("update", {"cpu_s": 2}).number("cpu_s") == 2.0


def test_batches_are_of_one_size():
    assert [even(each, 16) for each in (67, 64, 3, 17)] == [14, 16, 3, 9]


def test_momentum_goes_on_where_updates_agree_and_looks_ahead():
    rule = Rule("fedavgm", 0.5)
    weights = rule.move(np.zeros(1), np.ones(1))
    assert weights == 1.5
    assert rule.move(weights, np.ones(1)) == 1.5 + 1 + 0.5 * 1.5


def test_a_variance_that_noise_has_made_negative_is_zero():
    norm = nn.BatchNorm1d(2)
    fill(norm, np.array([1, 1, 0, 0, 0, 0, -0.5, 2.0]))
    assert norm.running_var.tolist() == [0, 2]
    assert len(flat(norm)) == 8


@pytest.mark.parametrize("name", ["powersgd:2", "fp16", "int8+zip"])
def test_what_cannot_pack_one_update_is_refused(name):
    with pytest.raises(BadInputError, match="does not compress single updates"):
        FederatedSpec(compress=name)


def test_contradictions_are_refused_with_a_fix():
    with pytest.raises(BadInputError, match="no sum to be hidden in"):
        FederatedSpec(compress="int8", secure=True)
    with pytest.raises(BadInputError, match="cannot be read"):
        FederatedSpec(rule="fedavgm:1")
    with pytest.raises(BadInputError, match="cannot be hidden from the optimiser"):
        FederatedSpec(local=TrainSpec(optimizer="adam"), privacy=Privacy(8.0, unit="example"))
