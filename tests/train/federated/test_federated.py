import os
import signal
import socket
import struct
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from pennyweight.core import TrainSpec
from pennyweight.errors import BadInputError, PennyweightError, UnknownNameError
from pennyweight.train.federated import Aside, FederatedSpec, Privacy, run, run_among
from pennyweight.train.federated.circle import Circle, gathered
from pennyweight.train.federated.cutting import cut, part
from pennyweight.train.federated.doors import door
from pennyweight.train.federated.frames import Channel, GoneError, Message
from pennyweight.train.federated.tenant import Tenant
from pennyweight.train.federated.weights import flat
from pennyweight.train.how import How
from pennyweight.train.loop import fit

LOCAL = TrainSpec(epochs=1, batch=16, optimizer="sgd", lr=0.3, momentum=0.0)
SPEC = FederatedSpec(5, 4, local=LOCAL)


def blobs(rows=400, seed=0):
    """Rows of four classes that a linear model tells apart."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 4, rows)
    x = rng.normal(size=(rows, 8)) + 3 * np.eye(4, 8)[y]
    return SimpleNamespace(x=x.astype(np.float32), y=y)


def network():
    torch.manual_seed(0)
    return nn.Linear(8, 4)


def right(model, data=None):
    data = data or blobs(400, 1)
    with torch.no_grad():
        return float((model(torch.tensor(data.x)).argmax(1).numpy() == data.y).mean())


@pytest.mark.parametrize("rule", ["fedavg", "fedprox:0.1", "fedavgm:0.9", "fedadam:0.1"])
def test_clients_learn_together_what_none_of_them_could_alone(rule):
    data = blobs()
    spec = replace(SPEC, rule=rule, alpha=0.1)
    seen = []
    aside = Aside(judge=right, watch=lambda told: seen.append(told) or True)
    done = run(network(), data, spec, aside)
    parts = [part(data, rows) for rows in cut(data.y, 5, 0.1, 0)]
    alone = [right(fit(network(), each, replace(LOCAL, epochs=4)).model) for each in parts]
    assert done.rounds[-1].quality > max(0.9, np.mean(alone) + 0.1)
    assert done.rounds == tuple(seen)
    assert [each.counted for each in done.rounds] == [5] * 4
    assert done.rounds[-1].loss < done.rounds[0].loss
    assert all(each.cpu_s > 0 for each in done.rounds)


def test_one_round_of_one_step_each_is_the_step_of_all_rows_together():
    data, start = blobs(100), network()
    whole = replace(LOCAL, batch=20)
    done = run(start, data, FederatedSpec(5, 1, local=whole))
    together = fit(start, data, replace(whole, batch=100)).model
    assert np.allclose(flat(done.model), flat(together), atol=1e-6)


def test_what_crosses_the_wire_are_weights_and_updates_never_rows():
    done = run(network(), blobs(4000), SPEC)
    numbers = 4 * len(flat(network()))
    rows = blobs(4000).x.nbytes / 5
    for each in done.rounds:
        assert 5 * numbers < each.up_byte < 5 * (numbers + 400) < 5 * rows
        assert 5 * numbers < each.down_byte < 5 * (numbers + 800)
    assert done.wire_byte == sum(each.up_byte + each.down_byte for each in done.rounds)


def test_a_secret_sum_is_the_open_one_although_a_client_dies_in_it():
    data = blobs()
    plain = run(network(), data, replace(SPEC, rounds=1))
    secret = run(network(), data, replace(SPEC, rounds=1, secure=True))
    assert np.allclose(flat(plain.model), flat(secret.model), atol=1e-5)
    assert secret.rounds[0].loss is None
    parts = [part(data, rows) for rows in cut(data.y, 5, None, 0)]
    models = []
    for secure in (True, False):
        with gathered(network(), parts, Aside().task, 0) as circle:
            lose_on(circle, "train", 2)
            done = run_among(circle, network(), replace(SPEC, rounds=1, secure=secure))
        assert done.rounds[0].counted == 4
        assert "Client 2 is lost" in done.rounds[0].said[0]
        models.append(flat(done.model))
    assert np.allclose(*models, atol=1e-5)
    assert not np.allclose(models[0], flat(plain.model), atol=1e-3)


def lose_on(circle, kind, number):
    """Kill a client's process when it is asked for something."""
    ask = circle.channels[number].send

    class Deadly:
        def __getattr__(self, name):
            return getattr(channel, name)

        def send(self, message, timeout_s=None):
            if message.kind == kind:
                os.kill(circle.processes[number].pid, signal.SIGKILL)
                circle.processes[number].join()
            ask(message, timeout_s)

    channel = circle.channels[number]
    circle.channels[number] = Deadly()


