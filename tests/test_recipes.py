"""The recipes are what they say: their networks, their data, and a control that is worth beating."""

import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pennyweight import Demand, Floor, Limits, Search, Shop, Slack, TrainSpec, backends, optimize, torch_job
from pennyweight.core import Kind, Plan
from pennyweight.cost.count import count, params
from pennyweight.data.splits import Arrays, Splits
from pennyweight.engine import Engine
from pennyweight.engine.making import trained
from pennyweight.errors import BadInputError
from pennyweight.jobs import load_recipe
from pennyweight.levers.distill import Distill
from pennyweight.levers.freeze import Freeze
from pennyweight.levers.lora import Lora
from pennyweight.levers.quantize import Quantize
from pennyweight.levers.runtime import Runtime
from pennyweight.train.loop import How, fit

RECIPES = Path(__file__).resolve().parents[1] / "recipes"


@pytest.fixture(scope="module")
def digits():
    return load_recipe(RECIPES / "digits_cnn.py")


def test_digits_is_the_network_it_says_it_is(digits):
    assert params(digits.spec) == 85_066
    assert digits.material.splits.sizes == (899, 359, 539)
    assert digits.floor.amount == pytest.approx(0.03)


def test_digits_trains_to_a_control_worth_beating(digits):
    work = backends.load("torch").open(digits, seed=0)
    done = fit(work.model, work.data.train, work.spec.train, how=How(seed=0))
    answers = backends.load("torch").predict(work.having(model=done.model), work.data.certify.x)
    assert (answers.argmax(1) == work.data.certify.y).mean() > 0.96


@pytest.fixture(scope="module")
def mnist(samples):
    return load_recipe(RECIPES / "mnist_cnn.py", samples / "vision")


def test_mnist_is_the_tutorials_network(mnist):
    assert params(mnist.spec) == 93_322
    macs = 26 * 26 * 32 * 9 + 11 * 11 * 64 * 32 * 9 + 3 * 3 * 64 * 64 * 9 + 576 * 64 + 640
    assert count(mnist.spec).flop == 2 * macs


def test_mnist_keeps_the_official_test_images_for_the_certificate(mnist, samples):
    splits = mnist.material.splits
    assert splits.sizes == (50_000, 10_000, 10_000)
    with np.load(samples / "vision" / "mnist.npz") as file:
        assert np.array_equal(splits.certify.y, file["y_test"])
        assert np.array_equal((splits.certify.x[:50, 0] * 255).round(), file["x_test"][:50])
    assert splits.train.x.max() == 1


def test_mnist_without_its_file_or_with_another_says_so(tmp_path):
    with pytest.raises(BadInputError, match=r"mnist\.npz"):
        load_recipe(RECIPES / "mnist_cnn.py", tmp_path)
    np.savez(tmp_path / "mnist.npz", x_train=np.zeros(1))
    with pytest.raises(BadInputError, match="lacks x_test, y_test, y_train"):
        load_recipe(RECIPES / "mnist_cnn.py", tmp_path)


