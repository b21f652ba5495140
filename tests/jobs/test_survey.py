import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from torch import nn

from pennyweight.core import Floor, Slack, Task
from pennyweight.data.copies import copies
from pennyweight.data.splits import Arrays, Splits, split
from pennyweight.jobs import sklearn_job, torch_job
from pennyweight.jobs.survey import survey

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(600, 4)).astype(np.float32)
EVEN = np.arange(600) % 2
UNEVEN = (np.arange(600) % 25 == 0).astype(int)


def look(data, floor="accuracy=60%", **asked):
    return survey(sklearn_job("looked at", LogisticRegression(), data, floor, **asked))


def test_sound_data_gives_no_alarm_and_no_advice():
    found = look((X, EVEN))
    assert (found.job, found.task, found.answers, found.weighted) == ("looked at", Task.CLASSIFY, 2, False)
    assert [part.rows for part in found.parts] == [360, 120, 120]
    assert found.alarms == ()
    assert found.advice == ()
    assert found == look((X, EVEN))


def test_a_leak_between_splits_is_said_with_the_fix_and_the_fix_works():
    x, y = np.repeat(X[:200], 3, axis=0), np.repeat(EVEN[:200], 3)
    leaky = look((x, y))
    assert len(leaky.alarms) == 3
    assert "rows of the certify split" in leaky.alarms[1]
    assert "also in the train split" in leaky.alarms[1]
    assert "To fix: drop them from train, or deal" in leaky.alarms[1]
    assert look((x, y), groups=copies(x)).alarms == ()


def test_a_group_in_two_splits_is_said():
    part = slice(0, 200), slice(200, 400), slice(400, 600)
    groups = np.arange(600) // 2 % 250
    found = look([Arrays(X[each], EVEN[each], groups[each]) for each in part], "accuracy=40%")
    assert [part.groups for part in found.parts] == [100, 100, 100]
    assert len(found.alarms) == 1
    assert "50 groups are both in the train and in the certify split" in found.alarms[0]
    assert "groups=" in found.alarms[0]


def test_uneven_classes_are_advised_on_until_it_is_done():
    advice = " ".join(look((X, UNEVEN)).advice)
    assert "balanced_accuracy" in advice
    assert "weighted=True" in advice
    done = look((X, UNEVEN), Floor("balanced_accuracy", 0.7), weighted=True)
    assert done.weighted
    assert "weighted=True" not in " ".join(done.advice)
    assert "rather than" not in " ".join(done.advice)


def test_a_class_that_is_not_everywhere_is_named():
    y = EVEN.copy()
    y[:3] = 2
    cut = [(X[rows], y[rows]) for rows in (slice(0, 300), slice(300, 450), slice(450, 600))]
    advice = " ".join(look(cut).advice)
    assert "The select split has no row of class 2" in advice
    assert "The certify split has no row of class 2" in advice
    wide = survey(torch_job("wide", lambda: nn.Linear(4, 5), (X, EVEN), Floor("accuracy", 0.3)))
    assert "The model knows 5 classes, but 3 of them never occur" in " ".join(wide.advice)


def test_holes_and_copies_are_said_with_the_lever_for_them():
    from sklearn.ensemble import HistGradientBoostingClassifier

    parts = split(X, EVEN)
    x = np.concatenate([parts.train.x, parts.train.x[:90]])
    x[5, 2] = np.nan
    train = Arrays(x, np.concatenate([parts.train.y, parts.train.y[:90]]))
    job = sklearn_job(
        "holes", HistGradientBoostingClassifier(), Splits(train, parts.select, parts.certify), "accuracy=60%"
    )
    advice = " ".join(survey(job).advice)
    assert "1 of 450 training rows hold NaN or infinity: the clean lever" in advice
    assert "19.8% of the training rows are copies of others: the dedup lever" in advice


def test_few_rows_for_the_floor_are_said_before_they_are_too_few():
    found = look((X, EVEN), Floor("accuracy", 0.03))
    assert found.power.least <= found.power.n < found.power.likely
    assert "120 rows to certify are few for this floor" in " ".join(found.advice)


def test_values_and_sequences_of_tokens_are_surveyed_too():
    values = survey(sklearn_job("values", Ridge(), (X, X.sum(axis=1)), Floor("rmse", 0.1, Slack.RATIO)))
    assert (values.task, values.answers, values.advice) == (Task.REGRESS, 0, ())
    tokens = GENERATOR.integers(0, 7, (400, 6))
    floor = Floor("perplexity", 0.1, Slack.RATIO)
    talk = survey(
        torch_job("talk", lambda: nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 7)), (tokens, tokens), floor)
    )
    assert (talk.task, talk.answers, talk.power.n, talk.power.unit) == (Task.LANGUAGE, 7, 80, "sequences")
    assert talk.parts[0].answers.count == 240 * 6


def test_nothing_is_changed_by_looking():
    x = X.copy()
    look((x, EVEN))
    assert np.array_equal(x, X)
    with pytest.raises(AttributeError):
        look((x, EVEN)).job = "other"
