"""Batches are changed as said and no further, their shapes stay, and a seed repeats what is drawn."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pennyweight.core import DataSpec, Form, Kind, Op, Spec, Task
from pennyweight.errors import BadInputError
from pennyweight.train.augmenting import WAYS, augmenter, kind_of

SHAPES = {"image": (3, 12, 10), "signal": (2, 50), "table": (7,), "tokens": (20,)}


def spec_of(kind, *ways, task=Task.CLASSIFY):
    task = Task.LANGUAGE if kind == "tokens" else task
    data = DataSpec(64, 8.0, task, 4, shape=SHAPES[kind], augment=ways)
    return Spec(Form.MODULE, (Op("one", Kind.LINEAR, 1, 1),), data)


def batch_of(kind, rows=64):
    torch.manual_seed(1)
    if kind == "tokens":
        return torch.randint(1, 30, (rows, *SHAPES[kind])), torch.randint(30, (rows, *SHAPES[kind]))
    return torch.rand(rows, *SHAPES[kind]), torch.arange(rows) % 4


@pytest.mark.parametrize(("kind", "way"), [(kind, way) for kind, ways in WAYS.items() for way in ways])
def test_every_way_keeps_the_shape_changes_something_and_is_repeated_by_a_seed(kind, way):
    spec = spec_of(kind, way)
    x, y = batch_of(kind)
    before = x.clone()
    change = augmenter(spec)
    torch.manual_seed(5)
    one, labels = change(x, y)
    torch.manual_seed(5)
    other, _ = change(x, y)
    assert kind_of(spec) == kind
    assert one.shape == x.shape
    assert one.dtype == x.dtype
    assert torch.equal(one, other)
    assert not torch.equal(one, x)
    assert torch.equal(x, before)
    assert torch.isfinite(one).all()
    if way != "mixup":
        assert labels is y


def test_a_shifted_image_is_a_window_of_the_padded_one():
    x = torch.arange(1.0, 26.0).view(1, 1, 5, 5).expand(200, 1, 5, 5)
    moved, _ = augmenter(spec_of("image", "shift:1"))(x, torch.zeros(200))
    middles = {float(each) for each in moved[:, 0, 2, 2]}
    assert middles == {7, 8, 9, 12, 13, 14, 17, 18, 19}
    wide = torch.nn.functional.pad(x[:1], (1, 1, 1, 1), mode="replicate")[0, 0]
    windows = [wide[down : down + 5, across : across + 5] for down in range(3) for across in range(3)]
    assert all(any(torch.equal(row[0], window) for window in windows) for row in moved)


def test_rotating_and_scaling_leave_the_middle_in_place_and_the_sum_about_the_same():
    x = torch.zeros(50, 1, 21, 21)
    x[:, :, 8:13, 8:13] = 1
    turned, _ = augmenter(spec_of("image", "rotate:45"))(x, torch.zeros(50))
    assert torch.allclose(turned[:, 0, 10, 10], torch.ones(50), atol=1e-4)
    assert torch.allclose(turned.sum((1, 2, 3)), torch.full((50,), 25.0), rtol=0.1)
    sized, _ = augmenter(spec_of("image", "scale:0.5"))(x, torch.zeros(50))
    assert sized.sum((1, 2, 3)).min() < 20
    assert sized.sum((1, 2, 3)).max() > 32


def test_mixed_labels_are_probabilities_that_fit_the_mixed_rows():
    x = torch.eye(4).repeat(16, 1)[:, :4]
    spec = replace(
        spec_of("table", "mixup:1"), data=DataSpec(64, 8.0, Task.CLASSIFY, 4, shape=(4,), augment=("mixup:1",))
    )
    mixed, labels = augmenter(spec)(x, torch.arange(64) % 4)
    assert torch.allclose(mixed, labels)  # row n is the unit vector of its class, so both mix alike
    assert torch.allclose(labels.sum(1), torch.ones(64))
    assert (labels.max(1).values < 0.99).any()


def test_values_are_mixed_as_their_rows_are():
    x = torch.rand(64, 7)
    mixed, y = augmenter(spec_of("table", "mixup", task=Task.REGRESS))(x, x.sum(1))
    assert torch.allclose(mixed.sum(1), y, atol=1e-5)


def test_a_shifted_signal_is_moved_and_silence_comes_in():
    x = torch.rand(40, 2, 50) + 1
    moved, _ = augmenter(spec_of("signal", "shift:0.2"))(x, torch.zeros(40))
    gone = (moved == 0).sum(-1)
    assert gone.max() <= 10
    assert (gone[:, 0] == gone[:, 1]).all()
    kept = [sorted(set(row[row > 0].tolist()) - set(old.flatten().tolist())) for row, old in zip(moved, x, strict=True)]
    assert kept == [[]] * 40


def test_a_higher_pitch_is_a_shorter_wave():
    time = torch.linspace(0, 1, 400)
    x = torch.sin(2 * np.pi * 20 * time).expand(60, 1, 400)
    bent, _ = augmenter(spec_of("signal", "pitch:0.3"))(x, torch.zeros(60))
    peaks = torch.fft.rfft(bent[:, 0]).abs().argmax(-1)
    assert peaks.min() < 18
    assert peaks.max() > 22


@pytest.mark.parametrize("way", ["drop", "replace"])
def test_about_the_said_share_of_tokens_changes(way):
    x = torch.randint(1, 1000, (500, 20))
    changed, _ = augmenter(spec_of("tokens", f"{way}:0.2"))(x, x)
    assert float((changed != x).float().mean()) == pytest.approx(0.2, abs=0.02)
    if way == "drop":
        assert (changed[changed != x] == 0).all()


def test_ways_are_taken_in_their_order():
    x = torch.rand(32, 1, 8, 8)
    both = augmenter(spec_of("image", "shift:1", "noise:0.1"))(x, torch.zeros(32))[0]
    assert not torch.equal(both, x)


@pytest.mark.parametrize(
    ("kind", "way", "said"),
    [
        ("image", "pitch", "no way 'pitch' to change image"),
        ("tokens", "mixup", "no way"),
        ("table", "noise:much", "no number"),
        ("image", "flip:2", "out of bounds"),
        ("image", "shift:-1", "out of bounds"),
        ("image", "noise:nan", "out of bounds"),
    ],
)
def test_what_cannot_be_done_is_said(kind, way, said):
    with pytest.raises(BadInputError, match=said) as caught:
        augmenter(spec_of(kind, way))
    assert caught.value.fix


def test_nothing_is_changed_where_nothing_is_asked():
    assert augmenter(spec_of("image")) is None
