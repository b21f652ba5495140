from dataclasses import replace

import numpy as np
import pytest

from pennyweight import backends
from pennyweight.core import Form, Task, TeamSpec, TrainSpec
from pennyweight.cost.count import count_training
from pennyweight.data.splits import Arrays
from pennyweight.engine.making import trained
from pennyweight.errors import BadInputError
from pennyweight.levers.ngram_teacher import NgramTeacher
from pennyweight.testing import gpt_job, mlp_job, tiny_gpt, tiny_mlp
from pennyweight.train.loop import How, fit
from pennyweight.train.ngrams import NGrams


def loss(work):
    import torch

    rows = work.data.select
    with torch.no_grad():
        out = work.model(torch.from_numpy(rows.x)).flatten(0, 1)
    return float(torch.nn.functional.cross_entropy(out, torch.from_numpy(rows.y).flatten()))


def test_half_the_training_with_a_teacher_is_better_than_half_without():
    work = backends.load("torch").open(gpt_job())
    half = work.having(spec=replace(work.spec, train=replace(work.spec.train, epochs=2.0)))
    taught = trained(NgramTeacher(order=2).pull(work))
    assert taught.spec.train.epochs == pytest.approx(2.0)
    assert loss(taught) < loss(trained(half)) - 0.02


def test_paper_counts_fewer_epochs():
    spec = gpt_job().spec
    assert count_training(NgramTeacher(epochs=0.25).rewrite(spec)).flop == pytest.approx(count_training(spec).flop / 4)


def test_the_network_learns_the_chances_of_its_teacher():
    """Where a token is followed by one of two, the network says half and half, not by memory of the rows."""
    import torch

    rng = np.random.default_rng(0)
    text = rng.integers(0, 2, (400, 13)) + 2 * (np.arange(13) % 2)
    rows = Arrays(text[:, :-1], text[:, 1:])
    settings = TrainSpec(12, 16, "adamw", lr=3e-3, teacher="ngrams:2")
    model = fit(tiny_gpt(), rows, settings, how=How(task=Task.LANGUAGE)).model
    with torch.no_grad():
        said = model(torch.from_numpy(rows.x[:8])).softmax(-1)[:, :-1].mean((0, 1))
    assert said[:4].sum() > 0.97
    counted = NGrams.of_rows(rows.x, rows.y, order=2, vocabulary=16).teach(rows.x[:8])
    assert np.exp(counted)[:, :-1].mean((0, 1))[:4] == pytest.approx(said[:4].numpy(), abs=0.05)


def test_rows_are_counted_apart_and_padding_not_at_all():
    x = np.array([[0, 1, 2, 0], [3, 4, 0, 0]])
    y = np.array([[1, 2, 0, 1], [4, 3, -100, -100]])
    counted = NGrams.of_rows(x, y, order=2, vocabulary=5)
    pairs = {divmod(int(code), 5) for code in counted.orders[1].codes}
    assert pairs == {(0, 1), (1, 2), (2, 0), (3, 4), (4, 3)}


def test_texts_that_share_a_row_teach_nothing_of_each_other():
    x, y = np.array([[0, 1, 2, 3]]), np.array([[1, 4, 3, 4]])
    texts = np.array([[0, 0, 1, 1]])
    counted = NGrams.of_rows(x, y, order=3, vocabulary=5, texts=texts)
    assert counted.orders[2].codes.tolist() == [0 * 25 + 1 * 5 + 4, 2 * 25 + 3 * 5 + 4]
    alone = counted.teach(np.array([[2, 3]]))
    assert counted.teach(x, texts)[:, 2:] == pytest.approx(alone)
    assert counted.teach(x, texts)[:, :2] == pytest.approx(counted.teach(np.array([[0, 1]])))


def test_rows_count_as_the_text_they_were_cut_from():
    text = np.random.default_rng(1).integers(0, 4, 2001)
    x, y = text[:-1][None], text[1:][None]
    one, other = NGrams.fit(text, order=3, vocabulary=4), NGrams.of_rows(x, y, order=3, vocabulary=4)
    assert one.teach(x[:, :50]) == pytest.approx(other.teach(x[:, :50]))


def test_what_is_held_back_is_unknown_to_the_teacher():
    work = backends.load("torch").open(gpt_job())
    settings = replace(work.spec.train, teacher="ngrams:2", patience=1)
    done = fit(work.model, work.data.train, settings, how=How(task=Task.LANGUAGE))
    assert len(done.scores) >= 1
    assert done.rows % len(work.data.train) != 0


@pytest.mark.parametrize("teacher", ["ngrams", "ngrams:0", "ngrams:x", "oracle:5"])
def test_a_teacher_that_does_not_exist_is_refused(teacher):
    job = gpt_job()
    with pytest.raises(BadInputError, match="no teacher"):
        fit(tiny_gpt(), job.material.splits.train, TrainSpec(1, teacher=teacher), how=How(task=Task.LANGUAGE))


def test_only_language_models_have_such_a_teacher():
    rows = mlp_job().material.splits.train
    with pytest.raises(BadInputError, match="teach no model"):
        fit(tiny_mlp(), rows, TrainSpec(1, teacher="ngrams:5"))
    assert "only a language model" in NgramTeacher().fits(mlp_job().spec).reason


def test_refusals_say_why():
    spec = gpt_job().spec
    assert "already" in NgramTeacher().fits(NgramTeacher().rewrite(spec)).reason
    assert "too many to number" in NgramTeacher(order=16).fits(spec).reason
    assert "share of the epochs" in NgramTeacher(epochs=2.0).fits(spec).reason
    assert "only a language model" in NgramTeacher().fits(replace(spec, form=Form.GRAPH)).reason
    served = replace(spec, train=replace(spec.train, team=TeamSpec(2, "async:4")))
    assert "parameter server" in NgramTeacher().fits(served).reason
    large = replace(spec, data=replace(spec.data, rows=10**9))
    assert "fit into memory" in NgramTeacher().fits(large).reason
