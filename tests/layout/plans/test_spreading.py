"""Every layout that comes out is legal and uses all devices, and none that is legal is left out."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pennyweight.catalog.models import model
from pennyweight.core.dims import Dims
from pennyweight.errors import BadInputError, UnknownNameError
from pennyweight.layout.plans.spreading import ANY, EVERY, Choices, spread
from pennyweight.layout.plans.training import TrainWork

SMALL = Dims("small", layers=6, hidden=256, heads=8, kv_heads=4, ffn=512, vocab=1000, max_context=8192)
MIXED = replace(SMALL, name="mixed", experts=8, experts_per_token=2, moe_ffn=256)


def work_of(dims=SMALL, sequence=1024, batch=24):
    return TrainWork(dims, 1e9, sequence, batch)


@settings(max_examples=60)
@given(
    dims=st.sampled_from((SMALL, MIXED, replace(MIXED, moe_ffn=84), replace(SMALL, heads=12, hidden=384, kv_heads=12))),
    devices=st.lists(st.integers(1, 96), min_size=1, max_size=4),
    domain=st.sampled_from((1, 2, 4, 8)),
    batch=st.sampled_from((1, 8, 24, 96)),
    sequence=st.sampled_from((512, 8192)),
    choices=st.sampled_from((ANY, EVERY)),
)
def test_every_layout_is_legal_and_uses_all_devices(dims, devices, domain, batch, sequence, choices):
    work = work_of(dims, sequence, batch)
    try:
        found = spread(work, devices, domain, choices)
    except BadInputError as error:
        assert error.fix  # ruff: ignore[pytest-assert-in-except] - some numbers of devices have no layout, and say why
        return
    each = found.columns()
    assert len(found) == len(each["tp"]) > 0
    assert (each["tp"] * each["pp"] * each["dp"] * each["cp"] == each["devices"]).all()
    assert set(each["devices"].tolist()) <= set(devices)
    assert (each["tp"] <= domain).all()
    assert (dims.heads % each["tp"] == 0).all()
    assert ((dims.kv_heads % each["tp"] == 0) | (each["tp"] % dims.kv_heads == 0)).all()
    assert (each["pp"] * each["chunks"] <= dims.layers).all()
    passes = batch // (each["dp"] * each["micro_batch"])
    assert (passes * each["dp"] * each["micro_batch"] == batch).all()
    assert ((each["chunks"] == 1) | ((each["pp"] > 1) & (passes % each["pp"] == 0))).all()
    assert (max(dims.experts, 1) % each["ep"] == 0).all()
    assert ((each["ep"] > 1) | (dims.moe_ffn % each["tp"] == 0)).all()
    assert ((each["tp"] * each["dp"] * each["cp"]) % each["ep"] == 0).all()
    assert ((each["zero"] == 0) | (each["dp"] * each["cp"] > 1)).all()
    assert ((each["sequence_parallel"] == 0) | (each["tp"] > 1)).all()


@settings(max_examples=20)
@given(devices=st.integers(1, 32), batch=st.sampled_from((4, 12)))
def test_no_legal_layout_is_left_out(devices, batch):
    """Against loops that ask of every combination whether the rules hold."""
    work = work_of(MIXED, 1024, batch)
    wanted = set()
    for tp, pp, ep, micro, chunks in product((1, 2, 4, 8), range(1, 7), (1, 2, 4, 8), (1, 2, 4, 8, 16), (1, 2, 4, 8)):
        dp = devices // (tp * pp)
        if tp * pp * dp != devices or (tp * dp) % ep or batch % (dp * micro):
            continue
        if chunks > 1 and (pp == 1 or chunks * pp > 6 or batch // (dp * micro) % pp):
            continue
        if -(-6 // (pp * chunks)) * pp * chunks > 1.25 * 6:
            continue
        for zero, again, along in product(range(4), range(3), range(2)):
            if (zero == 0 or dp > 1) and (along == 0 or tp > 1):
                wanted.add((tp, pp, 1, ep, dp, micro, chunks, zero, again, along))
    try:
        each = spread(work, [devices], 8, EVERY).columns()
    except BadInputError:
        assert not wanted
        return
    names = ("tp", "pp", "cp", "ep", "dp", "micro_batch", "chunks", "zero", "recompute", "sequence_parallel")
    assert set(zip(*(each[name].tolist() for name in names), strict=True)) == wanted


def test_a_layout_of_a_spread_is_the_one_of_its_columns():
    found = spread(work_of(), [8], 8)
    each = found.columns()
    row, trick = np.nonzero(found.legal)
    for at in range(0, len(found), 7):
        layout = found.layout(row[at], trick[at], "bf16")
        assert (layout.tp, layout.pp, layout.dp) == tuple(int(each[name][at]) for name in ("tp", "pp", "dp"))
        assert layout.devices == 8
        assert layout.sequence_parallel == bool(each["sequence_parallel"][at])


def test_without_wishes_nothing_that_is_beaten_is_there():
    each = spread(work_of(), [8], 8).columns()
    assert ((each["sequence_parallel"] == 1) == (each["tp"] > 1)).all()
    assert ((each["zero"] == 0) == (each["dp"] * each["cp"] == 1)).all()
    assert set(each["recompute"].tolist()) == {0, 2}


def test_uneven_stages_cost_as_much_as_the_fullest():
    work = TrainWork(model("llama-3.1-405b"), 1e12)
    found = spread(work, [1024], 8, Choices(pp=(16,), chunks=(1,)))
    assert set(found.layers.tolist()) == {128}


def test_long_sequences_are_split_over_devices_and_short_ones_are_not():
    long = spread(work_of(replace(SMALL, max_context=65536), 65536), [32], 8).columns()
    assert set(long["cp"].tolist()) == {1, 2, 4, 8, 16}
    assert set(spread(work_of(), [32], 8).columns()["cp"].tolist()) == {1}


IMPOSSIBLE = {
    "tp beyond the fast links": (Choices(tp=(8,)), 8, 4, "Fast links join 4"),
    "tp that divides no heads": (Choices(tp=(3,)), 6, 8, "8 heads"),
    "more stages than layers": (Choices(pp=(8,)), 8, 8, "6 layers"),
    "devices no multiple": (Choices(tp=(8,)), 12, 8, "no multiple"),
    "experts that are not there": (Choices(ep=(4,)), 8, 8, "0 experts"),
    "replicas that do not come out": (Choices(dp=(3,)), 8, 8, "replicas"),
    "a micro-batch too large": (Choices(micro_batch=(16,), tp=(1,), pp=(1,)), 4, 8, "micro-batches"),
    "interleaving without a pipeline": (Choices(pp=(1,), chunks=(2,)), 8, 8, "interleaved"),
    "sharding without replicas": (Choices(tp=(8,), zero=(1,)), 8, 8, "no replicas"),
    "context that cannot be cut": (Choices(cp=(3,)), 6, 8, "1024 tokens"),
    "no devices": (ANY, 0, 8, "no devices"),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_is_impossible_is_one_sentence_and_the_fix(name):
    choices, devices, domain, said = IMPOSSIBLE[name]
    with pytest.raises(BadInputError, match=said) as error:
        spread(work_of(), [devices], domain, choices)
    assert error.value.fix.endswith(".")


def test_whole_experts_may_be_spread_where_one_is_too_odd_to_be_split():
    odd = replace(MIXED, moe_ffn=84)
    for ep, tps in ((1, {1, 2, 4}), (8, {1, 2, 4, 8})):
        assert set(spread(work_of(odd), [8], 8, Choices(ep=(ep,))).columns()["tp"].tolist()) == tps
    with pytest.raises(BadInputError, match="84 wide") as error:
        spread(work_of(odd), [8], 8, Choices(tp=(8,), ep=(1,)))
    assert "--ep 2" in error.value.fix


def test_an_unknown_recompute_lists_the_known():
    with pytest.raises(UnknownNameError, match="selective"):
        Choices.fixed({}, "selectiv")


def test_a_batch_that_no_replicas_can_share_is_said():
    with pytest.raises(BadInputError, match="batch of 1 sequences"):
        spread(work_of(batch=1), [8], 8, Choices(dp=(8,)))


def test_work_chooses_its_sequence_and_batch_by_the_size_of_the_model():
    large, small = TrainWork(model("llama-3.1-405b"), 1e12), TrainWork(SMALL, 1e9)
    assert large.sequence == 8192
    assert large.step_tokens == 2**24
    assert small.step_tokens == 2**19
    assert large.steps == pytest.approx(1e12 / 2**24)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"tokens": 0.0}, "0 tokens"),
        ({"tokens": float("nan")}, "nan tokens"),
        ({"sequence": -1}, "sequence of -1"),
        ({"precision": "bf61"}, "bf61"),
    ],
)
def test_impossible_work_is_refused(more, said):
    with pytest.raises(BadInputError, match=said):
        TrainWork(**{"dims": SMALL, "tokens": 1e9, **more})


def test_sequences_beyond_learned_positions_are_refused():
    with pytest.raises(BadInputError, match="learned positions"):
        TrainWork(replace(SMALL, positions=1024, max_context=1024), 1e9, 4096)
