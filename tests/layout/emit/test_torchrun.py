from dataclasses import replace

import pytest
from launches import named, number, started, training, value

from pennyweight.catalog.accelerators import accelerator
from pennyweight.catalog.models import model, model_names
from pennyweight.core.layout import Layout
from pennyweight.errors import BadInputError
from pennyweight.layout.emit import emit
from pennyweight.layout.emit.megatron_model import model_options


def words_of(launch, tmp_path):
    return started("torchrun", launch, tmp_path)[0]


def options(dims):
    return {option[0]: option[1:] for option in model_options(dims, 4096)}


def test_the_model_is_made_from_its_dimensions(tmp_path):
    words = words_of(training(), tmp_path)
    facts = {
        "num-layers": 32,
        "hidden-size": 4096,
        "num-attention-heads": 32,
        "num-query-groups": 8,
        "ffn-hidden-size": 14336,
    }
    assert {name: number(words, f"--{name}") for name in facts} == facts
    assert {"--swiglu", "--disable-bias-linear", "--untie-embeddings-and-output-weights"} <= set(words)
    assert value(words, "--position-embedding-type") == "rope"


def test_settings_that_a_plan_cannot_know_are_asked_for(tmp_path):
    words = words_of(training(), tmp_path)
    assert value(words, "--data-path") == "/data/my text"
    assert value(words, "--save") == value(words, "--load") == "/kept"
    assert "/megatron lm/pretrain_gpt.py" in words
    text = emit("torchrun", training())
    for name in ("MEGATRON", "DATA", "CHECKPOINTS", "LR", "NODE_RANK", "MASTER_ADDR"):
        assert f': "${{{name}:?' in text


def test_without_data_steps_can_still_be_timed(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("launches").SETTINGS, "DATA", "mock")
    words = words_of(training(), tmp_path)
    assert "--mock-data" in words
    assert number(words, "--vocab-size") == 128256
    assert "--data-path" not in words


@pytest.mark.parametrize(
    ("zero", "there", "strategy"),
    [(0, "--overlap-grad-reduce", None), (1, "--overlap-param-gather", None), (2, "--use-megatron-fsdp", "optim_grads"),
     (3, "--use-megatron-fsdp", "optim_grads_params")],
)  # fmt: skip
def test_what_is_sharded_follows_the_zero_stage(zero, there, strategy, tmp_path):
    words = words_of(training(Layout(tp=1, dp=16, zero=zero)), tmp_path)
    assert there in words
    assert ("--use-distributed-optimizer" in words) == (zero > 0)
    if strategy:
        assert value(words, "--data-parallel-sharding-strategy") == strategy
        assert value(words, "--ckpt-format") == "fsdp_dtensor"


def test_a_single_queue_is_for_split_products_before_blackwell_only():
    line = "export CUDA_DEVICE_MAX_CONNECTIONS=1"
    assert line in emit("torchrun", training(Layout(tp=8, dp=2, zero=1)))
    assert line not in emit("torchrun", training(Layout(tp=8, dp=2, zero=3)))
    assert line not in emit("torchrun", training(Layout(dp=16)))
    assert line not in emit("torchrun", replace(training(Layout(tp=8, dp=2)), accelerator=accelerator("b200")))


def test_layers_that_do_not_fill_their_stages_are_dealt_out(tmp_path):
    words = words_of(training(Layout(pp=5, dp=8, micro_batch=1)), tmp_path)
    assert value(words, "--pipeline-model-parallel-layout") == "E,t*7|t*7|t*6|t*6|t*6,L"
    words = words_of(training(Layout(pp=4, dp=4, chunks=2)), tmp_path)
    assert number(words, "--num-virtual-stages-per-pipeline-rank") == 2


@pytest.mark.parametrize(
    ("precision", "there"),
    [
        ("fp16", ["--fp16"]),
        ("fp8", ["--bf16", "--fp8-format"]),
        ("mxfp8", ["--fp8-recipe", "mxfp8"]),
        ("nvfp4", ["--fp4-format"]),
    ],
)
def test_precisions_are_expressed(precision, there, tmp_path):
    words = words_of(training(Layout(dp=16, precision=precision)), tmp_path)
    assert set(there) <= set(words)


def test_models_with_experts_latent_attention_and_windows_are_expressed():
    deep = options(model("deepseek-v3"))
    assert deep["--kv-lora-rank"] == (512,)
    assert deep["--moe-layer-freq"] == ("([0]*3+[1]*58)",)
    assert deep["--moe-shared-expert-intermediate-size"] == (2048,)
    assert "--moe-router-enable-expert-bias" in deep
    assert "--moe-router-pre-softmax" in options(model("llama-4-scout-17b-16e-instruct"))
    mistral = replace(model("llama-3-8b"), window=4096, window_layers=24)
    pattern = options(mistral)["--window-attn-skip-freq"][0]
    assert pattern.count("1") == 24
    assert pattern.endswith("0]")
    assert options(mistral)["--window-size"] == ("4095,0",)


def refusal(work):
    """The error of some work; None if it is done."""
    try:
        work()
    except BadInputError as error:
        return error
    return None


def test_every_model_of_the_catalog_is_expressed_or_refused_with_its_reason():
    refused = {name: refusal(lambda name=name: options(model(name))) for name in model_names()}
    assert sum(error is None for error in refused.values()) > 40
    for name, error in refused.items():
        assert error is None or (f"no arguments for {name}, which has " in error.problem and error.fix)


def test_what_megatron_cannot_do_is_a_sentence_with_the_fix():
    experts = replace(training(Layout(tp=2, dp=8)), dims=model("qwen3-30b"))
    for launch, said in (
        (training(Layout(dp=16, precision="int8")), "does not train in int8"),
        (training(Layout(dp=16, offload="all")), "not weights and gradients"),
        (training(Layout(dp=48, micro_batch=1)), "no whole number of micro-batches"),
        (training(Layout(dp=16, ep=2)), "has no experts"),
        (experts, "only in sequence parallelism"),
        (replace(experts, layout=Layout(tp=2, dp=8, sequence_parallel=True), dims=model("gpt-oss-20b")), "have biases"),
        (replace(training(), dims=model("nemotron-h-56b-base-8k")), "layers of linear recurrence"),
    ):
        with pytest.raises(BadInputError, match=rf"{said}.*To fix: "):
            emit("torchrun", launch)


def test_a_model_may_be_named_otherwise_than_its_dimensions(tmp_path):
    assert value(words_of(named(training(), "./my weights"), tmp_path), "--tokenizer-model") == "./my weights"
