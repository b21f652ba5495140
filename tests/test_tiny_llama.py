"""The recipe tiny_llama is what it says: its network, its text, its tokenizer, and how it goes on with a text."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from pennyweight import Search, Shop, TrainSpec, backends, load_recipe, optimize, torch_job
from pennyweight.core import Kind, Limits
from pennyweight.cost.count import params
from pennyweight.data.byte_pairs import encoded
from pennyweight.engine.answers import answer, judged, open_session
from pennyweight.errors import BadInputError, UnknownNameError
from pennyweight.runtimes.tokens import tokenizer_of
from pennyweight.serve.speaking.opening import open_choir
from recipes.tiny_llama import SIZES, Shape, TinyLlama, cut, job_of
from tests.tiny_texts import SHAPE, text, tiny_job, trained_artifact

RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "tiny_llama.py"


@pytest.fixture(scope="module")
def job():
    return tiny_job()


def weights(shape: Shape) -> int:
    narrow = shape.width * shape.kv_heads // shape.heads
    block = 2 * shape.width * (shape.width + narrow) + 3 * shape.width * shape.hidden + 2 * shape.width
    return shape.layers * block + shape.width + (2 - shape.tied) * shape.vocabulary * shape.width


@pytest.mark.parametrize(("size", "least", "most"), [("6m", 5.5e6, 6e6), ("30m", 31e6, 33e6), ("60m", 55e6, 60e6)])
def test_every_size_has_the_weights_of_its_name(size, least, most):
    import torch

    with torch.device("meta"):
        model = TinyLlama(SIZES[size])
    count = sum(each.numel() for each in model.parameters())
    assert count == weights(SIZES[size])
    assert least < count < most
    assert not SIZES[size].hidden % 128


def test_the_counted_network_is_the_real_one(job):
    assert params(job.spec) == weights(SHAPE)
    assert any(op.kind is Kind.MATMUL for op in job.spec.ops)


def test_the_text_is_split_in_order_and_labelled_with_the_next_token(job):
    splits = job.material.splits
    read = Tokenizer.from_str(job.material.tokenizer)
    for part, rows in zip(cut(text()), (splits.train, splits.select, splits.certify), strict=True):
        assert np.array_equal(rows.x.ravel()[1:], rows.y.ravel()[:-1])
        assert part.startswith(read.decode(rows.x.ravel().tolist()))
    assert splits.train.x.shape[1] == SHAPE.context


def test_the_tokenizer_is_learned_from_the_training_split_alone():
    whole = text()
    other = whole[:48_000] + "Zwölf Boxkämpfer jagen Viktor quer über den Sylter Deich. " * 220
    made = [job_of(each, SHAPE).material.tokenizer for each in (whole, other[:60_000])]
    assert made[0] == made[1]
    assert len(encoded(made[0], "Boxkämpfer")) > 4


@pytest.mark.parametrize("tied", [True, False])
def test_a_text_is_continued_as_if_it_were_read_again(tied):
    import torch

    model = TinyLlama(replace(SHAPE, tied=tied)).eval()
    x = torch.randint(SHAPE.vocabulary, (3, 12))
    with torch.no_grad():
        whole = model(x)
        told, past = model.cached(x[:, :5], model.no_past(3))
        more, past = model.cached(x[:, 5:9], past)
        last, past = model.cached(x[:, 9:10], past)
        assert torch.allclose(torch.cat((told, more, last), 1), whole[:, :10], atol=1e-5)
        assert past[0].shape == (3, SHAPE.kv_heads, 10, SHAPE.width // SHAPE.heads)


def test_texts_of_different_lengths_are_continued_together():
    import torch

    model = TinyLlama(SHAPE).eval()
    x = torch.randint(SHAPE.vocabulary, (2, 9))
    pads = torch.tensor([0, 4])
    with torch.no_grad():
        told, past = model.ragged(x[:, :8], model.no_past(2), pads)
        last, _ = model.ragged(x[:, 8:], past, pads)
        assert torch.allclose(told[0], model(x[:1, :8])[0], atol=1e-5)
        assert torch.allclose(told[1, 4:], model(x[1:, 4:8])[0], atol=1e-5)
        assert torch.allclose(last[1], model(x[1:, 4:])[0, -1:], atol=1e-5)


def test_texts_that_share_a_row_do_not_see_each_other():
    import torch

    model = TinyLlama(SHAPE).eval()
    x = torch.randint(SHAPE.vocabulary, (1, 10))
    with torch.no_grad():
        told = model(x, torch.tensor([[0] * 4 + [1] * 6]))
        assert torch.allclose(told[:, 4:], model(x[:, 4:]), atol=1e-5)


def test_students_are_of_less_depth_of_less_width_and_of_both(job):
    assert {heir.name for heir in job.spec.heirs} == {"2x32", "1x64", "1x32"}
    assert job.material.make_model.student(1, 2).model.layers[0].self_attn.k_proj.weight.shape == (16, 32)


def test_the_search_takes_tokenizer_and_config_along(job, tmp_path):
    shop = Shop.at(tmp_path)
    few = replace(job, spec=replace(job.spec, train=replace(job.spec.train, epochs=0.3)), limits=Limits(trials=2))
    front = optimize(few, Search(levers=["runtime"]), shop=shop)
    assert len(front.seen) == 2
    certify = job.material.splits.certify
    for run in front.seen:
        artifact = shop.artifacts.get(run.artifact)
        session = open_session(artifact)
        told = judged(session, artifact, certify.x, certify.y, "perplexity")
        wanted = answer(session, artifact, certify.x)
        assert told.shape == certify.y.shape
        assert np.allclose(told, np.log(np.take_along_axis(wanted, certify.y[..., None], 2)[..., 0]), atol=1e-9)
        assert tokenizer_of(artifact).encode("def ").tolist() == encoded(job.material.tokenizer, "def ").tolist()
        assert artifact.facts["transformers"]["num_key_value_heads"] == SHAPE.kv_heads


def test_it_learns(job):
    from pennyweight.engine.making import trained
    from pennyweight.engine.validating import metric_answers

    backend = backends.load("torch")
    work = backend.open(job)
    select = job.material.splits.select
    before, after = (-metric_answers(backend, each, select).mean() for each in (work, trained(work)))
    assert before == pytest.approx(np.log(SHAPE.vocabulary), rel=0.02)
    assert after < before - 1.0


def test_what_is_no_long_text_is_refused(tmp_path):
    path = tmp_path / "text.txt"
    with pytest.raises(BadInputError, match=r"no .*text.txt"):
        load_recipe(RECIPE, path)
    path.write_text("too short", encoding="utf-8")
    with pytest.raises(BadInputError, match="4096 are asked for"):
        load_recipe(RECIPE, path)
    path.write_bytes(b"\xff\xfe\xfa" * 9)
    with pytest.raises(BadInputError, match="cannot be read"):
        load_recipe(RECIPE, path)
    with pytest.raises(BadInputError, match="A tenth of the text is"):
        job_of(text(20_000), SHAPE, TrainSpec())


def test_a_size_that_there_is_not_is_refused_with_those_that_there_are():
    with pytest.raises(UnknownNameError, match="30m, 60m, 6m"):
        load_recipe(RECIPE, size="70b")


def test_the_server_reads_texts_with_the_tokenizer_that_the_artifact_carries(tmp_path):
    artifact = trained_artifact(tmp_path, epochs=0.1)
    with ThreadPoolExecutor(1) as pool:
        choir = open_choir("tiny", artifact, open_session(artifact), pool)
    assert choir.tokenizer.size == SHAPE.vocabulary
    assert choir.tokenizer.decode(choir.tokenizer.encode("def né(x):")) == "def né(x):"
    assert choir.chorus.context == SHAPE.context


def test_a_tokenizer_of_another_model_or_none_is_refused(job):
    rows = job.material.splits
    for text_, said in ((job.material.tokenizer, "has 320 tokens"), ("{}", "cannot be read")):
        maker = replace(job.material.make_model, shape=replace(SHAPE, vocabulary=330))
        with pytest.raises(BadInputError, match=said):
            torch_job("other", maker, rows, job.floor, tokenizer=text_)
