"""Names of models: which spellings are one, and what a name says of a family and of sizes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pennyweight.catalog.model_names import keys, plain, said, spellings


@pytest.mark.parametrize(
    ("text", "family", "billions", "active"),
    [
        ("Qwen4-80B-A5B", "qwen4", 80, 5),
        ("Qwen3_235B_a22B (tokendrop)", "qwen3", 235, 22),
        ("meta-llama/Llama-3.1-405B-Instruct-FP8", "llama31", 405, 405),
        ("LLAMA3_70B", "llama3", 70, 70),
        ("Ling-1T", "ling", 1000, 1000),
        ("mpt-350m", "mpt", 0.35, 0.35),
        ("deepseek3-671b", "deepseek3", 671, 671),
        ("Mixtral-8x7B", "mixtral", 46, 12.6),
        ("Nemotron_3_Nano", "nemotron3nano", 0, 0),
        ("", "", 0, 0),
    ],
)
def test_a_name_says_its_family_and_its_sizes(text, family, billions, active):
    found = said(text)
    assert found.family == family
    assert found.parameters == pytest.approx(billions * 1e9, rel=0.01)
    assert found.active == pytest.approx(active * 1e9, rel=0.01)


def test_experts_counted_in_a_name_make_the_whole_larger_than_what_is_active():
    few, many = said("Llama-9-17B-16E"), said("Llama-9-17B-128E")
    assert few.active == many.active == 17e9
    assert many.parameters > 3 * few.parameters > 9 * few.active


def test_endings_that_say_a_precision_a_date_or_a_framework_are_taken_off():
    assert "qwen3-235b-a22b" in set(spellings("Qwen/Qwen3-235B-A22B-Thinking-2507-FP8"))
    assert "mixtral-8x7b" in set(spellings("Mixtral-8X7B-Maxtext"))
    assert "llama-3.3-70b" in set(spellings("nvidia/Llama-3.3-70B-Instruct-NVFP4"))


def test_hyphens_and_points_mean_nothing_but_sizes_are_kept_apart():
    assert keys("Llama 3.1-8B")[0] == keys("llama31_8b")[0]
    assert keys("gemma-3-1b")[0] != keys("gemma-31b")[0]


@given(st.text())
def test_any_text_has_a_name_keys_and_sizes(text):
    assert plain(plain(text)) == plain(text) or len(text) > 100 or "(" in text
    assert len([*spellings(text)]) < 1000
    found = said(text)
    assert 0 <= found.active <= found.parameters
    assert isinstance(keys(text), list)
