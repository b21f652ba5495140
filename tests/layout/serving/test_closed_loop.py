"""Seconds of deployments under a closed loop: directions that must hold whatever was fitted."""

from dataclasses import replace

import numpy as np
import pytest

from pennyweight.catalog.accelerators import accelerator
from pennyweight.catalog.models import model
from pennyweight.errors import BadInputError, UnknownNameError
from pennyweight.layout.serving.additive import Additive
from pennyweight.layout.serving.closed_loop import accepted, capacity, decode_values, first_values, settle
from pennyweight.layout.serving.fleet import Pool, Serving, fleet_of
from pennyweight.layout.serving.forms import DECODE, FIRST, marks
from pennyweight.layout.serving.passes import decode_terms, experts_hit, weight_byte, weights_of

LLAMA, DEEPSEEK, QWEN = model("llama-3.1-70b"), model("deepseek-ai/DeepSeek-V3"), model("Qwen/Qwen3-235B-A22B")
BASE = Serving(LLAMA, accelerator("h100"), gemm="fp8", kv="fp8", decode=Pool(tp=4), concurrency=16)
SPARSE = Serving(
    DEEPSEEK, accelerator("h200"), engine="sglang", gemm="fp8", kv="fp8", decode=Pool(tp=8), concurrency=16
)
DECODED, FIRSTED = Additive.prior(DECODE), Additive.prior(FIRST)


def seconds(*cases):
    fleet = fleet_of(cases)
    load = settle(fleet, DECODED)
    return load.tpot_s, FIRSTED.add_up(first_values(fleet, load))


@pytest.mark.parametrize(
    ("case", "more"),
    [
        (BASE, {"concurrency": 64.0}),
        (BASE, {"prompt": 8192.0}),
        (BASE, {"gemm": "bf16"}),
        (BASE, {"decode": Pool(tp=2)}),
        (SPARSE, {"concurrency": 128.0}),
        (SPARSE, {"accelerator": accelerator("h100")}),
    ],
)
def test_more_work_or_a_slower_device_takes_longer_per_token(case, more):
    tpot_s, _ = seconds(case, replace(case, **more))
    assert tpot_s[1] > tpot_s[0]


def test_many_deployments_at_once_are_what_each_is_by_itself():
    cases = (BASE, SPARSE, replace(SPARSE, decode=Pool(attention_dp=8, expert_parallel=8), concurrency=256))
    together = seconds(*cases)
    alone = [seconds(case) for case in cases]
    assert np.allclose(together, np.array([[float(each[at][0]) for each in alone] for at in (0, 1)]))


def test_the_seconds_per_token_are_the_sum_of_their_terms():
    fleet = fleet_of([BASE, SPARSE])
    load = settle(fleet, DECODED)
    assert np.allclose(DECODED.add_up(decode_values(fleet, load.batch)), load.tpot_s)


def test_a_dense_batch_reads_all_weights_and_one_token_few_experts():
    fleet = fleet_of([SPARSE, BASE])
    assert experts_hit(fleet, np.array([1.0, 1.0]))[0] == pytest.approx(8 / 256)
    assert experts_hit(fleet, np.array([1000.0, 1.0]))[0] > 0.999


def test_weights_of_all_devices_are_those_of_the_model():
    held = weights_of(fleet_of([SPARSE]))
    total = float(8 * (held.shared + held.experts)[0])
    assert total == pytest.approx(671e9, rel=0.02)
    assert float(weight_byte(fleet_of([BASE]))[0]) == pytest.approx(70.6e9 / 4, rel=0.05)


def test_reading_weights_of_a_small_batch_is_bytes_over_bandwidth():
    fleet = fleet_of([replace(BASE, gemm="bf16")])
    terms = decode_terms(fleet, np.array([1.0]), np.array([1000.0]))
    ideal = 70.6e9 * 2 / 4 / accelerator("h100").hbm_byte_s
    assert ideal < float(terms["weights"][0]) < 1.4 * ideal


def test_users_beyond_what_memory_holds_wait_for_the_first_token_and_do_not_slow_the_others():
    full = replace(BASE, decode=Pool(tp=2), prompt=8192.0, concurrency=64.0)
    fuller = replace(full, concurrency=512.0)
    assert capacity(fleet_of([full]))[0] < 64
    tpot_s, ttft_s = seconds(full, fuller)
    assert tpot_s[1] == pytest.approx(tpot_s[0], rel=0.01)
    assert ttft_s[1] > 3 * ttft_s[0]


def test_a_pool_of_its_own_for_prefill_keeps_prompts_out_of_the_time_per_token():
    together = replace(BASE, prompt=8192.0, concurrency=32.0)
    apart = replace(together, prefill=Pool(tp=4, workers=4))
    tpot_s, _ = seconds(together, apart)
    assert tpot_s[1] < tpot_s[0]


