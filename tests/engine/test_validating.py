import math

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold, cross_val_score

from pennyweight import Shop
from pennyweight.core import Basis, Floor, Phase
from pennyweight.data.folds import folds
from pennyweight.engine.validating import cross_validate
from pennyweight.errors import BadInputError
from pennyweight.jobs import sklearn_job
from pennyweight.testing.jobs import forest_job, gpt_job, mlp_job


@pytest.fixture
def shop(tmp_path):
    return Shop.at(tmp_path)


def test_it_is_the_mean_over_folds_of_the_training_split_as_scikit_learn_finds_it(shop):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(300, 5)).astype(np.float32)
    y = (x[:, 0] + generator.normal(size=300) > 0).astype(int)
    job = sklearn_job("sides", LogisticRegression(), (x, y), Floor("accuracy", 0.2))
    found = cross_validate(job, shop, k=4)
    train = job.material.splits.train
    for score, (kept, left) in zip(found.folds, folds(train, 4), strict=True):
        assert score.mean == pytest.approx(LogisticRegression().fit(kept.x, kept.y).score(left.x, left.y))
    assert found.score.mean == pytest.approx(np.mean([score.mean for score in found.folds]))
    assert found.score.n == len(train) == 180


def test_values_are_scored_by_the_metric_of_the_floor(shop):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(500, 3)).astype(np.float32)
    y = x @ np.array([1.0, 2.0, 3.0]) + generator.normal(size=500)
    job = sklearn_job("values", Ridge(), (x, y), Floor("rmse", 0.5))
    found = cross_validate(job, shop)
    train = job.material.splits.train
    theirs = -cross_val_score(Ridge(), train.x, train.y, cv=KFold(5), scoring="neg_root_mean_squared_error").mean()
    assert found.score.metric == "rmse"
    assert found.score.mean == pytest.approx(theirs, rel=0.05)


@pytest.mark.parametrize(("make", "low", "high"), [(mlp_job, 0.6, 1.0), (forest_job, 0.6, 1.0), (gpt_job, 1.2, 7.0)])
def test_networks_forests_and_language_models_are_validated_as_asked(shop, make, low, high):
    found = cross_validate(make(), shop, k=3)
    assert low < found.score.mean < high
    assert 0 < found.score.se < math.inf
    assert found.folds == cross_validate(make(), shop, k=3).folds
    assert found.folds != cross_validate(make(), shop, k=3, seed=1).folds


def test_what_it_costs_is_on_the_ledger_and_every_fold_is_told(tmp_path):
    heard = []
    shop = Shop.at(tmp_path, watch=lambda event, **facts: heard.append((event, facts["text"])))
    job = forest_job()
    found = cross_validate(job, shop, k=3)
    entries = shop.ledger.entries(job.name, basis=Basis.MEASURED)
    assert [entry.note["what"] for entry in entries] == [f"cross-validate, fold {number} of 3" for number in (1, 2, 3)]
    assert {entry.phase for entry in entries} == {Phase.FIND}
    assert found.cost.device_s == pytest.approx(sum(entry.cost.device_s for entry in entries))
    assert found.cost.usd > 0
    assert [event for event, _ in heard] == ["training", "note"] * 3
    assert heard[1][1].startswith("fold 1 of 3: accuracy 0.")


def test_the_select_and_certify_splits_are_not_looked_at(shop):
    job = forest_job()
    job.material.splits.select.y[:] = 0
    job.material.splits.certify.y[:] = 0
    assert cross_validate(job, shop, k=3).folds == cross_validate(forest_job(), shop, k=3).folds


def test_one_fold_is_refused(shop):
    with pytest.raises(BadInputError, match="at least 2"):
        cross_validate(forest_job(), shop, k=1)
