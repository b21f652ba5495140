"""What repeats is not computed twice, near rows have one answer by a grid, and what is tested is what is served."""

from dataclasses import replace

import numpy as np
import pytest

from pennyweight import backends
from pennyweight.catalog import load_device, load_prices
from pennyweight.core import Demand, Plan
from pennyweight.cost.keeping import LOOK_S
from pennyweight.cost.predict import Observation, Predictor
from pennyweight.data.splits import split
from pennyweight.engine import Engine, Shop
from pennyweight.engine.answers import open_session
from pennyweight.errors import BadInputError, NoEffectError
from pennyweight.jobs import sklearn_job
from pennyweight.levers.batching import Batching
from pennyweight.levers.cache import Cache
from pennyweight.testing import LeverLaws, gpt_job
from pennyweight.testing.jobs import busy_job, linear_job

REPEATS = Demand(1e9, repeats=0.4)
PREDICTOR = Predictor(load_device("amd-zen4"), load_prices())


class TestLaws(LeverLaws):
    lever = Cache

    @classmethod
    def jobs(cls):
        return (busy_job(),)


def plain_job(demand=REPEATS):
    """A step in the first of two numbers, which a forest learns; rows lie close together."""
    from sklearn.ensemble import RandomForestClassifier

    x = np.random.default_rng(0).normal(size=(900, 2)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int64)
    forest = RandomForestClassifier(n_estimators=20, random_state=0)
    return sklearn_job("step", forest, split(x, y, shares=(0.4, 0.3, 0.3)), "accuracy=60%", demand=demand)


def test_without_repeats_nothing_exact_is_tried():
    assert not [each for each in Cache.choices(linear_job()) if not each.grid]
    first = next(Cache.choices(busy_job()))
    assert (first.hits, first.grid) == (0.3, 0.0)


def test_coarser_grids_are_tried_while_more_rows_meet():
    found = list(Cache.choices(plain_job()))
    assert found[0] == Cache(hits=0.4)
    assert [each.grid for each in found] == sorted(each.grid for each in found)
    assert [each.hits for each in found] == sorted(each.hits for each in found)
    assert len(found) > 3
    assert found[-1].hits > 0.7


def test_rows_of_many_numbers_never_meet_and_no_grid_is_tried():
    assert [each.grid for each in Cache.choices(busy_job())] == [0.0]


def test_equal_training_rows_are_no_reason_for_a_grid():
    from sklearn.linear_model import Ridge

    x = np.repeat(np.random.default_rng(0).normal(size=(200, 12)).astype(np.float32), 3, axis=0)
    job = sklearn_job("copies", Ridge(), split(x, x[:, 0], groups=np.repeat(np.arange(200), 3)), "r2=10%")
    assert not list(Cache.choices(job))


def test_tokens_are_not_rounded():
    job = gpt_job()
    assert not list(Cache.choices(job))
    assert "no grid" in Cache(grid=0.1).fits(job.spec).reason
    assert Cache(hits=0.2).fits(job.spec)


def test_hits_cost_a_look_and_the_others_a_look_more():
    spec = linear_job().spec
    asked = PREDICTOR.unit(spec).value
    assert PREDICTOR.unit(Cache(hits=0.25).rewrite(spec)).value == pytest.approx(0.75 * asked + LOOK_S)


def test_what_is_kept_takes_memory():
    spec = linear_job().spec
    more = PREDICTOR.memory(Cache(rows=1_000_000).rewrite(spec)).value - PREDICTOR.memory(spec).value
    assert more > 1_000_000 * spec.data.row_byte


def test_a_predictor_learns_what_computing_takes_and_not_what_hits_save():
    spec = linear_job().spec
    kept, true_s = Cache(hits=0.8).rewrite(spec), 40e-6
    seen = [Observation(kept, 0.2 * true_s + LOOK_S)] * 8
    assert PREDICTOR.learn(seen).unit(spec).value == pytest.approx(true_s, rel=0.15)


def test_it_is_kept_once():
    work = backends.load("sklearn").open(busy_job())
    kept = Cache(hits=0.3).pull(work)
    assert "already" in Cache(hits=0.5).fits(kept.spec).reason
    with pytest.raises(NoEffectError, match="pull it once"):
        Cache(hits=0.5).pull(kept)


@pytest.mark.parametrize("wrong", [{"rows": 0}, {"hits": 0.0}, {"hits": 1.0}, {"grid": -1.0}])
def test_caches_that_cannot_be_are_refused(wrong):
    with pytest.raises(BadInputError, match="cannot be"):
        Cache(**wrong)


@pytest.mark.parametrize("wrong", [{"repeats": 1.0}, {"repeats": -0.1}, {"latency_s": 0.0}])
def test_demands_that_cannot_be_are_refused(wrong):
    with pytest.raises(BadInputError):
        Demand(**wrong)


def test_measured_hits_make_a_prediction_cheaper_and_rounding_changes_what_is_scored(tmp_path):
    job = plain_job()
    engine = Engine(job, Shop.at(tmp_path / "home"))
    control = engine.execute(Plan(job))
    kept = engine.execute(Plan(job).then(Cache(hits=0.9)))
    assert kept.score == control.score, "the same answers"
    assert kept.bill.unit.device_s < 0.2 * control.bill.unit.device_s, "a forest takes much longer than a look-up"
    coarse = engine.execute(Plan(job).then(Cache(hits=0.9, grid=4.0)))
    assert coarse.score.mean < control.score.mean - 0.05, "a cell of four deviations holds both classes"
    artifact = engine.artifact(coarse)
    assert artifact.facts["serve"]["grid"] == 4.0
    near = np.array([[0.1, 0.3], [-0.1, -0.2]], np.float32)
    first, second = open_session(artifact).predict(near)
    np.testing.assert_array_equal(first, second)


def test_waiting_is_weighed_in_larger_calls_and_told_to_the_server(tmp_path):
    job = plain_job(Demand(1e4 * 86400, days=1.0, latency_s=0.05))
    engine = Engine(job, Shop.at(tmp_path / "home"))
    control = engine.execute(Plan(job))
    run = engine.execute(Plan(job).then(Batching(64, 5.0, 32)))
    assert run.score == control.score
    assert run.bill.unit.device_s < 0.2 * control.bill.unit.device_s, "most of a call of scikit-learn is its start"
    serve = engine.artifact(run).facts["serve"]
    assert (serve["batch"], serve["most"], serve["wait_s"]) == (32, 64, 0.005)
    assert replace(run.spec.serve, batch=1, most=0, wait_s=0.0) == control.spec.serve
