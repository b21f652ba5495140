"""What costs differently from row to row is weighed on different rows, and training for serving is foreseen."""

import numpy as np

from pennyweight.core import Artifact, Plan
from pennyweight.engine import Engine, Shop
from pennyweight.engine.weighing import one_call
from pennyweight.levers.cascade import Cascade
from pennyweight.levers.runtime import Runtime
from pennyweight.testing import mlp_job

ARTIFACT = Artifact("onnx", (), (("input_dtype", "float32"),))


class Listening:
    """A session that remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def predict(self, x):
        self.asked.append(x[:, 0].tolist())


def asked(batch, *, differing, calls=5):
    session, x = Listening(), np.arange(7, dtype=np.float64)[:, None]
    call = one_call(session, ARTIFACT, x, batch, differing=differing)
    for _ in range(calls):
        call()
    return session.asked


def test_rows_that_cost_alike_are_asked_again_and_again():
    assert asked(2, differing=False, calls=2) == [[0, 1], [0, 1]]
    assert asked(9, differing=False, calls=1) == [[0, 1, 2, 3, 4, 5, 6, 0, 1]]


def test_rows_that_cost_differently_take_turns():
    assert asked(2, differing=True) == [[0, 1], [2, 3], [4, 5], [0, 1], [2, 3]]
    assert asked(9, differing=True, calls=2) == [[0, 1, 2, 3, 4, 5, 6, 0, 1]] * 2


def test_training_a_model_that_answers_first_is_part_of_the_effort(tmp_path):
    job = mlp_job()
    engine = Engine(job, Shop.at(tmp_path))
    engine.execute(Plan(job))
    served = Plan(job).then(Runtime("onnxruntime"))
    cascade = Plan(job).then(Cascade(8, give_up=0.1, epochs=400))
    assert engine.effort(cascade).device_s > engine.effort(served).device_s + 0.5
