"""What the scripts of a public benchmark set, and that it is told of rows of that benchmark alone."""

from dataclasses import replace

import pytest

from pennyweight.catalog.accelerators import accelerator
from pennyweight.catalog.models import model
from pennyweight.layout.serving.fleet import CHUNK, Pool, Serving
from pennyweight.layout.tables.serving_scripts import as_scripted, mean_wait

B200, H200 = accelerator("b200"), accelerator("h200")
DEEPSEEK = Serving(model("deepseek-ai/DeepSeek-V3"), B200, "sglang", "fp8", decode=Pool(tp=8), prompt=921.6)
LLAMA = Serving(model("llama-3.1-70b"), B200, "trtllm", "fp8", decode=Pool(tp=4), prompt=921.6, output=921.6)


def scripted(case, family="deepseek-v3", day="2026-02-10"):
    return as_scripted(case, family, f"db-dump/2026-04-27; silicon_concurrency=16; measured={day}")


def test_rows_of_other_sources_are_as_engines_are_shipped():
    assert as_scripted(DEEPSEEK, "deepseek-v3", "mine; measured=2026-02-10") == DEEPSEEK
    assert (DEEPSEEK.chunk, DEEPSEEK.held, DEEPSEEK.captured) == (CHUNK, 0, 0)


def test_pools_of_their_own_for_prompts_are_left_as_they_are():
    apart = replace(DEEPSEEK, prefill=Pool(tp=8))
    assert scripted(apart) == apart


@pytest.mark.parametrize(("users", "held"), [(8, 5), (15, 5), (16, 15), (256, 15)])
def test_a_prompt_waits_half_the_passes_between_two_looks(users, held):
    assert scripted(replace(DEEPSEEK, concurrency=users)).held == held


def test_sglang_looks_at_every_pass_on_hopper_and_for_models_without_such_a_script():
    assert scripted(replace(DEEPSEEK, accelerator=H200)).held == 0
    assert scripted(DEEPSEEK, "qwen3-235b-a22b").held == 0


def test_four_devices_with_eight_bits_look_often_however_many_users_there_are():
    many = replace(DEEPSEEK, concurrency=64, moe="fp8", decode=Pool(tp=4))
    assert scripted(many).held == 5
    assert scripted(replace(many, moe="nvfp4")).held == 15


def test_short_prompts_of_llama_wait_for_each_other_but_not_on_eight_devices():
    waits = scripted(replace(LLAMA, concurrency=4), "llama-3.1-70b").held
    assert 18 < waits < 20
    assert scripted(replace(LLAMA, decode=Pool(tp=8)), "llama-3.1-70b").held == 0
    assert scripted(replace(LLAMA, output=7372.8), "llama-3.1-70b").held == 0


def test_a_crowd_on_deepseek_waits_from_the_day_on_that_its_script_says():
    crowd = replace(DEEPSEEK, engine="trtllm", concurrency=64, output=921.6)
    assert scripted(crowd, day="2026-01-28").held == 0
    assert 20 < scripted(crowd, day="2026-01-29").held < 40
    assert scripted(replace(crowd, concurrency=32), day="2026-01-29").held == 0


def test_passes_took_one_prompt_of_deepseek_until_they_were_made_wider():
    case = replace(DEEPSEEK, engine="trtllm")
    assert scripted(case, day="2026-01-20").chunk == case.prompt
    assert scripted(case, day="2026-01-21").chunk == CHUNK


def test_short_passes_of_minimax_are_recorded_and_hold_two_prompts():
    case = replace(DEEPSEEK, engine="vllm", moe="nvfp4")
    found = scripted(case, "minimax-m2.5", "2026-04-22")
    assert (found.captured, found.chunk) == (2048, 2 * case.prompt)
    assert scripted(case, "minimax-m2.5", "2026-04-03").captured == 0
    assert scripted(replace(case, accelerator=H200), "minimax-m2.5", "2026-04-22").captured == 0


def test_the_more_prompts_come_the_less_each_waits_for_the_others():
    assert mean_wait(0, 0.1) == 0
    assert mean_wait(20, 0) == 20
    assert mean_wait(20, 0.01) > mean_wait(20, 0.1) > mean_wait(20, 1e6) == pytest.approx(10, rel=1e-4)
