import contextlib
import os
import signal
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from pennyweight.core import TeamSpec, TrainSpec
from pennyweight.errors import BadInputError, MissingExtraError, PennyweightError
from pennyweight.train.checkpoint import Checkpoints
from pennyweight.train.clock import Clock
from pennyweight.train.how import How, Judge
from pennyweight.train.loop import fit
from pennyweight.train.objective import Batch
from pennyweight.train.server.cluster import cluster
from pennyweight.train.server.fleet import flat
from pennyweight.train.server.order import Serving
from pennyweight.train.server.run import Aside, train_served

SETTINGS = TrainSpec(epochs=4, batch=32, lr=3e-3, team=TeamSpec(2, "async:4"))
ALONE = replace(SETTINGS, team=TeamSpec(1, "async:1"))


pytestmark = pytest.mark.usefixtures("_ray")


@pytest.fixture(scope="module")
def _ray():
    with cluster():
        yield


def blobs(rows=640, seed=0):
    """Rows of four classes that a small network tells apart."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 4, rows)
    x = rng.normal(size=(rows, 8)) + 3 * np.eye(4, 8)[y]
    return Batch(torch.tensor(x, dtype=torch.float32), torch.tensor(y))


def network():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4))


def right(model, data):
    with torch.no_grad():
        return float((model(data.x).argmax(1) == data.y).double().mean())


def kill(actor):
    import ray

    os.kill(ray.get(actor.process.remote()), signal.SIGKILL)


def test_two_workers_and_two_shards_learn_and_every_byte_is_counted():
    data, judged, told = blobs(), [], []
    judge = Judge(lambda model: judged.append(right(model, data)) or judged[-1])
    how = How(judge=judge, watch=lambda progress: told.append(progress) or True)
    before = network()
    done = train_served(before, data, SETTINGS, how)
    assert right(done.trained.model, data) > 0.9
    assert judged[-1] == right(done.trained.model, data)
    assert done.trained.history[-1] < done.trained.history[0]
    assert len(done.trained.history) == len(judged) == 4
    assert done.trained.rows == 4 * 640
    assert told[-1].step == told[-1].steps == 80
    gradients = 80 * 4 * len(flat(before))
    assert 2 * gradients <= done.wire_byte < 3.2 * gradients
    assert done.cpu_s > 0
    assert not done.said
    assert torch.equal(before[1].running_mean, torch.zeros(16))
    assert not torch.equal(done.trained.model[1].running_mean, torch.zeros(16))


def test_a_worker_and_a_shard_that_are_killed_are_said_and_every_row_is_still_seen():
    fleets, said, data = [], [], blobs()

    def watch(progress):
        if progress.step == 20:
            kill(fleets[0].shards[1])
        if progress.step == 40:
            kill(fleets[0].workers[0])
        return True

    aside = Aside(Serving(4, keep_every=4), said.append, fleets.append)
    done = train_served(network(), data, SETTINGS, How(watch=watch), aside)
    assert (done.lost_shards, done.lost_workers) == (1, 1)
    assert done.trained.rows == 4 * 640
    assert right(done.trained.model, data) > 0.9
    assert tuple(said) == done.said
    assert any("Shard 1 of the server was lost" in each for each in said)
    assert any("Worker 0 was lost" in each for each in said)


def test_gradients_that_are_no_numbers_are_refused_and_the_rest_goes_on():
    data = blobs()
    data.x[5, 0] = float("nan")
    done = train_served(nn.Linear(8, 4), data, replace(SETTINGS, lr=0.03), How())
    assert done.refused == 4  # the row is in one batch of each pass
    assert done.trained.rows == 4 * (640 - 32)
    assert all("it was refused" in each for each in done.said)
    assert np.isfinite(flat(done.trained.model)).all()
    assert right(done.trained.model, blobs()) > 0.8


def test_a_training_that_only_gives_nonsense_ends_with_advice():
    data = blobs()
    data.x[:] = float("inf")
    with pytest.raises(PennyweightError, match="lower the learning rate"):
        train_served(nn.Linear(8, 4), data, ALONE)


def test_a_training_that_is_stopped_goes_on_from_the_state_it_kept():
    kept, data = {}, blobs()
    how = How(checkpoints=Checkpoints(kept.update), watch=lambda progress: progress.step < 50)
    first = train_served(network(), data, ALONE, how)
    assert first.trained.stopped
    again = train_served(network(), data, ALONE, How(checkpoints=Checkpoints(kept.update, dict(kept))))
    assert again.trained.resumed == 50
    assert not again.trained.stopped
    assert right(again.trained.model, data) > 0.9
    other = How(checkpoints=Checkpoints(kept.update, dict(kept)), seed=1)
    with pytest.raises(BadInputError, match="another training"):
        train_served(network(), data, ALONE, other)


def test_ray_is_reachable_from_this_machine_only():
    import psutil

    here, found = psutil.Process(), []
    for each in (here, *here.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):  # one that has just ended listens to nobody
            found += [link.laddr.ip for link in each.net_connections("inet") if link.status == psutil.CONN_LISTEN]
    assert len(found) > 2
    assert all("127.0.0.1" in ip or ip == "::1" for ip in found), found


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match="distributed"):
        train_served(nn.Linear(8, 4), blobs(), SETTINGS)


def test_the_training_loop_reaches_the_server_by_the_way_to_agree():
    data = blobs()
    clock = Clock()
    done = fit(
        network(),
        SimpleNamespace(x=data.x.numpy(), y=data.y.numpy()),
        replace(SETTINGS, epochs=2),
        how=How(clock=clock),
    )
    assert done.rows == 2 * 640
    assert done.history[-1] < done.history[0]
    assert clock.elsewhere_s > 0.5  # two workers and two shards have started