@pytest.fixture(scope="module")
def gpt(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("to be, or not to be: that is the question. " * 2000, encoding="utf-8")
    return load_recipe(RECIPES / "char_gpt.py", path)


def test_char_gpt_is_the_network_it_says_it_is(gpt):
    block = 12 * 384**2 + 4 * 384
    vocabulary = gpt.spec.data.classes
    assert params(gpt.spec) == 6 * block + 2 * 384 + (2 * vocabulary + 256) * 384
    assert 10.6e6 < params(gpt.spec) < 10.9e6


def test_char_gpt_splits_the_text_in_order_and_labels_with_the_next_character(gpt):
    splits = gpt.material.splits
    n = sum(splits.sizes)
    assert splits.sizes == (n - 2 * (n // 10), n // 10, n // 10)
    for part in (splits.train, splits.select, splits.certify):
        assert np.array_equal(part.x[:, 1:], part.y[:, :-1])
    assert splits.train.y[-1, -1] == splits.select.x[0, 0]
    assert splits.select.y[-1, -1] == splits.certify.x[0, 0]


def test_a_char_gpt_student_has_the_size_asked_for(gpt):
    student = gpt.material.make_model.student(3, 192)
    assert len(student.blocks) == 3
    assert student.shape.heads == 3
    assert sum(each.numel() for each in student.blocks.parameters()) == 3 * (12 * 192**2 + 4 * 192)


def test_char_gpt_offers_students_of_two_thirds_and_half_its_size(gpt):
    assert [heir.name for heir in gpt.spec.heirs] == ["6x256", "4x256", "3x192"]
    shares = [count(replace(gpt.spec, ops=heir.ops)).flop / count(gpt.spec).flop for heir in gpt.spec.heirs]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] < 0.15
    assert {lever.epochs for lever in Distill.choices(gpt) if lever.student} == {8.0}


@pytest.mark.parametrize("how", ["dynamic", "blocks"])
def test_a_char_gpt_student_may_be_quantised_and_served_elsewhere(gpt, how):
    student = Plan(gpt).then(Distill(epochs=8.0, student="3x192"))
    assert Runtime("onnxruntime").fits(student.spec)
    plan = student.then(Quantize(how))
    bits = {op.weight_bits for op in plan.spec.ops if op.kind is Kind.LINEAR}
    assert (bits, plan.spec.serve.runtime) == ({8}, "onnxruntime")
    assert count(plan.spec).disk_byte < 0.05 * count(gpt.spec).disk_byte


def tiny_char_gpt(maker, give_up):
    """The recipe's network with 2 layers of width 32, on text in which nine of ten characters follow from the last.

    It is trained until there is next to nothing left to learn, so that no student is clearly better.
    """
    rng = np.random.default_rng(0)
    text = rng.integers(12, size=(900, 17))
    for at in range(16):
        text[:, at + 1] = np.where(rng.random(900) < 0.9, (5 * text[:, at] + 3) % 12, text[:, at + 1])
    parts = (Arrays(text[rows, :-1], text[rows, 1:]) for rows in (slice(500), slice(500, 700), slice(700, 900)))
    shape = replace(maker.shape, vocabulary=12, layers=2, heads=2, width=32, context=16)
    floor = Floor("perplexity", give_up, Slack.RATIO)
    train, ask = TrainSpec(8, 20, "adamw", lr=1e-2, schedule="onecycle"), Demand(1e9)
    return torch_job(
        "tiny_char_gpt",
        replace(maker, shape=shape),
        Splits(*parts),
        floor,
        train=train,
        demand=ask,
        limits=Limits(trials=3),
    )


def test_the_search_certifies_a_student_or_refuses_it_by_its_floor(gpt, tmp_path):
    job, strict = (tiny_char_gpt(gpt.material.make_model, give_up) for give_up in (0.1, 0.0))
    shop = Shop.at(tmp_path)
    front = optimize(job, Search(levers=["distill"]), shop=shop)
    (lever,) = front.winner.plan.levers
    assert lever.student in {"2x16", "1x16"}
    assert front.certificate.held
    assert front.winner.spec.ops == job.spec.heir(lever.student).ops
    assert front.winner.bill.unit.device_s < front.control.bill.unit.device_s
    refused = optimize(strict, Search(levers=["distill"]), shop=shop)
    assert lever.student in {getattr(each, "student", "") for run in refused.seen for each in run.plan.levers}
    assert refused.winner is refused.control
    assert not refused.certificate.held
    plan = Plan(job).then(lever).then(Quantize("blocks"))
    assert Engine(job, shop).execute(plan).score.mean == pytest.approx(front.winner.score.mean, rel=0.01)


def test_char_gpt_refuses_what_is_no_long_text(tmp_path):
    short = tmp_path / "short.txt"
    short.write_text("too short", encoding="utf-8")
    with pytest.raises(BadInputError, match="9 characters"):
        load_recipe(RECIPES / "char_gpt.py", short)
    short.write_bytes(b"\xff\xfe\xfa" * 9)
    with pytest.raises(BadInputError, match="cannot be read"):
        load_recipe(RECIPES / "char_gpt.py", short)


@pytest.fixture(scope="module")
def transfer():
    return load_recipe(RECIPES / "transfer_digits.py")


def test_what_transfer_digits_knows_helps_it_and_its_last_layers_suffice(transfer):
    torch = backends.load("torch")
    assert params(transfer.spec) == 151_690
    assert transfer.material.splits.sizes == (108, 269, 520)

    def right(work):
        return (torch.predict(work, work.data.certify.x).argmax(1) == work.data.certify.y).mean()

    given = torch.open(transfer)
    assert 0.65 < right(given) < 0.85
    asked, part = trained(given), trained(Freeze(2).pull(given))
    assert right(asked) > 0.9
    assert right(part) > right(asked) - 0.03
    scratch = replace(transfer.material, make_model=transfer.material.make_model.__globals__["network"])
    assert right(trained(torch.open(replace(transfer, material=scratch)))) < right(asked) - 0.01
    assert {lever.name for lever in (*Freeze.choices(transfer), *Lora.choices(transfer))} == {"freeze", "lora"}


def test_a_linear_network_becomes_the_linear_regression():
    job = load_recipe(RECIPES / "linear_network.py")
    asked = trained(backends.load("torch").open(job))
    student = Distill(epochs=80, student="linear").pull(asked)
    assert [params(each.spec) for each in (asked, student)] == [1441, 11]

    def rmse(work):
        rows = work.data.certify
        return np.sqrt(np.mean((backends.load("torch").predict(work, rows.x).ravel() - rows.y.ravel()) ** 2))

    assert rmse(student) < 1.02 * rmse(asked)
    assert rmse(Quantize("static").pull(asked)) < 1.05 * rmse(asked)


def tone(path, hertz, seconds=0.3, rate=8000):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        sound = 12_000 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)
        file.writeframes(sound.astype("<i2").tobytes())


@pytest.fixture
def tones(tmp_path):
    """Two words by four speakers, 32 times each, told apart by how they change, for what stays is taken out."""
    rng = np.random.default_rng(0)
    for word, rises in (("up", True), ("down", False)):
        for speaker, base in zip("abcd", (300, 350, 400, 450), strict=True):
            for number in range(32):
                sweep = np.linspace(base, 4 * base, 2400) * (1 + 0.05 * rng.random())
                tone(tmp_path / f"{word}_{speaker}_{number}.wav", sweep if rises else sweep[::-1])
    return tmp_path


def test_keywords_deals_speakers_and_hears_words_in_voices_that_are_new(tones):
    job = load_recipe(RECIPES / "keywords.py", tones)
    splits = job.material.splits
    assert splits.sizes == (128, 64, 64)
    assert len(set(splits.train.groups)) == 2
    assert job.spec.data.shape == (1, 32, 62)
    few = replace(job.spec.train, epochs=3)
    work = trained(backends.load("torch").open(replace(job, spec=replace(job.spec, train=few))))
    rows = work.data.certify
    assert (backends.load("torch").predict(work, rows.x).argmax(1) == rows.y).mean() > 0.9


@pytest.mark.parametrize("hertz", [300, 1500, 3000])
def test_a_tone_is_loudest_in_the_band_around_it(tones, hertz):
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("keywords_recipe", RECIPES / "keywords.py")
    keywords = module_from_spec(spec)
    spec.loader.exec_module(keywords)
    tone(tones / "x.wav", hertz)
    sound, rate = keywords.samples(tones / "x.wav")
    power = np.abs(np.fft.rfft(sound[:256] * np.hanning(256))) ** 2
    loudest = (power @ keywords.triangles(256, rate).T).argmax()
    low, own, high = (2595 * np.log10(1 + each / 700) for each in (60, hertz, 4000))
    assert abs(loudest - ((own - low) / (high - low) * 33 - 1)) <= 1


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("one.wav", b"", "does not say word and speaker"),
        ("one_a_0.wav", b"RIFF", "no wav file"),
        ("", b"", "no wav files"),
    ],
)
def test_keywords_without_proper_recordings_says_so(tmp_path, name, content, said):
    if name:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInputError, match=said):
        load_recipe(RECIPES / "keywords.py", tmp_path)


def test_keywords_hears_speakers_it_has_never_heard(samples, tmp_path):
    folder = samples / "audio" / "spoken_digits"
    for number in range(0, 50, 2):
        for path in folder.glob(f"*_{number}.wav"):
            (tmp_path / path.name).symlink_to(path)
    job = load_recipe(RECIPES / "keywords.py", tmp_path)
    assert job.material.splits.sizes == (500, 250, 250)
    work = trained(backends.load("torch").open(job))
    rows = work.data.certify
    assert (backends.load("torch").predict(work, rows.x).argmax(1) == rows.y).mean() > 0.5
