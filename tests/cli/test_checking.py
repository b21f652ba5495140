import json

import pytest
from processes import RECIPE, call

WRONG = """
import torch


class Halved(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad / 2


class Bad(torch.nn.Linear):
    def forward(self, x):
        return Halved.apply(super().forward(x))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checking")
    (folder / "halves.py").write_text(RECIPE.replace("EPOCHS", "3"))
    (folder / "wrong.py").write_text(
        WRONG + RECIPE.replace("EPOCHS", "3").replace("nn.Linear(128, 128)", "Bad(128, 128)")
    )
    return folder


def test_right_gradients_are_said_to_be_right(place):
    code, out, err = call(place, "check-gradients", "halves.py")
    assert code == 0, err
    assert "All 6 gradients are right." in out


def test_a_wrong_gradient_is_named_and_ends_with_one(place):
    code, out, _ = call(place, "check-gradients", "wrong.py", "--json")
    facts = json.loads(out)
    assert code == 1
    assert "The gradient of 2.bias is wrong" in facts["text"]
    assert len(facts["checked"]) == 6


def test_a_rate_and_a_batch_are_suggested(place):
    code, out, err = call(place, "find-rate", "halves.py", "--json")
    assert code == 0, err
    facts = json.loads(out)
    assert 1e-4 < facts["lr"] < 1
    assert facts["batch"] in {8, 16, 32, 64, 128}
    assert len(facts["rates"]) == len(facts["losses"])
    assert "Learning rate" in call(place, "find-rate", "halves.py")[1]
