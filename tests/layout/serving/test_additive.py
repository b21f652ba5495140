import numpy as np
import pytest

from pennyweight.errors import CorruptError
from pennyweight.layout.serving.additive import Additive, Form, Percent, SoftL1, Term, marks_of

FORM = Form(
    (Term("read", 0.5, ("engine",), "work"), Term("multiply", 0.5, (), "work"), Term("wait", 1.0, ("engine",))),
    {"engine": (0.5, ("engine=a", "engine=b"))},
)


def values(rows=400):
    draw = np.random.default_rng(1)
    names = draw.choice(["a", "b"], rows)
    terms = {name: np.exp(draw.normal(0, 1, rows)) for name in ("read", "multiply", "wait")}
    return {**terms, **marks_of("engine", names, ("a", "b"))}


def test_multipliers_that_made_the_measurements_are_found_again():
    true = Additive(FORM, np.array([0.3, -0.2, 0.5, 0.4, -0.4]))
    told = values()
    found = Additive.fit(FORM, told, true.add_up(told), np.full(400, 1e4), 0.1)
    assert np.allclose(found.add_up(told), true.add_up(told), rtol=0.01)


def test_rows_that_weigh_nothing_leave_the_prior():
    told = values()
    found = Additive.fit(FORM, told, 5 * Additive.prior(FORM).add_up(told), np.full(400, 1e-9), 0.1)
    assert np.abs(found.x).max() < 1e-4


def test_a_tenth_of_absurd_rows_hardly_moves_the_fit():
    told = values()
    measured = Additive.prior(FORM).add_up(told)
    measured[::10] *= 1000
    found = Additive.fit(FORM, told, measured, np.full(400, 100.0), 0.05)
    assert np.median(np.abs(found.add_up(told) / Additive.prior(FORM).add_up(told) - 1)) < 0.05


def test_the_loss_in_percent_is_the_mean_relative_error_but_for_small_errors():
    error = np.array([-5.0, -1.0, 0.7, 3.0])
    assert np.allclose(Percent(1e-4).cost(error) / 2e-4, np.abs(np.expm1(error)), rtol=1e-3)
    assert np.allclose(Percent(0.2).cost(np.array([1e-4, -1e-4])), 1e-8, rtol=1e-3)


@pytest.mark.parametrize("loss", [SoftL1(0.2), Percent(0.2)])
def test_a_pull_is_half_the_slope_of_the_cost(loss):
    error, step = np.array([-3.0, -0.4, -0.01, 0.02, 0.5, 2.0]), 1e-6
    slope = (loss.cost(error + step) - loss.cost(error - step)) / (2 * step)
    assert np.allclose(loss.pull(error) * error, slope / 2, rtol=1e-3)
    assert loss.pull(np.zeros(1))[0] == pytest.approx(1)


def test_a_third_of_rows_that_stalled_moves_the_mean_relative_error_less_than_soft_squares():
    told = values()
    measured = Additive.prior(FORM).add_up(told)
    measured[::3] *= 20
    weight = np.full(400, 10.0)
    square = Additive.fit(FORM, told, measured, weight, 0.3)
    percent = square.refined(told, measured, weight, Percent(0.2))
    off = [np.abs(each.add_up(told) / measured - 1).mean() for each in (square, percent)]
    assert off[1] < 0.9 * off[0]


def test_slopes_are_the_derivatives():
    told = values(5)
    made = Additive(FORM, np.array([0.1, 0.2, -0.3, 0.4, 0.1]))
    _, slopes = made.slopes(told)
    for at in range(len(made.x)):
        nudge = np.zeros(len(made.x))
        nudge[at] = 1e-6
        above, below = (np.log(Additive(FORM, made.x + way * nudge).add_up(told)) for way in (1, -1))
        assert np.allclose(slopes[:, at], (above - below) / 2e-6, atol=1e-6)


def test_terms_under_one_roof_take_the_longer_and_others_add():
    told = {"read": np.array([10.0]), "multiply": np.array([0.1]), "wait": np.array([1.0])}
    told |= marks_of("engine", np.array(["c"]), ("a", "b"))
    assert Additive.prior(FORM).add_up(told)[0] == pytest.approx(11.0, rel=1e-3)


def test_what_is_kept_is_restored_and_strange_names_are_refused():
    made = Additive(FORM, np.array([0.25, 0.0, -0.5, 0.0, 0.125]))
    assert (Additive.restore(FORM, made.to_dict()).x == made.x).all()
    with pytest.raises(CorruptError, match="no coefficient nonsense"):
        Additive.restore(FORM, {"nonsense": 1.0})
