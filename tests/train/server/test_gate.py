import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pennyweight.core import Regular, TeamSpec, TrainSpec
from pennyweight.errors import BadInputError, PennyweightError, UnknownNameError
from pennyweight.train.server.correction import Correction
from pennyweight.train.server.gate import Gate
from pennyweight.train.server.order import Serving, check, serving
from pennyweight.train.server.shard import Push, Shard, Slice


@given(st.lists(st.integers(0, 3), min_size=20, max_size=200), st.integers(1, 4))
def test_no_gradient_misses_more_than_s_steps_of_another_worker(turns, staleness):
    gate, flying, landed = Gate(staleness), {}, dict.fromkeys(range(4), 0)
    for worker in turns:
        if worker in flying:
            seen = flying.pop(worker)
            gate.end(worker)
            for other in set(range(4)) - {worker}:
                assert landed[other] - seen[other] <= staleness
            landed[worker] += 1
        elif gate.may_begin(worker):
            gate.begin(worker)
            flying[worker] = dict(landed)
        assert flying or gate.may_begin(0)


def test_a_worker_that_is_four_times_slower_does_not_hold_up_the_others():
    gate = Gate(4)
    gate.begin(0)
    for _ in range(4):
        assert gate.may_begin(1)
        gate.begin(1)
        gate.end(1)
    assert not gate.may_begin(1)
    assert gate.end(0) == 4
    assert gate.may_begin(1)


def test_a_worker_that_is_gone_holds_up_nobody():
    gate = Gate(1)
    gate.begin(0)
    gate.begin(1)
    gate.end(1)
    assert not gate.may_begin(1)
    gate.leave(0)
    assert gate.may_begin(1)


def shard(folder, correction="none", *, optimizer="sgd", keep_every=3):
    settings = TrainSpec(optimizer=optimizer, lr=0.1, momentum=0.0)
    return Shard(np.ones(6, np.float32), settings, Slice(0, 100, correction, keep_every, str(folder)))


def test_a_shard_of_a_slice_steps_as_the_optimiser_of_the_whole_would(tmp_path):
    weights = torch.nn.Parameter(torch.ones(6))
    adam = torch.optim.Adam([weights], lr=0.1)
    ours = shard(tmp_path, optimizer="adam")
    for clock in range(1, 8):
        gradient = torch.randn(6)
        weights.grad = gradient.clone()
        adam.step()
        got = ours.exchange(Push(0, clock, gradient.numpy()))
    assert np.allclose(got, weights.detach().numpy(), atol=1e-6)


def test_a_push_that_comes_twice_counts_once(tmp_path):
    ours = shard(tmp_path)
    first = ours.exchange(Push(0, 1, np.ones(6, np.float32)))
    assert np.array_equal(ours.exchange(Push(0, 1, np.ones(6, np.float32))), first)
    assert not np.array_equal(ours.exchange(Push(1, 1, np.ones(6, np.float32))), first)


def test_a_shard_that_starts_again_goes_on_from_its_last_state(tmp_path):
    ours = shard(tmp_path, "compensated", optimizer="adam")
    for clock in range(1, 8):
        now = ours.exchange(Push(0, clock, np.full(6, 0.5, np.float32)))
        if clock == 6:
            kept = now
    again = shard(tmp_path, "compensated", optimizer="adam")
    assert np.array_equal(again.exchange(Push(0, 0)), kept)
    assert again.forget(0) == 6
    assert np.array_equal(again.exchange(Push(0, 7, np.full(6, 0.5, np.float32))), now)
    assert len([each for each in tmp_path.iterdir() if not each.is_symlink()]) == 1


def test_a_shard_that_is_given_a_state_keeps_it_at_once(tmp_path):
    ours, other = shard(tmp_path / "a"), shard(tmp_path / "b")
    now = ours.exchange(Push(0, 1, np.ones(6, np.float32)))
    other.restore(ours.state())
    assert np.array_equal(shard(tmp_path / "b").exchange(Push(0, 0)), now)


def test_a_shard_that_cannot_keep_its_state_says_where_space_is_needed(tmp_path):
    ours = shard(tmp_path / "file", keep_every=1)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PennyweightError, match="cannot keep its state"):
        ours.exchange(Push(0, 1, np.ones(6, np.float32)))


def test_a_shard_refuses_a_gradient_that_is_no_number_and_stays_as_it_is(tmp_path):
    ours = shard(tmp_path)
    with pytest.raises(PennyweightError, match="no number"):
        ours.exchange(Push(2, 1, np.array([1, 2, np.nan, 4, 5, 6], np.float32)))
    assert np.array_equal(ours.exchange(Push(2, 0)), np.ones(6))


def test_compensation_brings_a_stale_gradient_nearer_to_the_one_of_now():
    then = torch.tensor([2.0, 1.0])
    now = 0.98 * then

    def slope(w):  # of the loss w⁴ / 4
        return w**3

    ours = Correction("compensated")
    corrected = ours.apply(slope(then), now, then, 1)
    assert ((corrected - slope(now)).abs() < (slope(then) - slope(now)).abs()).all()
    assert torch.equal(Correction("compensated").apply(slope(then), now, then, 0), slope(then))
    assert torch.equal(Correction("scaled").apply(slope(then), now, then, 3), slope(then) / 4)


def test_what_a_server_cannot_do_is_refused():
    team = TeamSpec(2, "async:4")
    check(TrainSpec(team=team))
    for settings in (
        TrainSpec(optimizer="muon", team=team),
        TrainSpec(regular=Regular(ema=0.9), team=team),
        TrainSpec(accumulate=2, team=team),
        TrainSpec(team=TeamSpec(2, "async:4", "int8")),
        TrainSpec(team=TeamSpec(0, "async:4")),
        TrainSpec(team=TeamSpec(2, "async:0")),
    ):
        with pytest.raises(BadInputError):
            check(settings)


def test_staleness_is_read_from_the_way_to_agree():
    assert serving(TeamSpec(2, "async:3")).staleness == 3
    assert serving(TeamSpec(2, "async")).staleness == 8
    for text in ("async:", "async:0", "async:x"):
        with pytest.raises(BadInputError, match="async:8"):
            serving(TeamSpec(2, text))
    with pytest.raises(UnknownNameError, match="compensated"):
        Serving(correction="compensate")
    for bad in ({"shards": 0}, {"spares": -1}):
        with pytest.raises(BadInputError):
            Serving(**bad)
