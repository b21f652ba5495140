import numpy as np
import pytest

from pennyweight.core import Basis, Phase, Plan
from pennyweight.data.splits import split
from pennyweight.engine import Engine, Evidence, Shop
from pennyweight.engine.answers import open_session, probes, softmax
from pennyweight.jobs import sklearn_job
from pennyweight.levers.runtime import Runtime


@pytest.fixture
def job():
    from sklearn.ensemble import RandomForestClassifier

    x = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    y = (x[:, 0] + x[:, 1] > 0).astype(np.int64)
    forest = RandomForestClassifier(n_estimators=5, random_state=0)
    return sklearn_job("sum_of_two", forest, split(x, y, shares=(0.4, 0.3, 0.3)), "accuracy=60%")


@pytest.fixture
def shop(tmp_path):
    return Shop.at(tmp_path / "home")


def onnx_plan(job):
    return Plan(job).then(Runtime("onnxruntime"))


def test_a_run_has_a_measured_bill_beside_the_one_foreseen(job, shop):
    run = Engine(job, shop).execute(Plan(job))
    assert run.bill.basis is Basis.MEASURED
    assert run.predicted.basis is Basis.PREDICTED
    assert run.bill.usd > 0
    assert run.bill.line(Phase.TRAIN).device_s > 0
    assert run.bill.unit.device_s > 0
    assert run.score.n == len(job.material.splits.select)


def test_every_second_is_an_entry_on_the_ledger(job, shop):
    engine = Engine(job, shop)
    engine.execute(onnx_plan(job))
    phases = {entry.phase for entry in shop.ledger.entries("sum_of_two")}
    assert {Phase.TRAIN, Phase.FIND} <= phases
    assert engine.bill().usd == pytest.approx(engine.spent.usd)


def test_what_is_on_the_ledger_is_not_done_again(job, shop):
    first = Engine(job, shop).execute(Plan(job))
    again = Engine(job, shop)
    second = again.execute(Plan(job))
    assert again.spent.usd == 0
    assert second.bill == first.bill
    assert second.score == first.score


def test_a_candidate_is_weighed_against_a_control_from_an_earlier_session(job, shop):
    Engine(job, shop).execute(Plan(job))
    run = Engine(job, shop).execute(onnx_plan(job))
    assert 0 < run.bill.unit.device_s < 1


def test_the_artifact_answers_its_probes_as_recorded(job, shop):
    engine = Engine(job, shop)
    artifact = engine.artifact(engine.execute(onnx_plan(job)))
    x, recorded = probes(artifact)
    assert np.allclose(open_session(artifact).predict(x), recorded, atol=1e-5)


def test_a_new_runtime_answers_what_the_old_one_did(job, shop):
    engine = Engine(job, shop)
    rows = job.material.splits.select
    one, other = (engine.answers(engine.execute(plan), rows) for plan in (Plan(job), onnx_plan(job)))
    assert np.allclose(one, other, atol=1e-5)


def test_evidence_asks_the_model_once_per_split(job, shop):
    engine = Engine(job, shop)
    run = engine.execute(Plan(job))
    evidence = Evidence(engine)
    assert evidence.seen(run) is evidence.seen(run)
    assert len(evidence.fresh(run)) == len(evidence.y_certify) == 90


def test_softmax_survives_huge_logits():
    p = softmax(np.array([[1000.0, 0.0], [-1000.0, -1000.0]]))
    assert np.allclose(p, [[1, 0], [0.5, 0.5]])


def test_the_second_prediction_is_better_than_the_first(job, shop):
    engine = Engine(job, shop)
    before = engine.foresee(Plan(job))
    run = engine.execute(Plan(job))
    after = engine.foresee(Plan(job))
    assert abs(np.log(after.usd / run.bill.usd)) < abs(np.log(before.usd / run.bill.usd)) + 0.05
