"""Small models that vote are one model, cheaper than the one they stand in for."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier

from pennyweight import backends
from pennyweight.backends.joining import answers_of, as_graph
from pennyweight.backends.onnx_joined import voted
from pennyweight.core import Floor, Form
from pennyweight.cost.count import count
from pennyweight.data.splits import split
from pennyweight.engine.answers import softmax
from pennyweight.engine.making import trained
from pennyweight.errors import BadInputError
from pennyweight.jobs import sklearn_job
from pennyweight.levers.cascade import Cascade
from pennyweight.levers.ensemble import Ensemble
from pennyweight.testing import forest_job, gpt_job, linear_job, mlp_job
from pennyweight.train.small import Small

TORCH, SKLEARN = backends.load("torch"), backends.load("sklearn")
LEVER = Ensemble(3, 8, epochs=15)


@pytest.fixture(scope="module")
def mlp():
    return trained(TORCH.open(mlp_job()))


@pytest.fixture(scope="module")
def members(mlp):
    """Four graphs trained from different seeds, two of them hardly at all, and what each answers."""
    models = [Small("net", 4).train(mlp, 2.0 + member // 2, member=member) for member in range(4)]
    graphs = [as_graph(mlp, model) for model in models]
    return graphs, np.stack([softmax(answers_of(mlp, graph, mlp.data.select.x)) for graph in graphs])


def test_a_soft_vote_is_the_mean_of_probabilities(mlp, members):
    graphs, chances = members
    found = softmax(answers_of(mlp, voted(graphs, logits=True), mlp.data.select.x))
    assert np.abs(found - chances.mean(axis=0)).max() < 1e-5
    assert (chances.argmax(axis=2) != chances.argmax(axis=2)[0]).any()


def test_a_majority_wins_and_a_tie_goes_to_the_larger_mean(mlp, members):
    graphs, chances = members
    found = softmax(answers_of(mlp, voted(graphs, logits=True, vote="majority"), mlp.data.select.x))
    votes = np.stack([(chances.argmax(axis=2) == name).sum(axis=0) for name in range(3)], axis=1)
    tied = (votes == votes.max(axis=1, keepdims=True)).sum(axis=1) > 1
    assert tied.any()
    assert (found.argmax(axis=1) == votes.argmax(axis=1))[~tied].all()
    ahead = np.where(votes == votes.max(axis=1, keepdims=True), chances.mean(axis=0), -1)
    assert (found.argmax(axis=1) == ahead.argmax(axis=1)).all()
    assert np.abs(found - votes / 4).max() < 2e-3


def test_members_cost_together_what_the_paper_says(mlp):
    made = LEVER.pull(mlp)
    assert made.spec.form is Form.GRAPH
    assert count(made.spec).flop == count(LEVER.rewrite(mlp.spec)).flop == 3 * 2 * (24 * 8 + 8 * 3)
    assert count(made.spec).disk_byte == 3 * 4 * (24 * 8 + 8 + 8 * 3 + 3)


def test_votes_are_right_more_often_than_a_member_is(members, mlp):
    _, chances = members
    y = mlp.data.select.y
    alone = (chances.argmax(axis=2) == y).mean(axis=1)
    assert (chances.mean(axis=0).argmax(axis=1) == y).mean() > alone.mean()


def test_forests_and_linear_models_vote_for_an_estimator():
    x, y = load_digits(return_X_y=True)
    forest = RandomForestClassifier(200, random_state=0)
    job = sklearn_job("digits", forest, split(x.astype(np.float32), y), Floor("accuracy", 0.05))
    work = trained(SKLEARN.open(job))
    [lever] = Ensemble.choices(job)
    assert lever.fits(work.spec)
    made = lever.pull(work)
    rows = work.data.certify
    ours, theirs = ((SKLEARN.predict(each, rows.x).argmax(1) == rows.y).mean() for each in (made, work))
    assert ours > theirs - 0.05
    assert np.allclose(SKLEARN.predict(made, rows.x).sum(axis=1), 1, atol=1e-4)
    assert count(made.spec).flop < 0.8 * count(work.spec).flop


def test_what_training_the_members_takes_is_on_the_bill(mlp):
    spec = LEVER.rewrite(mlp.spec)
    asked = mlp.spec.data.rows / 3 * count(mlp.spec).flop / count(spec).flop
    assert spec.tune_rows == pytest.approx(15 * mlp.spec.data.rows + asked)


def test_every_refusal_says_why(mlp):
    assert "as much as" in Ensemble(9, 64).fits(mlp.spec).reason
    assert "probabilities" in LEVER.fits(gpt_job().spec).reason
    assert "probabilities" in Ensemble(sort="mixed").fits(linear_job().spec).reason
    assert "holes" in Ensemble(sort="mixed").fits(forest_job().spec).reason
    behind = Cascade(8).rewrite(mlp.spec)
    assert "vote first" in LEVER.fits(behind).reason
    with pytest.raises(BadInputError, match="two or more"):
        Ensemble(1)
    with pytest.raises(BadInputError, match="soft or majority"):
        Ensemble(vote="loud")
    with pytest.raises(BadInputError, match="train it first"):
        LEVER.pull(TORCH.open(mlp_job()))


def test_models_that_cannot_be_joined_are_refused(mlp, members):
    graphs, _ = members
    with pytest.raises(BadInputError, match="two or more"):
        voted(graphs[:1], logits=True)
    other = onnx.load_model_from_string(graphs[1])
    other.opset_import[0].version += 1
    with pytest.raises(BadInputError, match="versions"):
        voted([graphs[0], other.SerializeToString()], logits=True)


def test_the_largest_vote_comes_first_among_the_choices():
    spec = mlp_job().spec
    found = [count(lever.rewrite(spec)).flop for lever in Ensemble.choices(mlp_job())]
    assert len(found) == 4
    assert found[0] == max(found)
    assert replace(LEVER).fits(spec)
