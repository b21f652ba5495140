"""The laws of counting against formulas worked out by hand, and what must hold for any table."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pennyweight.core import DataSpec, Form, Kind, Op, ServeSpec, Spec, TrainSpec
from pennyweight.cost.count import count, count_training, disk_byte, flop, params, per_row, weights


def spec_of(*ops, batch=1, **more):
    return Spec(Form.MODULE, ops, DataSpec(100, 4), serve=ServeSpec(batch=batch), **more)


def moved(op, batch=1):
    ((_, byte),) = per_row([op], batch)
    return byte


KINDS = st.sampled_from(list(Kind))
SIZES = st.integers(1, 64)
OPS = st.builds(
    Op,
    name=st.just("op"),
    kind=KINDS,
    n_in=SIZES,
    n_out=SIZES,
    fan=st.integers(1, 49),
    positions=st.integers(1, 400),
    per_out=st.integers(0, 4),
    times=st.integers(1, 12),
    weight_bits=st.sampled_from([4, 8, 16, 32, 64]),
    act_bits=st.sampled_from([8, 16, 32]),
    disk_bits=st.sampled_from([3, 4, 8, 16, 32]),
    density=st.floats(0, 1),
    intake=st.floats(0.25, 4),
)
TABLES = st.lists(OPS, min_size=1, max_size=6)


def test_a_convolution_multiplies_every_weight_at_every_output_position():
    op = Op("conv", Kind.CONV, 3, 16, fan=9, positions=26 * 26, per_out=1, intake=28 * 28 / (26 * 26))
    assert flop(op) == 2 * 3 * 16 * 9 * 26 * 26
    assert weights(op) == 3 * 16 * 9 + 16
    assert moved(op) == pytest.approx(4 * (3 * 16 * 9 + 16 + 3 * 28 * 28 + 16 * 26 * 26))


def test_a_depthwise_convolution_has_one_filter_per_channel():
    op = Op("depthwise", Kind.CONV, 32, 32, fan=9, positions=49, groups=32)
    assert flop(op) == 2 * 9 * 32 * 49
    assert weights(op) == 9 * 32


def test_a_transposed_convolution_is_walked_over_the_smaller_input_grid():
    op = Op("up", Kind.CONV, 8, 4, fan=4, positions=16 * 16, intake=1 / 4)
    assert flop(op) == 2 * 8 * 4 * 4 * 8 * 8


def test_a_linear_layer_after_feature_maps_reads_every_position_of_every_channel():
    op = Op("fc", Kind.LINEAR, 64, 10, fan=9, per_out=1)
    assert flop(op) == 2 * 576 * 10
    assert weights(op) == 576 * 10 + 10
    assert moved(op) == 4 * (5770 + 576 + 10)


def test_attention_scores_read_the_keys_of_each_head_once():
    op = Op("scores", Kind.MATMUL, 8, 20, positions=4 * 20, groups=2)
    assert flop(op) == 2 * 8 * 20 * 80
    assert weights(op) == 0
    assert moved(op) == 4 * (80 * 8 + 2 * 8 * 20 + 80 * 20)


def test_a_tree_compares_once_per_level_and_adds_its_leaf():
    op = Op("forest", Kind.TREE, 30, 2, fan=7, positions=2, times=10)
    assert flop(op) == 10 * (2 + 2)
    assert weights(op) == 10 * (3 * 4 + 4 * 2)


def test_an_embedding_table_is_read_only_where_it_is_looked_up():
    op = Op("token", Kind.EMBED, 1000, 8, positions=10)
    assert flop(op) == 0
    assert weights(op) == 8000
    assert moved(op) == 10 * (8 * 4 + 8 * 4 + 8)
    assert moved(op, batch=1000) == pytest.approx(8000 * 4 / 1000 + 10 * (8 * 4 + 8))


def test_what_is_pointwise_costs_bytes_and_no_flop():
    add = Op("add", Kind.POINTWISE, 16, 16, positions=10, intake=2)
    assert flop(add) == 0
    assert moved(add) == 4 * 16 * 10 * 3


def test_a_batch_shares_the_weights_but_not_the_activations():
    op = Op("fc", Kind.LINEAR, 100, 10)
    alone, together = count(spec_of(op)), count(spec_of(op, batch=50))
    assert alone.flop == together.flop
    assert alone.hbm_byte == 4 * (1000 + 110)
    assert together.hbm_byte == pytest.approx(4 * (1000 / 50 + 110))
    assert alone.disk_byte == together.disk_byte == 4000


@pytest.mark.parametrize(("density", "bits"), [(1.0, 32), (0.5, 17), (0.25, 9), (0.0, 1), (0.99, 32)])
def test_zeros_are_stored_as_one_bit_each_but_never_above_the_dense_size(density, bits):
    op = Op("fc", Kind.LINEAR, 64, 64, density=density)
    assert disk_byte(spec_of(op)) == 64 * 64 * bits / 8


def test_two_of_four_weights_cost_their_two_bits_of_index():
    op = Op("fc", Kind.LINEAR, 64, 64, density=0.5, disk_bits=8)
    kept = 64 * 64 / 2
    assert disk_byte(spec_of(op)) == kept * (8 + 2) / 8


def test_zeros_are_multiplied_like_any_other_weight():
    op = Op("fc", Kind.LINEAR, 64, 64)
    assert flop(replace(op, density=0.1)) == flop(op)


def test_biases_stay_wide_when_weights_become_integers():
    op = Op("fc", Kind.LINEAR, 10, 10, per_out=1, weight_bits=8, disk_bits=8)
    assert moved(op) == 100 + 4 * 10 + 4 * (10 + 10)
    assert disk_byte(spec_of(op)) == 100 + 4 * 10
    half = replace(op, weight_bits=16, disk_bits=16)
    assert moved(half) == 2 * 110 + 4 * (10 + 10)
    assert disk_byte(spec_of(half)) == 2 * 110


def test_training_costs_three_passes_for_every_row_in_every_epoch():
    op = Op("fc", Kind.LINEAR, 10, 10)
    spec = spec_of(op, train=TrainSpec(epochs=5, batch=25))
    assert count_training(spec).flop == 3 * 200 * 100 * 5
    assert count_training(spec).hbm_byte == pytest.approx(3 * 500 * 4 * (100 / 25 + 20))
    assert count_training(spec).disk_byte == 0


def test_a_tree_is_grown_by_looking_at_every_feature_of_every_row_on_every_level():
    op = Op("forest", Kind.TREE, 30, 2, fan=7, positions=2, times=10)
    assert count_training(spec_of(op)).flop == 10 * 2 * 30 * 100


@given(TABLES, TABLES, st.integers(1, 64))
def test_counts_of_two_tables_add_up(one, other, batch):
    both, first, second = (count(spec_of(*ops, batch=batch)) for ops in (one + other, one, other))
    for name in ("flop", "hbm_byte", "disk_byte"):
        assert getattr(both, name) == pytest.approx(getattr(first + second, name))
    assert params(spec_of(*one, *other)) == pytest.approx(params(spec_of(*one)) + params(spec_of(*other)))


@given(OPS, st.integers(1, 9), st.integers(1, 64))
def test_a_row_of_many_counts_like_as_many_rows(op, times, batch):
    single = replace(op, times=1)
    merged, apart = spec_of(replace(op, times=times), batch=batch), spec_of(*[single] * times, batch=batch)
    assert count(merged).hbm_byte == pytest.approx(count(apart).hbm_byte)
    assert count(merged).flop == pytest.approx(count(apart).flop)
    assert disk_byte(merged) == pytest.approx(disk_byte(apart))


@given(TABLES, st.integers(1, 64))
def test_the_rows_add_up_to_the_whole(ops, batch):
    whole, rows = count(spec_of(*ops, batch=batch)), per_row(ops, batch)
    assert whole.flop == pytest.approx(sum(each for each, _ in rows)) == pytest.approx(sum(map(flop, ops)))
    assert whole.hbm_byte == pytest.approx(sum(each for _, each in rows))
    assert [byte for _, byte in rows] == pytest.approx([count(spec_of(op, batch=batch)).hbm_byte for op in ops])


@given(TABLES)
def test_a_stored_model_is_never_larger_than_dense(ops):
    assert disk_byte(spec_of(*ops)) <= disk_byte(spec_of(*(replace(op, density=1.0) for op in ops))) + 1e-6


@given(st.lists(SIZES, min_size=3, max_size=6), st.data())
def test_narrower_layers_never_cost_more(widths, data):
    names = ["", *(f"layer{i}" for i in range(len(widths) - 2)), ""]
    ops = [
        Op(f"fc{i}", Kind.LINEAR, widths[i], widths[i + 1], per_out=1, reads=names[i], writes=names[i + 1])
        for i in range(len(widths) - 1)
    ]
    spec = spec_of(*ops)
    smaller = spec.resize({group: data.draw(st.integers(1, size)) for group, size in spec.widths().items()})
    before, after = count(spec), count(smaller)
    assert after.flop <= before.flop
    assert after.hbm_byte <= before.hbm_byte
    assert after.disk_byte <= before.disk_byte
    assert [op.n_out for op in smaller.ops[:-1]] == [op.n_in for op in smaller.ops[1:]]
