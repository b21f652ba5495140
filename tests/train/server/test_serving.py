import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from torch import nn

from pennyweight.core import TeamSpec, TrainSpec
from pennyweight.errors import BadInputError, MissingExtraError, PennyweightError
from pennyweight.train.checkpoint import Checkpoints
from pennyweight.train.how import How, Judge
from pennyweight.train.objective import Batch
from pennyweight.train.server.cluster import cluster
from pennyweight.train.server.correction import Correction
from pennyweight.train.server.order import Serving
from pennyweight.train.server.run import Aside, train_served
from pennyweight.train.server.weights import flat

SETTINGS = TrainSpec(epochs=4, batch=32, lr=3e-3, team=TeamSpec(2, "async:4"))
ALONE = replace(SETTINGS, team=TeamSpec(1, "async:1"))


pytestmark = pytest.mark.usefixtures("_ray")


@pytest.fixture(scope="module")
def _ray():
    with cluster():
        yield


LONG = """
import psutil, torch
from pennyweight.core import TeamSpec, TrainSpec
from pennyweight.train.how import How
from pennyweight.train.objective import Batch
from pennyweight.train.server.order import Serving
from pennyweight.train.server.run import Aside, train_served

data = Batch(torch.randn(64, 8), torch.randint(0, 4, (64,)))
settings = TrainSpec(epochs=10_000, batch=32, team=TeamSpec(1, "async:1"))


def watch(progress):
    if progress.step == 5:
        print(*[each.pid for each in psutil.Process().children(recursive=True)], flush=True)
    return True


train_served(torch.nn.Linear(8, 4), data, settings, How(watch=watch), Aside(Serving(1, shards=1, spares=0)))
"""


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

    with contextlib.suppress(ray.exceptions.ActorDiedError):  # Ray loses one now and then by itself
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
        if progress.step == 60:
            kill(fleets[0].shards[1])
        return True

    aside = Aside(Serving(4, keep_every=4), said.append, fleets.append)
    done = train_served(network(), data, SETTINGS, How(watch=watch), aside)
    assert (done.lost_shards, done.lost_workers) == (2, 1)
    assert done.trained.rows == 4 * 640
    assert right(done.trained.model, data) > 0.9
    assert tuple(said) == done.said
    assert any("Shard 1 of the server was lost" in each for each in said)
    assert any("Worker 0 was lost" in each for each in said)
    assert any("Worker 0 is back" in each for each in said)


def test_when_all_workers_are_lost_the_weights_are_kept_and_the_training_can_go_on():
    fleets, kept, data = [], {}, blobs()

    def watch(progress):
        if progress.step == 30:
            kill(fleets[0].workers[0])
        return True

    aside = Aside(Serving(1, shards=1, most_losses=0), started=fleets.append)
    with pytest.raises(PennyweightError, match="All workers were lost, after 30 changes"):
        train_served(network(), data, ALONE, How(watch=watch, checkpoints=Checkpoints(kept.update)), aside)
    how = How(checkpoints=Checkpoints(kept.update, dict(kept)))
    again = train_served(network(), data, ALONE, how, Aside(Serving(1, shards=1)))
    assert again.trained.resumed == 30
    assert right(again.trained.model, data) > 0.9


def test_a_shard_that_is_lost_time_and_again_ends_the_training_with_advice():
    fleets = []

    def watch(progress):
        kill(fleets[0].shards[0])
        return True

    aside = Aside(Serving(1, shards=1, most_losses=1, spares=0), started=fleets.append)
    with pytest.raises(PennyweightError, match="lost more than 1 times"):
        train_served(network(), blobs(), ALONE, How(watch=watch), aside)


def test_a_spare_that_has_died_is_passed_over_and_one_that_was_used_begins_anew():
    import ray

    with cluster() as pool:
        pool.prepare(2)
        first, second = (hand for hand, _ in list(pool._idle)[:2])
        number = ray.get(second.process.remote())
        kill(first)
        taken = pool.take()
        assert ray.get(taken.process.remote()) == number
        ray.get(taken.become.remote(Correction, "none"))
        assert ray.get(taken.do.remote("state")) == {}
        ray.get(taken.become.remote(sum, range(20_000_000)))
        spent_s = ray.get(taken.cpu_s.remote())
        assert spent_s > 0.1
        pool.give_back(taken)
        assert ray.get(taken.cpu_s.remote()) < 0.1


def test_an_interrupted_training_leaves_neither_processes_nor_files(tmp_path):
    script = tmp_path / "long.py"
    script.write_text(LONG)
    command = [sys.executable, script]
    with (
        tempfile.TemporaryDirectory() as folder,  # its name is short enough for Ray's sockets
        subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "TMPDIR": folder}, text=True) as python,
    ):
        numbers = [int(each) for each in python.stdout.readline().split()]
        python.send_signal(signal.SIGINT)
        python.communicate(timeout=120)
        assert python.returncode != 0
        assert not [*Path(folder).glob("ray-*"), *Path(folder).glob("pennyweight-*")]
    assert len(numbers) > 4
    end = time.monotonic() + 120
    while any(psutil.pid_exists(each) for each in numbers) and time.monotonic() < end:
        time.sleep(0.1)
    assert not [each for each in numbers if psutil.pid_exists(each)]


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
    here, found = psutil.Process(), []
    for each in (here, *here.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):  # one that has just ended listens to nobody
            found += [link.laddr.ip for link in each.net_connections("inet") if link.status == psutil.CONN_LISTEN]
    assert len(found) > 2
    assert all("127.0.0.1" in ip or ip == "::1" for ip in found), found


def test_ray_that_would_listen_to_others_is_not_begun():
    code = "import ray; from pennyweight.train.server.cluster import cluster; cluster().__enter__()"
    outside = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run([sys.executable, "-c", code], env=outside, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "would listen to other machines" in done.stderr


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match="distributed"):
        train_served(nn.Linear(8, 4), blobs(), SETTINGS)
