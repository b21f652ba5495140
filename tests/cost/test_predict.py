import json
import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pennyweight.catalog import load_device, load_efficiency, load_prices
from pennyweight.core import Basis, DataSpec, Demand, Form, Kind, Op, Phase, ServeSpec, Spec, TrainSpec
from pennyweight.cost.count import disk_byte, per_row
from pennyweight.cost.learn import PRIOR_SD, Learned, Sample
from pennyweight.cost.learn.local import Local
from pennyweight.cost.learn.solve import solve
from pennyweight.cost.predict import Observation, Predictor
from pennyweight.cost.price import price, storage
from pennyweight.errors import BadInputError, CorruptError

DEVICE = load_device("amd-zen4")
SHEET = load_prices()
PREDICTOR = Predictor(DEVICE, SHEET)
DEMAND = Demand(1e6, 365)


def network(width: int = 64, **serve) -> Spec:
    ops = (
        Op("conv1", Kind.CONV, 1, width, fan=9, positions=676, per_out=1, writes="a", intake=1.16),
        Op("relu1", Kind.POINTWISE, width, width, positions=676, reads="a"),
        Op("pool", Kind.POOL, width, width, fan=4, positions=169, reads="a", intake=4),
        Op("conv2", Kind.CONV, width, width, fan=9, positions=121, per_out=1, reads="a", writes="b", intake=1.4),
        Op("relu2", Kind.POINTWISE, width, width, positions=121, reads="b"),
        Op("fc", Kind.LINEAR, width, 10, fan=121, per_out=1, reads="b"),
    )
    return Spec(Form.MODULE, ops, DataSpec(6000, 784.0), TrainSpec(5.0, 128), ServeSpec(**serve))


def whole(spec: Spec) -> Spec:
    return spec.map(lambda op: replace(op, weight_bits=8, act_bits=8, disk_bits=8))


def forest(trees: int = 100) -> Spec:
    ops = (Op("trees", Kind.TREE, 30, 2, fan=41, positions=5, times=trees),)
    return Spec(Form.ESTIMATOR, ops, DataSpec(400, 120.0), serve=ServeSpec("sklearn"))


widths = st.integers(min_value=1, max_value=16).map(lambda blocks: 16 * blocks)
runtimes = st.sampled_from(["torch", "compiled", "onnxruntime", "openvino", "somebody_elses"])
batches = st.sampled_from([1, 8, 64])


@given(widths, runtimes, batches)
def test_a_wider_network_never_costs_less(width, runtime, batch):
    narrow, wide = (PREDICTOR.unit(network(w, runtime=runtime, batch=batch)).value for w in (width, width + 16))
    assert narrow < wide


@given(widths, runtimes, st.integers(min_value=1, max_value=6))
def test_a_larger_batch_never_makes_a_prediction_dearer(width, runtime, power):
    small, large = (PREDICTOR.unit(network(width, runtime=runtime, batch=2**p)).value for p in (power - 1, power))
    assert large <= small * (1 + 1e-12)


@given(widths, batches)
def test_every_line_and_the_unit_are_finite_and_not_negative(width, batch):
    bill = PREDICTOR.predict(network(width, batch=batch), DEMAND)
    costs = [bill.unit, *(cost for _, cost in bill.lines)]
    figures = [figure for cost in costs for figure in (cost.device_s, cost.wall_s, cost.joule, cost.usd)]
    assert all(figure >= 0 and math.isfinite(figure) for figure in figures)
    assert bill.basis is Basis.PREDICTED
    assert 0 < bill.error < 2


def test_one_operator_takes_what_the_roofline_says():
    op = Op("fc", Kind.LINEAR, 512, 256, per_out=1)
    spec = Spec(Form.MODULE, (op,), DataSpec(100, 4.0), serve=ServeSpec("onnxruntime", batch=4))
    prior = load_efficiency()["onnxruntime"]
    ((flop, byte),) = per_row(spec.ops, 4)
    ideal_s = 4 * max(flop / DEVICE.rate("float32"), byte / DEVICE.hbm_byte_s)
    call_s = ideal_s / prior.share["linear"] + prior.op_s["linear"] + prior.call_s
    assert PREDICTOR.unit(spec).value == pytest.approx(call_s / 4)


