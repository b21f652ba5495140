"""The ledger says which runs do not fit: a real ledger, a real process."""

import json
from dataclasses import replace

import numpy as np
import pytest
from processes import call

from pennyweight.core import Cost, DataSpec, Form, Kind, Op, Score, ServeSpec, Spec
from pennyweight.cost.count import count
from pennyweight.engine.anomalies import FEWEST, anomalies
from pennyweight.store.codec import plain
from pennyweight.store.ledger import Ledger
from pennyweight.store.records import RunRecord


def run_of(width, layers, factor, runtime="onnxruntime"):
    ops = tuple(Op(f"fc{at}", Kind.LINEAR, width, width) for at in range(layers))
    spec = Spec(Form.MODULE, ops, DataSpec(1000, 4.0 * width), serve=ServeSpec(runtime))
    unit = Cost(device_s=(1e-6 * layers + count(spec).flop / 2e10) * factor)
    train = Cost(device_s=3e3 * unit.device_s / factor)
    text = f"{width} × {layers}"
    note = {"trained": plain(spec)}
    return RunRecord(
        text, "print", "digits", spec, Score("accuracy", 0.9, 0.01, 100), unit, train, plan_text=text, note=note
    )


def runs_of(count, seed=0, **more):
    random = np.random.default_rng(seed)
    sizes = zip(random.integers(16, 512, count), random.integers(1, 6, count), strict=True)
    return [run_of(int(w), int(n), float(np.exp(0.05 * random.normal())), **more) for w, n in sizes]


def kept(place, runs):
    (place / "home").mkdir()
    with Ledger(place / "home" / "ledger.db") as ledger:
        return [ledger.record(run) for run in runs]


def test_a_run_that_cost_three_times_what_alike_runs_cost_is_named(tmp_path):
    runs = runs_of(40)
    odd = replace(runs[17], unit=runs[17].unit * 3)
    numbers = kept(tmp_path, [*runs[:17], odd, *runs[18:]])
    code, out, err = call(tmp_path, "ledger", "--anomalies", "--json")
    assert code == 0, err
    facts = json.loads(out)
    assert (facts["runs"], facts["alone"]) == (40, 0)
    (found,) = facts["anomalies"]
    assert (found["run"], found["what"], found["plan"]) == (numbers[17], "serving", odd.plan_text)
    assert found["measured_s"] / found["expected_s"] == pytest.approx(3, rel=0.3)
    assert found["score"] > 4
    code, out, _ = call(tmp_path, "ledger", "--anomalies")
    assert code == 0
    assert "Runs that do not fit" in out
    assert "1 of 40 runs that could be judged do not fit." in out


def test_runs_that_all_fit_are_said_to(tmp_path):
    kept(tmp_path, [*runs_of(30), *runs_of(3, runtime="torch")])
    code, out, _ = call(tmp_path, "ledger", "--anomalies")
    assert code == 0
    assert out.startswith("All 33 runs that could be judged cost what alike runs let expect.")


def test_with_few_runs_nothing_is_judged(tmp_path):
    code, out, _ = call(tmp_path, "ledger", "--anomalies")
    assert code == 0
    assert f"takes {FEWEST} runs" in out


def test_only_runs_of_the_same_runtime_are_alike():
    slow = [replace(run, unit=run.unit * 50, train=Cost()) for run in runs_of(20, 1, runtime="torch")]
    few = [replace(run, unit=run.unit * 50, train=Cost()) for run in runs_of(FEWEST - 1, 2, runtime="openvino")]
    found = anomalies([*runs_of(20), *slow, *few])
    assert found.found == ()
    assert found.alone == FEWEST - 1


def test_training_that_took_too_little_is_found_as_well():
    runs = runs_of(30, 5)
    runs[4] = replace(runs[4], train=runs[4].train * 0.25)
    (odd,) = anomalies(runs).found
    assert (odd.run, odd.what) == (runs[4], "training")
    assert odd.score < -4
    assert odd.alike == 29
