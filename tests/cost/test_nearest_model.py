"""Which model a name means; and what stands in for one that nobody described."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pennyweight.catalog.models import model, model_aliases, model_names
from pennyweight.core.dims import Dims
from pennyweight.cost.nearest_model import known_model, nearest_model, stand_in
from pennyweight.cost.standing_in import scaled, usual
from pennyweight.cost.transformer import active_parameters, parameters, training_flop
from pennyweight.errors import UnknownNameError

SIZES = st.floats(1e8, 2e12)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("GPT OSS 120B", "openai/gpt-oss-120b"),
        ("Nemotron_3_Nano", "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16"),
        ("LLAMA3_70B", "meta-llama/Meta-Llama-3-70B"),
        ("Llama3.0-70B-PyTorch", "meta-llama/Meta-Llama-3-70B"),
        ("DeepSeekV3 (w/o MTP)", "deepseek-ai/DeepSeek-V3"),
        ("amd/Kimi-K2.5-MXFP4", "moonshotai/Kimi-K2.5"),
        ("Qwen3_5_35B_A3B", "Qwen/Qwen3.5-35B-A3B"),
        ("Qwen3_VL_30B_a3B", "Qwen/Qwen3-VL-30B-A3B-Instruct"),
        ("Mixtral-8X7B-Maxtext", "mistralai/Mixtral-8x7B-v0.1"),
        ("llama31_405b", "meta-llama/Meta-Llama-3.1-405B"),
    ],
)
def test_other_spellings_precisions_and_frameworks_are_the_same_model_exactly(text, name):
    found = nearest_model(text)
    assert (found.dims.name, found.exactly, found.note) == (name, True, "")


def test_exact_names_always_win():
    for alias, name in model_aliases():
        found = nearest_model(alias)
        assert found.exactly
        assert found.dims == model(alias)
        assert model(alias).name == name or model(alias).layers


def test_a_relative_made_as_large_stands_in_and_is_said():
    found = nearest_model("Llama-5-200B")
    assert not found.exactly
    assert "Llama-3.1-405B stands in for Llama-5-200B, made to have 200 billion" in found.note
    assert parameters(found.dims) == pytest.approx(200e9, rel=0.02)


def test_a_relative_with_experts_stands_in_for_one_with_experts():
    found = nearest_model("Qwen4-80B-A5B")
    assert found.dims.experts > 0
    assert parameters(found.dims) == pytest.approx(80e9, rel=0.04)
    assert active_parameters(found.dims) == pytest.approx(5e9, rel=0.3)


def test_without_a_relative_a_usual_transformer_stands_in():
    found = nearest_model("Frobnicator-40B-A4B")
    assert "a usual transformer of 40 billion parameters, 4 of them active" in found.note
    assert parameters(found.dims) == pytest.approx(40e9, rel=0.05)


def test_without_a_size_the_relative_stands_in_as_it_is():
    assert nearest_model("GLM-9-Ultra").dims.name.startswith("zai-org/GLM")


@pytest.mark.parametrize("text", ["", "XYZ", "Frobnicator", "SDXL-MaxDiffusion", "\x00", "-"])
def test_a_name_that_says_neither_family_nor_size_is_refused(text):
    with pytest.raises(UnknownNameError):
        nearest_model(text)


def test_a_model_taken_out_of_the_catalog_is_stood_in_for_by_another_of_its_size():
    off = []
    for name in model_names():
        try:
            found = stand_in(name, (name,))
        except UnknownNameError:
            continue
        assert "stands in" in found.note
        off.append(abs(training_flop(found.dims, 4096) / training_flop(model(name), 4096) - 1))
    assert len(off) > 130
    assert sorted(off)[len(off) // 2] < 0.1


@given(st.text(max_size=300))
@example("9" * 200 + "b")
@example("0b-a0b")
@example("8x0b")
@example("a5b")
@example("999999x99999999999999b")
@example("0.0000000001m")
def test_any_text_is_a_model_or_is_refused_with_a_sentence(text):
    try:
        found = nearest_model(text)
    except UnknownNameError:
        found = None
    assert (found is not None and found.exactly) == (known_model(text) is not None)
    if found is not None:
        assert parameters(found.dims) > 0
        assert bool(found.note) != found.exactly


@given(SIZES, st.floats(0.005, 1.0))
def test_a_usual_transformer_has_the_parameters_asked_for(every, share):
    made = usual("made", every, every * share)
    assert parameters(made) == pytest.approx(every, rel=0.25)


@given(st.sampled_from(model_names()), st.floats(0.34, 2.9))
def test_any_model_can_be_made_larger_and_smaller(name, times):
    relative = model(name)
    every, active = float(parameters(relative)) * times, float(active_parameters(relative)) * times
    made = scaled(relative, "made", every, active)
    assert isinstance(made, Dims)
    if relative.vocab and every > 1e10:
        assert parameters(made) == pytest.approx(every, rel=0.2)