def test_a_client_with_rows_that_are_no_numbers_is_said_and_left_out():
    data = blobs()
    parts = [part(data, rows) for rows in cut(data.y, 5, None, 0)]
    parts[3].x[:] = np.nan
    for secure in (False, True):
        with gathered(network(), parts, Aside().task, 0) as circle:
            done = run_among(circle, network(), replace(SPEC, secure=secure))
        assert [each.counted for each in done.rounds] == [4] * 4
        assert all("Client 3 failed: The training loss is nan" in each.said[0] for each in done.rounds)
        assert right(done.model) > 0.9


class Liar:
    """A tenant that answers a training with whatever it likes."""

    def __init__(self, number, update):
        ours, theirs = socket.socketpair()
        self.channel, self._mine = Channel(ours), Channel(theirs)
        self._tenant, self._update = Tenant(number, network(), blobs(50, number)), update

    def serve(self):
        self._tenant._train = lambda message: Message("update", {"loss": 0.0}, {"update": self._update})
        self._tenant.serve(self._mine)


@pytest.mark.parametrize("update", [np.full(36, np.nan, np.float32), np.zeros(35, np.float32), np.zeros(36, np.int32)])
def test_an_update_that_is_no_number_or_does_not_fit_is_left_out(update):
    from threading import Thread

    liars = [Liar(i, np.ones(36, np.float32)) for i in range(3)] + [Liar(3, update)]
    threads = [Thread(target=each.serve) for each in liars]
    for each in threads:
        each.start()
    circle = Circle({i: each.channel for i, each in enumerate(liars)})
    done = run_among(circle, network(), FederatedSpec(4, 1, local=LOCAL))
    circle.end()
    for each in threads:
        each.join()
    assert done.rounds[0].counted == 3
    assert "Client 3 gave an update that is no number" in done.rounds[0].said[0]
    assert np.allclose(flat(done.model), flat(network()) + 1)


def test_a_silent_client_is_given_up_at_the_deadline_and_too_few_end_the_training():
    ours, theirs = socket.socketpair()
    circle = Circle({0: Channel(ours)})
    with pytest.raises(PennyweightError, match="gave no answer"):
        run_among(circle, network(), FederatedSpec(2, 3, local=LOCAL, deadline_s=0.2))
    assert not circle.channels
    theirs.close()


def test_three_rounds_that_come_to_nothing_end_the_training():
    data = blobs()
    data.x[:] = np.nan
    with pytest.raises(PennyweightError, match="3 rounds in a row came to nothing"):
        run(network(), data, SPEC)


def test_what_is_no_message_is_refused_without_reading_on():
    deep = b"[" * 100_000
    nested = struct.pack("<4sIQ", b"PWF1", len(deep), 0) + deep
    for nonsense in (b"\x80\x04pickle" * 4, b"PWF1" + b"\xff" * 12, nested, b""):
        ours, theirs = socket.socketpair()
        theirs.sendall(nonsense)
        theirs.close()
        with pytest.raises(GoneError):
            Channel(ours).receive(1.0)
        ours.close()


def test_privacy_is_spent_round_by_round_and_never_beyond_the_budget():
    pytest.importorskip("opacus")
    data = blobs(600)
    spec = FederatedSpec(20, 6, local=replace(LOCAL, epochs=3), privacy=Privacy(8.0))
    done = run(network(), data, spec)
    spent = [each.epsilon for each in done.rounds]
    assert spent == sorted(spent)
    assert 7.5 < spent[-1] <= 8.0
    assert done.epsilon == spent[-1]
    assert all(each.loss is None for each in done.rounds)
    assert right(done.model) > 0.5
    noisy = run(network(), data, replace(spec, rounds=6, privacy=Privacy(8.0, noise=1.0)))
    assert len(noisy.rounds) < 6
    assert noisy.epsilon <= 8.0
    assert "would expose more than was allowed" in noisy.why


def test_an_update_has_no_more_reach_than_the_clip_whoever_sends_it():
    pytest.importorskip("opacus")
    from threading import Thread

    liars = [Liar(i, np.full(36, 1e6, np.float32)) for i in range(4)]
    threads = [Thread(target=each.serve) for each in liars]
    for each in threads:
        each.start()
    circle = Circle({i: each.channel for i, each in enumerate(liars)})
    private = Privacy(1e9, 1e-3, clip=0.5, noise=1e-4)
    done = run_among(circle, network(), FederatedSpec(4, 1, local=LOCAL, privacy=private))
    circle.end()
    for each in threads:
        each.join()
    assert 0.49 < np.linalg.norm(flat(done.model) - flat(network())) < 0.51


