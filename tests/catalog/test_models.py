import csv
import re

import pytest

from pennyweight.catalog.models import model, model_names, published
from pennyweight.core.dims import Dims
from pennyweight.cost.transformer import active_parameters, embedding_parameters, parameters
from pennyweight.errors import UnknownNameError

PUBLISHED = {each.name: each for each in published()}
EXACT = [name for name, each in PUBLISHED.items() if isinstance(each.parameters, int)]
ROUNDED = [name for name, each in PUBLISHED.items() if isinstance(each.parameters, float)]
TYPED = [
    *("llama-3-70b", "llama-3.1-405b", "llama2-7b", "qwen3-32b", "deepseek-v3", "mixtral-8x7b", "gpt-oss-120b"),
    *("gpt2", "mpt-7b", "gpt3-175b", "bert-large", "vit-base", "kimi-k2", "bloom", "opt-175b", "megatron-1t", "phi-4"),
    *("LLAMA3_8B", "Llama-3.3-70B-Instruct"),
]


def test_most_models_have_an_exact_published_size():
    assert len(EXACT) >= 95
    assert len(ROUNDED) >= 25


@pytest.mark.parametrize("name", EXACT)
def test_parameters_are_those_of_the_weights_to_the_last_one(name):
    assert parameters(model(name)) == PUBLISHED[name].parameters


@pytest.mark.parametrize("name", ROUNDED)
def test_parameters_round_to_what_was_published(name):
    assert parameters(model(name)) == pytest.approx(PUBLISHED[name].parameters, rel=0.03)


@pytest.mark.parametrize("name", [name for name, each in PUBLISHED.items() if each.active_parameters])
def test_active_parameters_are_those_published_with_or_without_embeddings(name):
    d = model(name)
    active = active_parameters(d)
    counted = (active, active - d.vocab * d.hidden, active - embedding_parameters(d))
    assert min(abs(each / PUBLISHED[name].active_parameters - 1) for each in counted) < 0.07


@pytest.mark.parametrize("name", TYPED)
def test_models_are_found_by_the_names_that_people_type(name):
    assert model(name).name in model_names()


def test_every_name_is_found_in_full_and_by_what_is_after_the_slash():
    for name in model_names():
        assert model(name).name == name
        assert model(name.rpartition("/")[2].upper()).layers == model(name).layers


def test_an_unknown_model_is_refused_with_the_nearest_names():
    with pytest.raises(UnknownNameError, match=r"no model named 'lama-3-70b'.*llama-3-70b"):
        model("lama-3-70b")


def test_every_published_size_says_where():
    assert all(each.source for each in PUBLISHED.values())


def dims_rows(samples):
    with (samples / "hardware" / "model_dims.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_dimensions_are_those_of_the_published_table(samples):
    rows = dims_rows(samples)
    assert len(rows) == 89
    same = {"layers": "layers", "hidden": "hidden", "heads": "heads", "vocab": "vocab", "n_experts": "experts"}
    same |= {"experts_per_token": "experts_per_token", "q_lora_rank": "q_rank", "kv_lora_rank": "kv_rank"}
    same |= {"qk_rope": "rope_dim", "qk_nope": "nope_dim", "moe_ffn": "moe_ffn", "max_pos": "max_context"}
    checked = 0
    for row in rows:
        d = model(row["model"])
        latent_only = {"qk_rope"} if not row["kv_lora_rank"] else set()
        for column, field in same.items():
            if row[column] and column not in latent_only:
                assert getattr(d, field) == int(row[column]), (row["model"], column)
                checked += 1
    assert checked > 700


def test_every_size_in_a_name_is_the_size(samples):
    checked = 0
    for row in dims_rows(samples):
        d, name = model(row["model"]), row["model"].rpartition("/")[2]
        sizes = [part for part in name.split("-") if re.fullmatch(r"\d+(\.\d+)?[Bb]", part)]
        if not sizes or "Llama-4" in name:  # named after what is active
            continue
        language_only = 0.15 if "VL" in name else 0.10
        assert parameters(d) == pytest.approx(float(sizes[0][:-1]) * 1e9, rel=language_only), name
        checked += 1
        active = re.search(r"-A(\d+)B", name)
        if active:
            assert active_parameters(d) == pytest.approx(float(active[1]) * 1e9, rel=0.2), name
    assert checked > 45


def test_the_parameters_that_mosaic_published_are_exact(samples):
    with (samples / "training" / "train_llmfoundry_mpt.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 150
    for row in rows:
        shape = {field: int(row[field]) for field in ("layers", "hidden", "heads", "ffn", "vocab")}
        d = Dims("mpt", **shape, positions=int(row["seq_len"]), gated=False, tied=True, bias=True)
        assert parameters(d) == int(row["params"])
