"""Students that a model factory offers are made, checked and counted when the job is made."""

from functools import partial

import numpy as np
import pytest
from torch import nn

from pennyweight.core import Floor, Slack
from pennyweight.core.spec import Heir
from pennyweight.cost.count import count
from pennyweight.errors import BadInputError
from pennyweight.jobs import torch_job
from pennyweight.store.codec import from_json, plain, to_json
from pennyweight.testing import gpt_job
from pennyweight.train.students import fresh, offered

X = np.random.default_rng(0).normal(size=(300, 6)).astype(np.float32)
Y = np.arange(300) % 3


def asked():
    return nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 3))


def thin(width=4):
    return nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, 3))


def job_offering(students):
    def make():
        return asked()

    make.students = students
    return torch_job("offer", make, (X, Y), Floor("accuracy", 0.2))


def test_students_are_counted_and_come_largest_first():
    job = job_offering({"line": partial(nn.Linear, 6, 3), "thin": thin, "wide": partial(thin, 16)})
    assert [heir.name for heir in job.spec.heirs] == ["wide", "thin", "line"]
    assert [len(heir.ops) for heir in job.spec.heirs] == [3, 3, 1]
    assert job.spec.heir("thin").ops[0].n_out == 4
    assert job.spec.heir("fat") is None


def test_a_method_that_gives_the_mapping_will_do():
    class Factory:
        def __call__(self):
            return asked()

        def students(self):
            return {"thin": thin}

    assert [heir.name for heir in torch_job("f", Factory(), (X, Y), Floor("accuracy", 0.2)).spec.heirs] == ["thin"]
    assert list(offered(Factory())) == ["thin"]


def test_students_change_the_fingerprint_and_none_do_not():
    prints = {job_offering(each).fingerprint for each in ({}, {"a": thin}, {"b": thin}, {"a": partial(thin, 5)})}
    assert len(prints) == 4
    again = (job_offering({"a": thin}), job_offering({"a": thin}))
    assert again[0].fingerprint == again[1].fingerprint

    def make():
        return asked()

    make.__qualname__ = "job_offering.<locals>.make"
    assert torch_job("offer", make, (X, Y), Floor("accuracy", 0.2)).fingerprint == job_offering({}).fingerprint


def test_an_heir_is_no_more_one_of_a_network_that_changed():
    spec = job_offering({"thin": thin}).spec
    assert spec.heirs == (Heir("thin", spec.heirs[0].ops, spec.ops),)
    narrow = spec.resize({"0": 16})
    assert count(narrow).flop < count(spec).flop
    assert narrow.heir("thin") is None
    assert narrow.resize({"0": 32}).heir("thin") is not None


def test_heirs_are_an_offer_which_is_neither_compared_nor_stored():
    spec, bare = job_offering({"thin": thin}).spec, job_offering({}).spec
    assert (spec, hash(spec), repr(spec)) == (bare, hash(bare), repr(bare))
    assert to_json(spec) == to_json(bare)
    assert "heirs" not in plain(spec)
    assert from_json(type(spec), to_json(spec)).heirs == ()


@pytest.mark.parametrize(
    ("students", "says"),
    [
        ([thin], "no mapping of names"),
        ({1: thin}, "no mapping of names"),
        ({"thin": 4}, "no mapping of names"),
        ({"thin": thin()}, "'thin' is a Sequential itself, not a function"),
        ({"thin": lambda: 4}, "The student 'thin' gives a int"),
        ({"two": partial(nn.Linear, 6, 2)}, "knows 2 answers"),
        ({"four": partial(nn.Linear, 6, 4)}, "'four' gives 4 answers, the network gives 3"),
        ({"short": partial(nn.Linear, 5, 3)}, "does not take rows"),
        ({"same": asked}, "'same' is no smaller than the network"),
    ],
)
def test_what_cannot_take_the_networks_place_is_said_when_the_job_is_made(students, says):
    with pytest.raises(BadInputError, match=says) as error:
        job_offering(students)
    assert error.value.fix


def test_students_of_language_models_are_counted_on_tokens():
    gpt = gpt_job()

    def make():
        return gpt.material.make_model()

    make.students = {"bigram": lambda: nn.Sequential(nn.Embedding(16, 8), nn.Linear(8, 16))}
    job = torch_job("talk", make, gpt.material.splits, Floor("perplexity", 0.2, Slack.RATIO))
    assert [op.name for op in job.spec.heir("bigram").ops] == ["0", "1"]


def test_a_fresh_network_depends_on_its_seed_alone():
    one, other, third = (fresh(asked, seed)[0].weight for seed in (0, 0, 1))
    assert bool((one == other).all())
    assert not bool((one == third).all())
