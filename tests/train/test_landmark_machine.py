import numpy as np
import pytest

from pennyweight.cost.learn.landmarks import LandmarkMachine, Settings, one_hot
from pennyweight.cost.learn.orientations import Orientations
from pennyweight.errors import BadInputError


def _rings(rows, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(rows) % 2
    angle = rng.uniform(0, 2 * np.pi, rows)
    points = np.c_[np.cos(angle), np.sin(angle), np.where(labels, 1.0, -1.0) * np.sign(np.cos(3 * angle))]
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32), labels


def test_what_no_line_can_part_is_parted():
    x, y = _rings(400)
    machine = LandmarkMachine.fit(x, one_hot(y, 2), Settings(100))
    fresh, truth = _rings(200, seed=1)
    assert (machine.predict(fresh).argmax(1) == truth).mean() > 0.9


def test_with_every_row_as_a_landmark_it_is_kernel_ridge_regression():
    from sklearn.kernel_ridge import KernelRidge

    x, y = _rings(60)
    ours = LandmarkMachine.fit(x, one_hot(y, 2), Settings(60, sharp=2.0, ridge=1e-3))
    kernel = np.exp(-2.0 * (2 - 2 * x.astype(float) @ x.T))
    weights = np.linalg.solve(kernel.T @ kernel + 1e-3 * 60 * np.eye(60), kernel.T @ one_hot(y, 2))
    assert np.allclose(ours.predict(x), kernel @ weights, atol=1e-3)
    theirs = KernelRidge(kernel="rbf", gamma=2.0, alpha=1e-3).fit(x, one_hot(y, 2))
    assert (ours.predict(x).argmax(1) == theirs.predict(x).argmax(1)).mean() > 0.95


def test_rounding_never_leaves_a_system_that_cannot_be_solved():
    x = np.repeat(_rings(10)[0], 50, axis=0)
    machine = LandmarkMachine.fit(x, np.ones((500, 1)), Settings(200, sharp=0.01, ridge=1e-12))
    assert np.allclose(machine.predict(x), 1, atol=0.05)


def test_equal_seeds_choose_equal_landmarks():
    x, y = _rings(100)
    one, two = (LandmarkMachine.fit(x, one_hot(y, 2), Settings(20), seed=3) for _ in range(2))
    assert np.array_equal(one.points, two.points)
    assert np.array_equal(one.weights, two.weights)


def test_rows_that_are_not_finite_are_refused():
    x, y = _rings(20)
    x[3, 0] = np.nan
    with pytest.raises(BadInputError, match="not finite"):
        LandmarkMachine.fit(x, one_hot(y, 2), Settings(5))


def test_an_edge_is_seen_in_its_own_direction_only():
    image = np.zeros((1, 14, 14), np.float32)
    image[:, :, 7:] = 1
    turn = Orientations(directions=8, window=6, stride=4)
    strength = turn(image).reshape(8, -1).sum(axis=1)
    assert strength.argmax() == 0
    assert strength[4] < 1e-3


def test_rows_have_length_one_and_an_empty_image_has_none():
    images = np.random.default_rng(0).random((300, 1, 12, 12))
    images[7] = 0
    lengths = np.linalg.norm(Orientations.suited(12)(images), axis=1)
    assert np.allclose(np.delete(lengths, 7), 1, atol=1e-5)
    assert lengths[7] == 0


def test_windows_larger_than_the_image_are_refused():
    with pytest.raises(BadInputError, match="smaller window"):
        Orientations(window=10)(np.zeros((2, 8, 8)))