def test_too_few_prefill_workers_starve_the_decode_pool():
    fast = replace(BASE, prompt=16384.0, output=64.0, concurrency=64.0, prefill=Pool(tp=4, workers=64))
    slow = replace(fast, prefill=Pool(tp=1, workers=1))
    load = settle(fleet_of([fast, slow]), DECODED)
    assert load.batch[1] < 0.2 * load.batch[0]


def test_a_found_prefix_makes_the_first_token_earlier():
    _, ttft_s = seconds(replace(BASE, prompt=8192.0), replace(BASE, prompt=8192.0, prefix_hit=0.9))
    assert ttft_s[1] < 0.6 * ttft_s[0]


def test_drafting_pays_for_few_users_more_than_for_many():
    few, many = (replace(SPARSE, concurrency=users) for users in (4.0, 512.0))
    tpot_s, _ = seconds(few, replace(few, drafts=2.0), many, replace(many, drafts=2.0))
    assert tpot_s[1] / tpot_s[0] < tpot_s[3] / tpot_s[2]
    assert tpot_s[1] < 0.8 * tpot_s[0]
    assert accepted(np.array([0.0]))[0] == 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"gemm": "fp3"}, "fp8"),
        ({"engine": "vlm"}, "vllm"),
        ({"prefix_hit": 1.0}, "share below one"),
        ({"prompt": 0.0}, "numbers above zero"),
    ],
)
def test_an_impossible_deployment_is_refused_with_the_fix(wrong, said):
    with pytest.raises((BadInputError, UnknownNameError), match=said):
        replace(BASE, **wrong)


def test_a_pool_of_nothing_is_refused():
    with pytest.raises(BadInputError, match="tp = 0"):
        Pool(tp=0)


def test_a_thousand_deployments_are_settled_in_one_go():
    fleet = fleet_of([BASE, SPARSE]).take(np.arange(2).repeat(500))
    assert len(settle(fleet, DECODED).tpot_s) == 1000


def test_prompts_of_users_who_begin_at_once_wait_for_half_of_those_before_them():
    users = np.array([4.0, 24.0, 44.0])
    fleet = fleet_of([replace(BASE, prompt=8192.0, output=64.0, concurrency=each) for each in users])
    load = settle(fleet, DECODED)
    cold, steady = (first_values(fleet, load, each)["p_products"] for each in (1.0, 0.0))
    assert np.allclose(cold / steady, 1 + np.minimum(load.batch, users) / 20)
    assert np.allclose(steady, steady[0])


def test_attention_groups_wait_for_each_other_whatever_their_number_but_not_in_vllm():
    four, eight = (replace(SPARSE, decode=Pool(tp=8 // each, attention_dp=each)) for each in (4, 8))
    fleet = fleet_of([SPARSE, four, eight, replace(four, engine="vllm")])
    load = settle(fleet, DECODED)
    waits = first_values(fleet, load)["groups"] / load.step_s
    assert waits[0] == waits[3] == 0
    assert waits[1] == pytest.approx(waits[2])
    assert waits[1] > 10


def test_passes_that_go_by_first_are_waited_for_where_prompts_join_those_that_decode():
    fleet = fleet_of([BASE, replace(BASE, held=15.0), replace(BASE, held=15.0, prefill=Pool(tp=4))])
    load = settle(fleet, DECODED)
    assert np.allclose(first_values(fleet, load)["held"], load.step_s * np.array([0, 15, 0]))


def test_smaller_chunks_make_more_passes_of_the_prompts_of_a_crowd():
    crowd = replace(BASE, concurrency=128)
    fleet = fleet_of([replace(crowd, chunk=1024.0), replace(crowd, chunk=8192.0), replace(crowd, chunk=65536.0)])
    launch = first_values(fleet, settle(fleet, DECODED))["launch"]
    assert launch[0] > 2 * launch[1] > 2 * launch[2]


def test_the_host_launches_less_of_a_prompt_that_was_recorded():
    fleet = fleet_of([SPARSE, replace(SPARSE, captured=2048.0), replace(SPARSE, captured=2048.0, prompt=4096.0)])
    told = first_values(fleet, settle(fleet, DECODED))
    for name in ("launch", "latent", "experts"):
        assert told[name][1] < 0.5 * told[name][0] <= 0.5 * told[name][2]


@pytest.mark.parametrize("wrong", [{"chunk": 0.0}, {"held": -1.0}, {"captured": -1.0}])
def test_passes_that_cannot_be_are_refused(wrong):
    with pytest.raises(BadInputError, match="go by first"):
        replace(BASE, **wrong)


def test_an_engine_has_a_mark_of_its_own_on_hopper():
    told = marks(fleet_of([BASE, SPARSE, replace(SPARSE, accelerator=accelerator("b200"))]))
    assert told["engine on hopper=sglang"].tolist() == [0, 1, 0]
    assert told["engine on hopper=vllm"].tolist() == [1, 0, 0]
