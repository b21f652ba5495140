"""A winner carries a sample of what it was not trained on; a server compares what it is asked with that."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from processes import RECIPE

from pennyweight.cli.outputs import Outputs
from pennyweight.core import Limits, Task
from pennyweight.engine import Shop
from pennyweight.engine.answers import answer, open_session
from pennyweight.errors import CorruptError
from pennyweight.jobs import load_recipe
from pennyweight.optimizing import Search, optimize
from pennyweight.serve.versions.loading import ready
from pennyweight.serve.versions.registering import register
from pennyweight.serve.watch import floor
from pennyweight.serve.watch.recording import with_sample
from pennyweight.serve.watch.reference import FILE, Reference, recorded, with_reference
from pennyweight.store.artifacts import load, save
from pennyweight.store.team.opened import opened
from pennyweight.store.team.usage import Price


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a winner, and the front that it is from."""
    place = tmp_path_factory.mktemp("made")
    (place / "halves.py").write_text(RECIPE.replace("EPOCHS", "4"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PENNYWEIGHT_HOME", str(place / "home"))
        job = dataclasses.replace(load_recipe(place / "halves.py", None), limits=Limits(trials=2))
        front = optimize(job, Search(levers=["runtime"]), shop=Shop.at())
        Outputs(place / "report.html", place / "winner.pw", None).write([front])
        yield place, front


def test_a_winner_carries_rows_of_the_select_split_with_their_answers_and_labels(made):
    place, front = made
    artifact, select = load(place / "winner.pw"), front.control.plan.job.material.splits.select
    found = recorded(artifact)
    assert len(found.rows) == len(select.x) == 300
    np.testing.assert_array_equal(found.rows, select.x)
    np.testing.assert_array_equal(found.labels, select.y)
    np.testing.assert_allclose(found.answers, answer(open_session(artifact), artifact, select.x), atol=1e-6)
    assert artifact.facts["certificate"]["held"]


def served(place, artifact, **more):
    folder = save(artifact, place / "given.pw")
    with opened(str(place / "team.db")) as engine, engine.begin() as link, ThreadPoolExecutor(1) as pool:
        return ready(register(link, folder, "halves"), Price("halves"), pool, **more)


def test_a_server_finds_the_reference_and_the_floor_with_the_version(made):
    place, front = made
    found = served(place, load(place / "winner.pw"), keep=0.5)
    assert found.seen.keep == 0.5
    assert found.seen.reference.classes
    control = [each for each in front.certificate.trials if each.passed][-1].control
    assert floor.least(found.version.certificate) == pytest.approx(control.mean - 0.06)
    assert served(place, load(place / "winner.pw")).seen is None


def test_a_version_without_a_reference_is_served_and_one_with_anothers_is_not(made):
    place, front = made
    older = Shop.at().artifacts.get(front.winner.artifact)
    assert FILE not in dict(older.files)
    assert served(place, older, keep=1.0).seen.reference is None
    other = Reference.of(np.zeros((200, 9)), np.zeros((200, 2)))
    with pytest.raises(CorruptError, match="of another model"):
        served(place, with_reference(older, other), keep=1.0)


def test_too_few_rows_and_texts_are_not_recorded(made):
    _, front = made
    job, older = front.control.plan.job, Shop.at().artifacts.get(front.winner.artifact)
    splits = job.material.splits
    few = dataclasses.replace(splits, select=splits.select.take(slice(99)))
    material = dataclasses.replace(job.material, splits=few)
    assert with_sample(older, dataclasses.replace(job, material=material)) is older
    texts = SimpleNamespace(material=job.material, spec=SimpleNamespace(data=SimpleNamespace(task=Task.LANGUAGE)))
    assert with_sample(older, texts) is older


def test_of_many_or_large_rows_a_sample_is_recorded(made):
    _, front = made
    job, older = front.control.plan.job, Shop.at().artifacts.get(front.winner.artifact)
    splits = job.material.splits
    again = splits.select.take(np.arange(5000) % 300)
    material = dataclasses.replace(job.material, splits=dataclasses.replace(splits, select=again))
    found = recorded(with_sample(older, dataclasses.replace(job, material=material)))
    assert found.rows.shape == (1000, 8)
    assert found.rows.dtype == found.answers.dtype == np.float32
