import copy
from dataclasses import replace

from pennyweight.catalog import load_device, load_prices
from pennyweight.core import DataSpec, Demand, Form, Kind, Op, Spec
from pennyweight.cost import known
from pennyweight.cost.known import Tables, keep
from pennyweight.cost.predict import Observation, Predictor

DEMAND = Demand(1e6, 365)


def network(width: int = 64) -> Spec:
    ops = (
        Op("hidden", Kind.LINEAR, 30, width, per_out=1, writes="a"),
        Op("relu", Kind.POINTWISE, width, width, reads="a", writes="a"),
        Op("out", Kind.LINEAR, width, 2, per_out=1, reads="a"),
    )
    return Spec(Form.MODULE, ops, DataSpec(1000, 120.0))


def test_equal_operators_share_a_table_and_others_do_not():
    tables = Tables()
    assert tables.of(network()) is tables.of(network())
    assert tables.of(network()) is not tables.of(network(65))
    assert tables.of(network(65)).ops == network(65).ops


def test_a_table_is_never_served_for_operators_that_took_the_place_of_others_in_memory():
    tables, numbers = Tables(), []
    for turn in range(4 * known._NEAR):
        spec = network(1 + turn % 7)
        numbers.append(id(spec.ops))
        assert tables.of(spec).ops == spec.ops
    assert len(set(numbers)) < len(numbers)  # otherwise no number was used twice, and nothing was tried


def test_a_copy_whose_numbers_are_those_of_other_objects_does_not_believe_them():
    tables, spec, other = Tables(), network(), network(16)
    tables.of(other)
    copied = copy.deepcopy(tables)
    copied._same[id(spec.ops)] = copied._same.pop(id(other.ops))
    assert copied.of(spec).ops == spec.ops


def test_a_full_memory_starts_anew():
    memory: dict[int, str] = {}
    assert [keep(memory, number, str(number), most=2) for number in range(3)] == ["0", "1", "2"]
    assert memory == {2: "2"}


def test_what_is_remembered_is_what_would_be_worked_out_again():
    device, sheet = load_device("amd-zen4"), load_prices()
    seen = [Observation(network(width), 1e-5 * width, 2.0 * width, 0.0, 3e8) for width in (16, 32, 48)]
    learned = Predictor(device, sheet).learn(seen)
    specs = [
        replace(network(width), tune_rows=rows, serve=replace(network().serve, batch=batch, runtime=runtime))
        for width in (16, 24, 64)
        for rows in (0.0, 500.0)
        for batch in (1, 8)
        for runtime in ("torch", "onnxruntime")
    ]
    twice = [learned.predict(spec, DEMAND, network(trained)) for spec in [*specs, *specs] for trained in (64, 32)]
    anew = [replace(learned).predict(spec, DEMAND, network(trained)) for spec in specs for trained in (64, 32)]
    assert twice == [*anew, *anew]
    assert len(set(anew)) == len(anew)