def test_whole_numbers_run_at_the_rate_of_whole_numbers():
    device = replace(DEVICE, flop_s={"float32": 1e9, "int8": 4e9}, hbm_byte_s=1e15)
    table = load_efficiency()
    op = Op("fc", Kind.LINEAR, 4096, 4096)
    spec = Spec(Form.GRAPH, (op,), DataSpec(100, 4.0), serve=ServeSpec("onnxruntime"))
    plain, eight = (Predictor(device, SHEET).unit(each).value for each in (spec, whole(spec)))
    shares = table["onnxruntime/float32/int8"].share["linear"] / table["onnxruntime"].share["linear"]
    assert plain / eight == pytest.approx(4 * shares, rel=1e-3)


def test_weights_alone_in_eight_bits_save_bytes_but_no_arithmetic():
    device = replace(DEVICE, hbm_byte_s=1e15)
    spec = network(64, runtime="onnxruntime")
    packed = spec.map(lambda op: replace(op, weight_bits=8, disk_bits=8))
    assert Predictor(device, SHEET).unit(packed).value == pytest.approx(Predictor(device, SHEET).unit(spec).value)
    stored = [PREDICTOR.predict(each, DEMAND).line(Phase.STORE).usd for each in (packed, spec)]
    assert stored[0] < stored[1]


def test_widths_that_fill_vector_registers_beat_slightly_smaller_ones_that_do_not():
    for runtime in ("onnxruntime", "openvino"):
        full, ragged = (PREDICTOR.unit(network(width, runtime=runtime, batch=64)).value for width in (32, 31))
        assert full < ragged


def test_a_bill_follows_from_the_guesses_by_the_arithmetic_of_prices():
    spec = replace(network(64), tune_rows=500.0)
    bill = PREDICTOR.predict(spec, DEMAND)
    assert [phase for phase, _ in bill.lines] == [Phase.TRAIN, Phase.COMPRESS, Phase.SERVE, Phase.STORE]
    assert bill.unit.device_s == pytest.approx(PREDICTOR.unit(spec).value)
    assert bill.unit.usd == pytest.approx(price(bill.unit, PREDICTOR.memory(spec).value, SHEET).usd)
    assert bill.line(Phase.TRAIN).device_s == pytest.approx(PREDICTOR.training(spec).value)
    assert bill.line(Phase.COMPRESS).device_s == pytest.approx(PREDICTOR.tuning(spec).value)
    assert bill.line(Phase.STORE).usd == pytest.approx(storage(disk_byte(spec), DEMAND.days, SHEET).usd)


def test_training_is_that_of_the_spec_as_it_was_trained():
    asked, cut = network(64), network(16)
    both = [PREDICTOR.predict(cut, DEMAND, trained).line(Phase.TRAIN).device_s for trained in (asked, None)]
    assert both == [PREDICTOR.training(asked).value, PREDICTOR.training(cut).value]
    assert both[1] < both[0]


def test_twice_the_epochs_take_twice_as_long():
    spec = network()
    double = replace(spec, train=replace(spec.train, epochs=2 * spec.train.epochs))
    assert PREDICTOR.training(double).value == pytest.approx(2 * PREDICTOR.training(spec).value)


def test_threads_shorten_the_wait_and_cost_more_seconds_of_cores():
    machine = replace(DEVICE, cores=4)
    one, two = (Predictor(machine, SHEET).predict(network(threads=n), DEMAND).unit for n in (1, 2))
    assert two.wall_s < one.wall_s
    assert two.device_s > one.device_s


def test_threads_beyond_the_cores_do_not_help():
    alone = replace(DEVICE, cores=1)
    unit = Predictor(alone, SHEET).predict(network(threads=8), DEMAND).unit
    assert unit.wall_s == unit.device_s


def test_trees_are_grown_and_walked():
    few, many = (PREDICTOR.predict(forest(n), DEMAND) for n in (10, 100))
    assert few.line(Phase.TRAIN).usd < many.line(Phase.TRAIN).usd
    assert few.unit.usd < many.unit.usd


