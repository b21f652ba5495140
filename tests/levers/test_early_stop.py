from dataclasses import replace

import pytest

from pennyweight import backends
from pennyweight.core import Form, Plan
from pennyweight.engine.making import trained
from pennyweight.errors import BadInputError
from pennyweight.levers.early_stop import EarlyStop
from pennyweight.levers.schedule import Schedule
from pennyweight.testing import mlp_job


@pytest.fixture
def job():
    made = mlp_job()
    return replace(made, spec=replace(made.spec, train=replace(made.spec.train, epochs=10, schedule="constant")))


def test_training_stops_when_nothing_gets_better(job):
    stuck = replace(job.spec, train=replace(job.spec.train, lr=1e-12, epochs=50))
    work = backends.load("torch").open(job)
    done = trained(EarlyStop(2).pull(work.having(spec=stuck)))
    assert done.spec.train.epochs < 10


def test_early_stopping_and_a_schedule_exclude_each_other(job):
    with pytest.raises(BadInputError, match="must not be cut short"):
        _ = Plan(job, (Schedule(), EarlyStop())).spec


def test_estimators_have_no_epochs_to_save(job):
    assert "network" in EarlyStop().fits(replace(job.spec, form=Form.ESTIMATOR)).reason
