"""A federated run of a job: what is on the ledger afterwards, and where it ends."""

from dataclasses import replace
from pathlib import Path

import pytest

from pennyweight import Limits, Shop
from pennyweight.core import Phase
from pennyweight.errors import BadInputError
from pennyweight.jobs import load_recipe
from pennyweight.train.federated import FederatedSpec, Privacy
from pennyweight.training.federated import train_federated

RECIPE = Path(__file__).resolve().parents[2] / "recipes" / "federated_digits.py"


@pytest.fixture(scope="module")
def job():
    return load_recipe(RECIPE)


def rounds_of(shop):
    entries = shop.ledger.entries(phase=Phase.TRAIN)
    return [each for each in entries if each.note.get("part") == "federated round"]


def test_every_round_is_on_the_ledger_with_its_bytes_and_the_epsilon_spent(job, tmp_path):
    pytest.importorskip("opacus")
    shop = Shop.at(tmp_path)
    spec = FederatedSpec(20, 4, local=job.spec.train, privacy=Privacy(8.0))
    heard = []
    done = train_federated(job, spec, lambda told: heard.append(told) or True, shop=shop)
    entries = rounds_of(shop)
    assert [each.note["number"] for each in entries] == [1, 2, 3, 4]
    epsilons = [each.note["epsilon"] for each in entries]
    assert epsilons == sorted(epsilons)
    assert epsilons[-1] == done.epsilon <= 8.0
    assert [each.note["up_byte"] for each in entries] == [each.up_byte for each in done.rounds]
    assert all(each.cost.device_s > 0 for each in entries)
    assert tuple(heard) == done.rounds
    assert done.score.mean == pytest.approx(done.rounds[-1].quality)
    assert shop.artifacts.get(done.artifact).meta


def test_a_federated_model_is_good_and_its_limits_hold(job, tmp_path):
    shop = Shop.at(tmp_path)
    spec = FederatedSpec(20, 8, alpha=0.5, local=job.spec.train)
    whole = train_federated(job, spec, shop=shop)
    assert whole.score.mean > 0.85
    assert whole.why == "All rounds were made."
    limit = 0.6 * whole.cost.usd
    bounded = train_federated(replace(job, limits=Limits(usd=limit)), replace(spec, rounds=200), shop=shop)
    assert len(bounded.rounds) < 200
    assert "more dollars than the limit" in bounded.why


def test_a_model_that_is_fitted_in_one_go_is_refused(tmp_path):
    regression = load_recipe(RECIPE.with_name("linear_regression.py"))
    with pytest.raises(BadInputError, match="federate a model of torch"):
        train_federated(regression, FederatedSpec(), shop=Shop.at(tmp_path))
