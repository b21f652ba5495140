from dataclasses import replace

import pytest
from sklearn.ensemble import RandomForestClassifier

from pennyweight.catalog import machine
from pennyweight.core import Demand, Form, Plan
from pennyweight.engine import Shop, exercise, exercise_home
from pennyweight.engine.exercise import plans
from pennyweight.jobs import sklearn_job
from pennyweight.jobs.exercises import exercises


@pytest.fixture(scope="module")
def forests():
    return [job for job in exercises() if "RandomForestClassifier, 12" in job.name]


def test_exercises_are_many_jobs_of_both_forms_each_with_several_plans():
    jobs = list(exercises())
    assert {job.spec.form for job in jobs} == {Form.MODULE, Form.ESTIMATOR}
    assert len({(job.name, job.demand.batch) for job in jobs}) == len(jobs) > 20
    for job in jobs:
        found = list(plans(job))
        assert found[0].is_control
        assert len({plan.key for plan in found}) == len(found) > 2
        assert {plan.spec.serve.batch for plan in found} == {job.demand.batch}


def test_predictions_begin_with_the_exercises_once_the_machine_is_measured(forests, tmp_path, monkeypatch):
    monkeypatch.setenv("PENNYWEIGHT_HOME", str(tmp_path))
    done = exercise(forests, Shop.at(exercise_home()))
    assert done == sum(len(list(plans(job))) for job in forests) == 8
    shop = Shop.at(tmp_path / "work")
    other = sklearn_job(
        "another", RandomForestClassifier(60, random_state=0), forests[0].material.splits, "accuracy=10%",
        demand=Demand(batch=1),
    )  # fmt: skip
    assert machine().measured is False
    assert not shop.predictor(other).learned.samples
    measured = replace(shop, device=replace(shop.device, measured=True))
    assert measured.predictor(other).learned.samples
    before, after = shop.predictor(other).unit(Plan(other).spec), measured.predictor(other).unit(Plan(other).spec)
    assert after.sd < before.sd


def test_an_exercise_that_cannot_be_carried_out_is_left_out_and_said(forests, tmp_path):
    said = []
    shop = Shop.at(tmp_path, watch=lambda event, **facts: said.append((event, facts.get("text", ""))))
    broken = replace(forests[0], material=replace(forests[0].material, estimator=RandomForestClassifier(0)))
    with pytest.raises(Exception, match="n_estimators"):
        broken.material.estimator.fit([[0.0]], [0])
    assert exercise([broken], shop) == 0
    assert {"struck"} <= {event for event, _ in said}
