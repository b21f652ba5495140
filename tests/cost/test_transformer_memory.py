import csv

import numpy as np
import pytest

from pennyweight.catalog.models import model
from pennyweight.cost.columns import columns_of
from pennyweight.cost.transformer_memory import Spread, activations
from pennyweight.errors import UnknownNameError

MODELS = {"megatron-22B": "megatron-22b", "gpt3-175B": "megatron-175b", "turing-530B": "megatron-530b"}
MODELS |= {"megatron-1T": "megatron-1t"}


def test_without_parallelism_a_gpt_layer_keeps_34_sbh_and_5_as2b():
    d, s, b = model("megatron-22b"), 2048, 4
    kept = activations(d, b, s, Spread(fused=False, dropout=True))
    assert kept.under("none") == s * b * 6144 * 34 + 5 * 64 * s * s * b
    assert kept.under("selective") == s * b * 6144 * 34
    assert kept.under("full") == 2 * s * b * 6144


def test_activations_are_those_korthikanti_published(samples):
    with (samples / "training" / "train_memory_korthikanti.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["quantity"].startswith("act") and row["figure"] == "Fig1"]
    assert len(rows) == 8
    for row in rows:
        d = model(MODELS[row["model"]])
        pp, chunks = int(row["pp"]), int(row["interleaving"])
        mode = row["mode"]
        spread = Spread(tp=int(row["tp"]), sequence_parallel="seq" in mode, fused=False, dropout=True)
        kept = activations(d, int(row["micro_batch"]), 2048, spread)
        stages = 1 + (pp - 1) / (pp * chunks) if chunks > 1 else 1
        byte = kept.under("selective" if "sel" in mode else "none") * d.layers * stages
        assert byte / 2**30 == pytest.approx(float(row["value"]), rel=1e-4), row


def test_columns_of_models_and_layouts_give_what_each_gives_alone():
    models = [model("llama-3-70b"), model("deepseek-v3"), model("gpt-oss-120b"), model("nemotron-3-nano")]
    tp, whole = np.array([1, 2, 4, 8]), np.array([0, 1, 0, 1])
    together = activations(columns_of(models), 2, 4096, Spread(tp=tp, sequence_parallel=whole)).under("none")
    for at, each in enumerate(models):
        alone = activations(each, 2, 4096, Spread(tp=int(tp[at]), sequence_parallel=int(whole[at]))).under("none")
        assert together[at] == pytest.approx(alone)


def test_context_parallelism_splits_the_tokens_and_fused_attention_keeps_no_scores():
    d = model("llama-3-8b")
    one, four = (activations(d, 1, 8192, Spread(cp=cp)).under("none") for cp in (1, 4))
    assert one == pytest.approx(4 * four)
    assert activations(d, 1, 8192, Spread(fused=False)).scores > 1000 * activations(d, 1, 8192, Spread()).scores


def test_an_unknown_recompute_is_refused():
    with pytest.raises(UnknownNameError, match="no recompute named 'some'"):
        activations(model("gpt2"), 1, 8, Spread()).under("some")
