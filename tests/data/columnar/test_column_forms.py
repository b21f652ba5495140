import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pennyweight.data.columnar.column import Column, column_of
from pennyweight.data.columnar.estimate import packs_to
from pennyweight.errors import BadInputError, CorruptError

KINDS = st.sampled_from(["float32", "float64", "float16", "int64", "int32", "uint8", "int8", "uint64", "bool"])
ROWS = KINDS.flatmap(lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=1, max_dims=3, max_side=12)))


@given(ROWS)
def test_what_is_stored_comes_back_bit_for_bit(rows):
    column = column_of("x", rows)
    found = column.decode(column.encode(rows))
    assert found.dtype == rows.dtype
    assert found.tobytes() == np.ascontiguousarray(rows).tobytes()
    assert Column.of(column.facts()) == column


def test_scaled_pixels_are_stored_as_the_bytes_they_were():
    pixels = np.random.default_rng(0).integers(0, 256, (50, 8, 8)).astype(np.float32) / 255
    column = column_of("x", pixels)
    assert (column.stored, column.form, column.divisor) == ("uint8", "divided", 255.0)
    assert column.encode(pixels).nbytes * 4 == pixels.nbytes


def test_few_values_are_stored_as_places_in_a_list_nan_and_negative_zero_included():
    rows = np.random.default_rng(0).choice([0.1, -0.0, np.nan, 7.25], 400).astype(np.float32)
    column = column_of("x", rows)
    assert (column.stored, column.form) == ("uint8", "listed")
    assert column.decode(column.encode(rows)).tobytes() == rows.tobytes()


def test_one_value_more_than_a_list_of_bytes_takes_two_bytes():
    values = np.random.default_rng(0).normal(size=257).astype(np.float32)
    assert column_of("x", np.tile(values[:256], 20)).stored == "uint8"
    assert column_of("x", np.tile(values, 20)).stored == "uint16"


@pytest.mark.parametrize(("high", "stored"), [(255, "uint8"), (256, "uint16"), (70_000, "uint32"), (2**40, "int64")])
def test_whole_numbers_take_the_narrowest_type_that_holds_them(high, stored):
    assert column_of("y", np.array([0, high])).stored == stored


def test_a_column_that_changes_type_or_leaves_its_range_is_said():
    column = column_of("age", np.array([1, 2, 3]))
    with pytest.raises(BadInputError, match=r"'age' begins as int64 .* then holds float64"):
        column.encode(np.array([1.5]))
    with pytest.raises(BadInputError, match="values it cannot hold"):
        column.encode(np.array([300]))


def test_objects_are_refused_and_text_is_not():
    with pytest.raises(BadInputError, match="holds objects"):
        column_of("x", np.array([{}, 1], dtype=object))
    assert column_of("x", np.array(["a", "bc"])).form == "text"


def test_a_description_of_no_column_is_corrupt():
    with pytest.raises(CorruptError):
        Column.of({"name": "x", "dtype": "O", "shape": [], "stored": "uint8"})
    with pytest.raises(CorruptError):
        Column.of({"name": "x"})


def test_a_sample_tells_about_how_small_rows_become():
    rng = np.random.default_rng(0)
    assert packs_to([rng.normal(size=(500, 20))]) > 0.85
    assert packs_to([rng.integers(0, 4, (500, 20))]) < 0.06
    assert packs_to([np.empty((0, 3))]) == 1
