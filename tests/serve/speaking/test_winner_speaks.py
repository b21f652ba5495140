"""A winner of a search that is a language model keeps what it has read of a text, and says what it would anyway."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from speaking_parts import ALPHABET, network, recipe

from pennyweight import Demand, Floor, Limits, Slack, TrainSpec, torch_job
from pennyweight.cli.outputs import Outputs
from pennyweight.core import Spec, Work
from pennyweight.data.splits import Arrays, Splits
from pennyweight.engine import Shop
from pennyweight.engine.together import with_memory
from pennyweight.optimizing import Search, optimize
from pennyweight.runtimes.chorus import RAGGED_FILE, OnnxChorus, Rereading
from pennyweight.serve.versions.loading import ready
from pennyweight.serve.versions.registering import register
from pennyweight.store.artifacts import load
from pennyweight.store.team.opened import opened
from pennyweight.store.team.usage import Price

LONG = 24


def job():
    """The recipe's network, small, on text in which most characters follow from the last."""
    rng = np.random.default_rng(0)
    many = len(ALPHABET)
    codes = rng.integers(many, size=(400, LONG + 1))
    for at in range(LONG):
        codes[:, at + 1] = np.where(rng.random(400) < 0.9, (5 * codes[:, at] + 3) % many, codes[:, at + 1])
    parts = (Arrays(codes[rows, :-1], codes[rows, 1:]) for rows in (slice(240), slice(240, 320), slice(320, 400)))
    maker = recipe().Maker(recipe().Shape(many, 1, 2, 16, LONG))
    found = torch_job(
        "gpt",
        maker,
        Splits(*parts),
        Floor("perplexity", 0.5, Slack.RATIO),
        train=TrainSpec(2, 20, "adamw", lr=1e-2),
        demand=Demand(1e9),
        alphabet=ALPHABET,
    )
    return dataclasses.replace(found, limits=Limits(trials=2))


@pytest.fixture(scope="module")
def winner(tmp_path_factory):
    place = tmp_path_factory.mktemp("winner")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PENNYWEIGHT_HOME", str(place / "home"))
        front = optimize(job(), Search(levers=["runtime"]), shop=Shop.at())
        Outputs(place / "report.html", place / "winner.pw", None).write([front])
    return place / "winner.pw"


def continued(chorus, prompts, count):
    """The likeliest tokens that follow, all texts together."""
    logits, memory = chorus.prefill(prompts)
    made = [logits.argmax(axis=1)]
    for _ in range(count - 1):
        logits, memory = chorus.step(made[-1], memory)
        made.append(logits.argmax(axis=1))
    return np.stack(made, axis=1)


def test_a_winner_is_served_with_what_it_has_read_kept_and_says_the_same(winner, tmp_path):
    with opened(str(tmp_path / "team.db")) as engine, engine.begin() as link, ThreadPoolExecutor(1) as pool:
        served = ready(register(link, winner, "gpt"), Price("gpt"), pool)
    chorus = served.choir.chorus
    assert isinstance(chorus, OnnxChorus)
    prompts = [np.array([ALPHABET.index(each) for each in text]) for text in ("abc", "h", "a bad cab")]
    again = Rereading(served.lane.session.session, LONG)
    np.testing.assert_array_equal(continued(chorus, prompts, 12), continued(again, prompts, 12))


def test_a_graph_that_would_say_something_else_is_left_out(winner):
    artifact = load(winner)
    assert RAGGED_FILE in dict(artifact.files)
    plain = dataclasses.replace(artifact, files=tuple(each for each in artifact.files if each[0] != RAGGED_FILE))
    spec = job().spec
    assert isinstance(spec, Spec)
    other = Work(spec, network(1, 32), None, 0)
    assert with_memory(plain, other, None) is plain
    mute = Work(spec, object(), None, 0)
    assert with_memory(plain, mute, None) is plain
