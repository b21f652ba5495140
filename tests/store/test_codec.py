"""Values to JSON and back."""

from __future__ import annotations

import json
import math
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pennyweight.core import Basis, Bill, Cost, DataSpec, Form, Op, Phase, Score, ServeSpec, Spec, TrainSpec
from pennyweight.cost.price import Parts
from pennyweight.errors import BadInputError, CorruptError
from pennyweight.store.codec import build, from_json, plain, to_json


def _equals_itself(value):
    found = (getattr(value, each.name) for each in fields(value))
    return not any(isinstance(each, float) and math.isnan(each) for each in found)


COST = st.builds(Cost, *[st.floats(allow_nan=False)] * 4)
OP = st.from_type(Op).filter(_equals_itself)
DATA = st.from_type(DataSpec).filter(_equals_itself)
SERVE = st.from_type(ServeSpec).filter(_equals_itself)
FINITE = st.floats(allow_nan=False)
TRAIN = st.builds(TrainSpec, FINITE, st.integers(), st.text(), FINITE, FINITE, st.text(), st.none() | st.integers())
SPEC = st.builds(
    Spec,
    st.sampled_from(Form),
    st.lists(OP, min_size=1, max_size=4).map(tuple),
    DATA,
    TRAIN,
    SERVE,
    FINITE,
)
BILL = st.builds(
    Bill, st.sampled_from(Basis), st.lists(st.tuples(st.sampled_from(Phase), COST), max_size=5).map(tuple), FINITE, COST
)
SCORE = st.builds(Score, st.text(), FINITE, FINITE, st.integers())
PARTS = st.builds(Parts, COST, COST, COST, FINITE, st.none() | FINITE, FINITE, FINITE)


@given(OP | TRAIN | SERVE | COST | BILL | SCORE | PARTS)
def test_what_is_written_is_read_back_equal(value):
    assert from_json(type(value), to_json(value)) == value


@given(SPEC)
def test_a_whole_spec_is_read_back_equal(spec):
    text = to_json(spec)
    assert from_json(Spec, text) == spec
    assert to_json(from_json(Spec, text)) == text
    json.loads(text, parse_constant=pytest.fail)  # JSON that strangers can read


def test_numbers_of_numpy_are_kept_as_numbers():
    score = Score("accuracy", np.float32(0.5), np.float64(0.25), np.int64(7))
    assert from_json(Score, to_json(score)) == Score("accuracy", 0.5, 0.25, 7)


def test_what_is_not_a_value_is_refused_with_a_fix():
    with pytest.raises(BadInputError, match="ndarray cannot be kept as JSON"):
        to_json({"weights": np.zeros(3)})
    with pytest.raises(BadInputError, match="no Unicode"):
        to_json("\udcff")


def test_a_field_that_was_added_later_takes_its_default():
    old = plain(ServeSpec("openvino", 8, 2, "int8"))
    del old["precision"]
    assert build(ServeSpec, old) == ServeSpec("openvino", 8, 2)


@pytest.mark.parametrize(
    ("hint", "text", "says"),
    [
        (Cost, '{"wall_s": 1, "euro": 2}', "unknown field 'euro'"),
        (Score, '{"metric": "accuracy"}', "no 'mean'"),
        (Cost, '{"wall_s": "fast"}', "Where a float should be"),
        (Cost, '{"wall_s": true}', "Where a float should be"),
        (Cost, "[1, 2]", "Where a Cost should be"),
        (Bill, '{"basis": "guessed"}', "Where a Basis should be"),
        (Bill, '{"basis": "measured", "lines": [["train"]]}', "should be stored"),
        (Bill, '{"basis": "measured", "lines": {}}', "should be stored"),
        (dict[str, int], "[]", "should be stored"),
        (Cost, "{", "no readable JSON"),
        (Cost, "[" * 100_000, "no readable JSON"),
        (Spec, '{"form": "module", "ops": [], "data": {"rows": 1, "row_byte": 1}}', "contradicts itself"),
    ],
)
def test_anything_else_is_corrupt_and_says_so(hint, text, says):
    with pytest.raises(CorruptError, match=says) as error:
        from_json(hint, text)
    assert error.value.fix


@given(
    st.recursive(st.none() | st.booleans() | FINITE | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c))
)
def test_no_json_at_all_makes_a_spec_of_nothing(data):
    with pytest.raises(CorruptError):
        build(Spec, data)