def test_overheads_measured_on_the_machine_scale_those_of_the_table():
    prior = load_efficiency()["torch"]
    slow = replace(DEVICE, call_s={"torch": 2 * prior.probe_s}, op_s={"torch": prior.probe_s / 2})
    tiny = Spec(Form.MODULE, (Op("fc", Kind.LINEAR, 2, 2),), DataSpec(1, 4.0))
    assert Predictor(slow, SHEET).unit(tiny).value == pytest.approx(3 * PREDICTOR.unit(tiny).value, rel=0.01)


def test_the_same_spec_is_predicted_the_same_however_often_and_in_whatever_order():
    specs = [network(width, batch=batch) for width in range(8, 200, 3) for batch in (1, 64)]
    first = [PREDICTOR.predict(spec, DEMAND) for spec in specs]
    again = {id(spec): Predictor(DEVICE, SHEET).predict(spec, DEMAND) for spec in reversed(specs)}
    assert first == [again[id(spec)] for spec in specs]


def world(seed: int):
    """A machine unlike the table: some runtimes faster, some slower, overheads larger, every shape a bit off."""
    dice = random.Random(seed)
    table = load_efficiency()
    shares = {name: dice.uniform(0.5, 2.0) for name in sorted(table)}
    calls = {name: dice.uniform(0.7, 2.0) for name in sorted(table)}

    def unit_s(spec: Spec) -> float:
        name = spec.serve.runtime
        part = PREDICTOR._serving(spec)[3]
        shape = 1 + 0.1 * math.sin(3 * math.log(spec.ops[0].n_out))
        seconds = shares[name] * shape * sum(part[:-1]) + calls[name] * part[-1]
        return seconds / spec.serve.batch * dice.uniform(0.98, 1.02)

    return unit_s


def plans(seed: int, number: int) -> list[Spec]:
    dice = random.Random(seed)
    return [
        network(dice.choice([8, 16, 24, 32, 48, 64, 96]), runtime=dice.choice(["torch", "onnxruntime", "openvino"]))
        for _ in range(number)
    ]


@pytest.mark.parametrize("seed", range(4))
def test_after_ten_runs_of_a_job_the_others_are_foreseen(seed):
    unit_s = world(seed)
    seen, unseen = plans(seed, 10), plans(seed + 100, 40)
    learned = PREDICTOR.learn([Observation(spec, unit_s(spec)) for spec in seen])
    before, after = (
        sum(abs(each.unit(spec).value / unit_s(spec) - 1) for spec in unseen) / len(unseen)
        for each in (PREDICTOR, learned)
    )
    assert after < 0.12
    assert after < before


@pytest.mark.parametrize("seed", range(4))
def test_error_bars_hold_what_they_promise(seed):
    unit_s = world(seed)
    learned = PREDICTOR.learn([Observation(spec, unit_s(spec)) for spec in plans(seed, 12)])
    unseen = plans(seed + 200, 60)
    guesses = [(learned.unit(spec), unit_s(spec)) for spec in unseen]
    held = sum(abs(math.log(guess.value / truth)) <= 1.96 * guess.sd for guess, truth in guesses)
    assert held >= 0.85 * len(unseen)


def test_what_was_measured_is_predicted_closely_and_with_a_smaller_error_bar():
    spec, other = network(48, runtime="onnxruntime"), network(48, runtime="torch")
    truth_s = 3 * PREDICTOR.unit(spec).value
    learned = PREDICTOR.learn([Observation(spec, truth_s)] * 3)
    assert learned.unit(spec).value == pytest.approx(truth_s, rel=0.1)
    assert learned.unit(spec).sd < learned.unit(other).sd < PRIOR_SD * 2
    assert learned.unit(spec).sd < PREDICTOR.unit(spec).sd


def test_training_tuning_and_memory_are_learned_too():
    spec = replace(network(), tune_rows=600.0)
    seen = Observation(spec, 0.0, 12.0, 3.0, 7e8)
    learned = PREDICTOR.learn([seen] * 4)
    assert learned.training(spec).value == pytest.approx(12.0, rel=0.1)
    assert learned.tuning(spec).value == pytest.approx(3.0, rel=0.1)
    assert learned.memory(spec).value == pytest.approx(7e8, rel=0.25)
    assert learned.unit(spec) == PREDICTOR.unit(spec)