def test_secret_and_private_at_once_adds_the_noise_at_the_clients():
    pytest.importorskip("opacus")
    spec = FederatedSpec(6, 2, local=LOCAL, secure=True, privacy=Privacy(1.0, 1e-3))
    done = run(network(), blobs(120), spec)
    assert done.epsilon <= 1.0
    moved = flat(done.model) - flat(network())
    assert np.linalg.norm(moved) > 2  # far more than two updates of norm 1: it is mostly noise


def test_examples_are_hidden_at_the_client():
    pytest.importorskip("opacus")
    spec = FederatedSpec(4, 3, local=LOCAL, privacy=Privacy(8.0, 1e-4, unit="example"))
    done = run(network(), blobs(600), spec)
    assert done.epsilon <= 8.0
    assert right(done.model) > 0.6
    with_norm = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 4))
    with pytest.raises(PennyweightError, match="cannot hide examples"):
        run(with_norm, blobs(600), spec)


TENANT = """
import sys
from types import SimpleNamespace
import numpy as np
from torch import nn
from pennyweight.train.federated.doors import attend
from pennyweight.train.federated.tenant import Tenant

rng = np.random.default_rng(int(sys.argv[2]))
y = rng.integers(0, 4, 200)
x = (rng.normal(size=(200, 8)) + 3 * np.eye(4, 8)[y]).astype(np.float32)
attend(("127.0.0.1", int(sys.argv[1])), sys.argv[3], Tenant(0, nn.Linear(8, 4), SimpleNamespace(x=x, y=y)))
"""


def test_tenants_of_their_own_processes_come_in_by_the_word_and_nobody_else_does():
    with door("sesame") as entrance:
        port = str(entrance.address[1])
        words = [("1", "sesame"), ("2", "sesame"), ("3", "guess")]
        started = [
            subprocess.Popen([sys.executable, "-c", TENANT, port, *each], stderr=subprocess.PIPE) for each in words
        ]
        with entrance.gathered(2, wait_s=90) as circle:
            done = run_among(circle, network(), FederatedSpec(2, 3, local=LOCAL))
    said = [each.communicate(timeout=120)[1].decode() for each in started]
    assert [each.returncode for each in started] == [0, 0, 1]
    assert "does not let this tenant in" in said[2]
    assert right(done.model) > 0.9


def test_a_cut_gives_every_row_to_one_client_and_a_small_alpha_makes_it_uneven():
    y = np.repeat(np.arange(10), 100)

    def lopsided(parts):
        return np.mean([np.bincount(y[rows], minlength=10).max() / len(rows) for rows in parts])

    cuts = {alpha: cut(y, 8, alpha, 3) for alpha in (None, 100.0, 0.1)}
    for parts in cuts.values():
        assert sorted(np.concatenate(parts)) == list(range(1000))
        assert min(map(len, parts)) >= 2
    assert lopsided(cuts[None]) < 0.25
    assert lopsided(cuts[100.0]) < 0.25
    assert lopsided(cuts[0.1]) > 0.4
    with pytest.raises(BadInputError, match="too few"):
        cut(y[:10], 8, None, 0)


def test_what_cannot_be_asked_for_is_refused_with_a_fix():
    assert Privacy.parse("epsilon=8, delta=1e-4,unit=example") == Privacy(8.0, 1e-4, unit="example")
    for text, kind in (("delta=1", BadInputError), ("epsilon=x", BadInputError), ("eps=3", UnknownNameError)):
        with pytest.raises(kind):
            Privacy.parse(text)
    for wrong in ({"clients": 1}, {"rule": "fedprox:x"}, {"rule": "fedavg:1"}, {"alpha": 0.0}, {"share": 0.0}):
        with pytest.raises(BadInputError):
            FederatedSpec(**wrong)
    with pytest.raises(BadInputError, match="three clients"):
        FederatedSpec(2, secure=True)
    with pytest.raises(BadInputError, match="lets one be exposed"):
        FederatedSpec(20, privacy=Privacy(8, 0.1))
    with pytest.raises(UnknownNameError, match="fedprox"):
        FederatedSpec(rule="fedprx")


def test_fedprox_stays_nearer_to_where_it_started():
    data = blobs(seed=2)
    near, far = (run(network(), data, replace(SPEC, rounds=1, rule=rule)) for rule in ("fedprox:5", "fedavg"))
    start = flat(network())
    assert np.linalg.norm(flat(near.model) - start) < 0.7 * np.linalg.norm(flat(far.model) - start)
    assert How().after_step is None
