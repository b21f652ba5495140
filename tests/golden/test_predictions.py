"""Predicted numbers, pinned: no refactoring may move one; a change of a number is a change to be reviewed as such.

After a change that is meant to move them: ``python tests/golden/test_predictions.py`` writes `predictions.json` anew.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pennyweight.catalog import load_device, load_prices
from pennyweight.core import Bill, DataSpec, Demand, Form, Kind, Op, ServeSpec, Spec, TrainSpec
from pennyweight.cost.predict import Observation, Predictor

PINNED = Path(__file__).with_name("predictions.json")
HOW = "If it was meant to move, run `python tests/golden/test_predictions.py` and say why in the commit."


def convolutions(**serve) -> Spec:
    ops = (
        Op("conv1", Kind.CONV, 1, 32, fan=9, positions=676, per_out=1, writes="a", intake=1.16),
        Op("relu1", Kind.POINTWISE, 32, 32, positions=676, reads="a"),
        Op("pool1", Kind.POOL, 32, 32, fan=4, positions=169, reads="a", intake=4),
        Op("conv2", Kind.CONV, 32, 64, fan=9, positions=121, per_out=1, reads="a", writes="b", intake=1.4),
        Op("relu2", Kind.POINTWISE, 64, 64, positions=121, reads="b"),
        Op("fc", Kind.LINEAR, 64, 10, fan=121, per_out=1, reads="b"),
    )
    return Spec(Form.MODULE, ops, DataSpec(60_000, 784.0), TrainSpec(5.0, 128), ServeSpec(**serve))


def transformer(**serve) -> Spec:
    ops = (
        Op("token", Kind.EMBED, 96, 384, positions=256),
        Op("norm", Kind.NORM, 384, 384, positions=256, per_out=2, times=13),
        Op("qkv", Kind.LINEAR, 384, 1152, positions=256, times=6),
        Op("scores", Kind.MATMUL, 64, 256, positions=1536, groups=6, times=6),
        Op("softmax", Kind.SOFTMAX, 256, 256, positions=1536, times=6),
        Op("mlp", Kind.LINEAR, 384, 1536, positions=256, times=12),
        Op("gelu", Kind.POINTWISE, 1536, 1536, positions=256, times=6),
        Op("head", Kind.LINEAR, 384, 96, positions=256),
    )
    return Spec(Form.MODULE, ops, DataSpec(20_000, 256.0), TrainSpec(2.0, 32), ServeSpec(**serve))


def forest() -> Spec:
    ops = (Op("trees", Kind.TREE, 30, 2, fan=41, positions=5, times=100),)
    return Spec(Form.ESTIMATOR, ops, DataSpec(341, 120.0), serve=ServeSpec("sklearn"))


def cases() -> dict[str, Bill]:
    predictor, demand = Predictor(load_device("generic-cpu"), load_prices("local")), Demand(1e7, 365)
    eight = convolutions(runtime="onnxruntime", batch=64).map(lambda op: replace(op, weight_bits=8, act_bits=8))
    tuned = replace(eight, form=Form.GRAPH, tune_rows=30_000.0)
    seen = [Observation(convolutions(runtime=name), 1e-4, 80.0, 0.0, 3e8) for name in ("torch", "onnxruntime")]
    return {
        "convolutions in torch": predictor.predict(convolutions(), demand),
        "convolutions in whole numbers, 64 at a time": predictor.predict(tuned, demand, convolutions()),
        "transformer in openvino, bfloat16, two threads": predictor.predict(
            transformer(runtime="openvino", precision="bfloat16", threads=2, batch=8), demand
        ),
        "forest in scikit-learn": predictor.predict(forest(), demand),
        "convolutions after two runs": predictor.learn(seen).predict(convolutions(runtime="openvino"), demand),
    }


def figures(bill: Bill) -> dict[str, float]:
    found = {"error": bill.error}
    for name, cost in (("unit", bill.unit), *((phase.value, cost) for phase, cost in bill.lines)):
        found |= {f"{name}.{key}": getattr(cost, key) for key in ("device_s", "wall_s", "joule", "usd")}
    return found


@pytest.mark.parametrize("name", cases())
def test_no_predicted_number_moves(name):
    pinned = json.loads(PINNED.read_text(encoding="utf-8"))[name]
    found = figures(cases()[name])
    assert found.keys() == pinned.keys()
    moved = [key for key in pinned if found[key] != pytest.approx(pinned[key], rel=1e-6, abs=1e-18)]
    assert not moved, f"{name}: {', '.join(moved)} moved, such as {found[moved[0]]} from {pinned[moved[0]]}. {HOW}"


def test_every_pinned_number_still_has_its_case():
    assert json.loads(PINNED.read_text(encoding="utf-8")).keys() == cases().keys()


if __name__ == "__main__":
    body = {name: figures(bill) for name, bill in cases().items()}
    PINNED.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