def test_learning_nothing_changes_nothing():
    assert PREDICTOR.learn([]).predict(network(), DEMAND) == PREDICTOR.predict(network(), DEMAND)
    assert PREDICTOR.learn([Observation(network())]).learned.samples == ()


def test_learning_in_steps_is_learning_at_once():
    unit_s = world(1)
    seen = [Observation(spec, unit_s(spec)) for spec in plans(1, 6)]
    step = PREDICTOR
    for each in seen:
        step = step.learn([each])
    assert step.unit(network(40)) == PREDICTOR.learn(seen).unit(network(40))


@pytest.mark.parametrize("measured", [-1.0, math.inf, math.nan])
def test_nothing_is_learned_from_a_figure_that_cannot_be(measured):
    with pytest.raises(BadInputError, match="Nothing can be learned"):
        PREDICTOR.learn([Observation(network(), measured)])


def test_what_was_learned_survives_json():
    unit_s = world(2)
    learned = PREDICTOR.learn([Observation(spec, unit_s(spec), 5.0) for spec in plans(2, 5)]).learned
    again = Learned.from_dict(json.loads(json.dumps(learned.to_dict())))
    assert again == learned
    assert Predictor(DEVICE, SHEET, again).unit(network(40)) == Predictor(DEVICE, SHEET, learned).unit(network(40))


@pytest.mark.parametrize("body", [{}, {"samples": 3}, {"samples": [{"target": "serve"}]}])
def test_a_file_that_holds_nothing_learned_is_refused(body):
    with pytest.raises(CorruptError, match="calibrate again"):
        Learned.from_dict(body)


def test_the_error_of_each_sample_is_that_of_the_others_prediction():
    unit_s = world(3)
    learned = PREDICTOR.learn([Observation(spec, unit_s(spec)) for spec in plans(3, 20)]).learned
    errors = learned.errors("serve")
    assert len(errors) == 20
    assert 0 < sum(map(abs, errors)) / 20 < 0.3
    assert learned.errors("train") == ()


def sample(parts: tuple[float, ...], measured: float) -> Sample:
    return Sample("serve", "r", "r/g", parts, (0.0,), measured)


def test_factors_are_found_where_the_samples_tell_them_apart():
    truth = (1.2, 0.8)
    parts = [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (3.0, 1.0), (1.0, 3.0)] * 20
    found = solve([sample(each, truth[0] * each[0] + truth[1] * each[1]) for each in parts], (1.0, 1.0))
    assert found == pytest.approx(truth, rel=0.03)


def test_factors_of_parts_that_never_occur_stay_at_the_prior():
    assert solve([sample((1.0, 0.0), 2.0)], (1.0, 0.7))[1] == 0.7


@given(st.lists(st.tuples(st.floats(0.01, 10), st.floats(0.01, 10), st.floats(0.01, 100)), min_size=1, max_size=8))
def test_factors_are_never_negative(rows):
    found = solve([sample((a, b), measured) for a, b, measured in rows], (1.0, 1.0))
    assert all(factor >= 0 and math.isfinite(factor) for factor in found)


def test_neighbours_pull_towards_themselves_and_far_places_know_nothing():
    import numpy as np

    local = Local.of(["g", "g"], [(0.0,), (0.1,)], np.array([0.5, 0.5]))
    near, near_sd = local.at("g", (0.05,))
    elsewhere, _ = local.at("other", (0.05,))
    far, far_sd = local.at("g", (100.0,))
    assert 0.4 < near < 0.5
    assert 0 < elsewhere < near
    assert far == pytest.approx(0, abs=1e-6)
    assert near_sd < 0.1 < far_sd == pytest.approx(PRIOR_SD, rel=0.02)


def test_what_was_true_long_ago_is_forgotten():
    spec = network(48, runtime="onnxruntime")
    now_s = PREDICTOR.unit(spec).value
    ago, lately = Observation(spec, 5 * now_s), Observation(spec, now_s)
    assert PREDICTOR.learn([ago] * 20).unit(spec).value > 4 * now_s
    assert PREDICTOR.learn([*[ago] * 20, *[lately] * 240]).unit(spec).value == pytest.approx(now_s, rel=0.02)
