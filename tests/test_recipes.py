"""The recipes are what they say: their networks, their data, and a control that is worth beating."""

from pathlib import Path

import numpy as np
import pytest

from pennyweight import backends
from pennyweight.cost.count import count, params
from pennyweight.errors import BadInputError
from pennyweight.jobs import load_recipe
from pennyweight.train.loop import How, fit

RECIPES = Path(__file__).resolve().parents[1] / "recipes"


@pytest.fixture(scope="module")
def digits():
    return load_recipe(RECIPES / "digits_cnn.py")


def test_digits_is_the_network_it_says_it_is(digits):
    assert params(digits.spec) == 85_066
    assert digits.material.splits.sizes == (899, 359, 539)
    assert digits.floor.amount == pytest.approx(0.03)


def test_digits_trains_to_a_control_worth_beating(digits):
    work = backends.load("torch").open(digits, seed=0)
    trained = fit(work.model, work.data.train, work.spec.train, how=How(seed=0))
    answers = backends.load("torch").predict(work.having(model=trained.model), work.data.certify.x)
    assert (answers.argmax(1) == work.data.certify.y).mean() > 0.96


@pytest.fixture(scope="module")
def mnist(samples):
    return load_recipe(RECIPES / "mnist_cnn.py", samples / "vision")


def test_mnist_is_the_tutorials_network(mnist):
    assert params(mnist.spec) == 93_322
    macs = 26 * 26 * 32 * 9 + 11 * 11 * 64 * 32 * 9 + 3 * 3 * 64 * 64 * 9 + 576 * 64 + 640
    assert count(mnist.spec).flop == 2 * macs


def test_mnist_keeps_the_official_test_images_for_the_certificate(mnist, samples):
    splits = mnist.material.splits
    assert splits.sizes == (50_000, 10_000, 10_000)
    with np.load(samples / "vision" / "mnist.npz") as file:
        assert np.array_equal(splits.certify.y, file["y_test"])
        assert np.array_equal((splits.certify.x[:50, 0] * 255).round(), file["x_test"][:50])
    assert splits.train.x.max() == 1


def test_mnist_without_its_file_or_with_another_says_so(tmp_path):
    with pytest.raises(BadInputError, match=r"mnist\.npz"):
        load_recipe(RECIPES / "mnist_cnn.py", tmp_path)
    np.savez(tmp_path / "mnist.npz", x_train=np.zeros(1))
    with pytest.raises(BadInputError, match="lacks x_test, y_test, y_train"):
        load_recipe(RECIPES / "mnist_cnn.py", tmp_path)


@pytest.fixture(scope="module")
def gpt(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("to be, or not to be: that is the question. " * 400, encoding="utf-8")
    return load_recipe(RECIPES / "char_gpt.py", path)


def test_char_gpt_is_the_network_it_says_it_is(gpt):
    block = 12 * 384**2 + 4 * 384
    vocabulary = gpt.spec.data.classes
    assert params(gpt.spec) == 6 * block + 2 * 384 + (2 * vocabulary + 256) * 384
    assert 10.6e6 < params(gpt.spec) < 10.9e6


def test_char_gpt_splits_the_text_in_order_and_labels_with_the_next_character(gpt):
    splits = gpt.material.splits
    n = sum(splits.sizes)
    assert splits.sizes == (n - 2 * (n // 10), n // 10, n // 10)
    for part in (splits.train, splits.select, splits.certify):
        assert np.array_equal(part.x[:, 1:], part.y[:, :-1])
    assert splits.train.y[-1, -1] == splits.select.x[0, 0]
    assert splits.select.y[-1, -1] == splits.certify.x[0, 0]


def test_a_char_gpt_student_has_the_size_asked_for(gpt):
    student = gpt.material.make_model.student(3, 192)
    assert len(student.blocks) == 3
    assert student.shape.heads == 3
    assert sum(each.numel() for each in student.blocks.parameters()) == 3 * (12 * 192**2 + 4 * 192)


def test_char_gpt_refuses_what_is_no_long_text(tmp_path):
    short = tmp_path / "short.txt"
    short.write_text("too short", encoding="utf-8")
    with pytest.raises(BadInputError, match="9 characters"):
        load_recipe(RECIPES / "char_gpt.py", short)
    short.write_bytes(b"\xff\xfe\xfa" * 9)
    with pytest.raises(BadInputError, match="cannot be read"):
        load_recipe(RECIPES / "char_gpt.py", short)
