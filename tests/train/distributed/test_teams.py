"""Real processes that train together on this machine."""

import json
import os
import subprocess
import sys
import time

import psutil
import pytest

from pennyweight.errors import BadInputError, PennyweightError
from pennyweight.train.distributed.launch import launch

# Each worker runs this: sync, compressor, batch of one worker, epochs and the file to write to are its arguments.
TRAIN = """
import json, sys
import numpy as np
import torch
from torch import nn
from pennyweight.core import TeamSpec, TrainSpec
from pennyweight.data.splits import Arrays
from pennyweight.train.distributed.join import joined
from pennyweight.train.loop import How, fit

sync, compress, batch, epochs, path = sys.argv[1:]
numbers = np.random.default_rng(0)
x = numbers.normal(size=(256, 20)).astype(np.float32)
data = Arrays(x, (x[:, :3].sum(1) > 0).astype(np.int64))
with joined(TeamSpec(1, sync, compress)) as team:
    torch.manual_seed(team.rank)  # all must start from the first worker's weights
    net = nn.Sequential(nn.Linear(20, 32), nn.Tanh(), nn.Linear(32, 2))
    settings = TrainSpec(epochs=float(epochs), batch=int(batch), optimizer="adam", lr=0.01)
    done = fit(net, data, settings, how=How(team=team))
    weights = torch.cat([each.reshape(-1) for each in done.model.parameters()])
    with torch.no_grad():
        right = (done.model(torch.from_numpy(x)).argmax(1).numpy() == data.y).mean()
    told = {"weights": weights.tolist(), "right": float(right), "byte": team.wire_byte, "rows": done.rows}
    with open(f"{path}.{team.rank}", "w") as file:
        json.dump(told, file)
"""
WEIGHTS = 20 * 32 + 32 + 32 * 2 + 2


def train(tmp_path, size, *arguments):
    """What each worker told."""
    script = tmp_path / "train.py"
    script.write_text(TRAIN)
    launch([sys.executable, str(script), *arguments, str(tmp_path / "told")], size, tmp_path / "logs")
    return [json.loads((tmp_path / f"told.{rank}").read_text()) for rank in range(size)]


def test_two_workers_with_half_batches_train_as_one_with_whole_batches(tmp_path):
    (alone,) = train(tmp_path, 1, "each", "", "32", "2")
    first, second = train(tmp_path, 2, "each", "", "16", "2")
    assert first["weights"] == second["weights"]
    assert first["weights"] == pytest.approx(alone["weights"], abs=1e-5)
    assert first["rows"] + second["rows"] == alone["rows"] == 512
    steps = 16
    begin, agreed, means = 4 + 8, steps, 2 * 8
    assert second["byte"] == begin + steps * 4 * WEIGHTS + agreed + means
    assert first["byte"] == second["byte"] + 4 * WEIGHTS  # all start from the first one's weights
    assert alone["byte"] == 0


@pytest.mark.parametrize(
    ("sync", "compress", "size"),
    [("each", "powersgd:2+int8", 2), ("local:4", "topk:0.1+onebit", 2), ("diloco:4", "int4", 4)],
)
def test_few_bytes_train_well_and_leave_all_workers_with_equal_weights(tmp_path, sync, compress, size):
    told = train(tmp_path, size, sync, compress, "8", f"{3 * size}")
    assert all(each["weights"] == told[0]["weights"] for each in told)
    assert told[0]["right"] > 0.9
    steps = told[0]["rows"] / 8
    assert 0 < told[1]["byte"] < 0.25 * steps * 4 * WEIGHTS


@pytest.mark.parametrize("death", ["os.kill(os.getpid(), 9)", "raise ValueError('no such row')"])
def test_a_worker_that_dies_is_named_and_the_others_stop_within_seconds(tmp_path, death):
    script = tmp_path / "train.py"
    dies = f"    if team.rank == 1:\n        import os\n        {death}\n"
    begin, team, rest = TRAIN.partition("    torch.manual_seed(team.rank)")
    script.write_text(begin + dies + team + rest)
    command = [sys.executable, str(script), "each", "", "2", "100000", str(tmp_path / "told")]
    start = time.monotonic()
    with pytest.raises(PennyweightError) as caught:
        launch(command, 2, tmp_path / "logs")
    assert time.monotonic() - start < 60
    said = str(caught.value)
    assert "Worker 1 of 2" in said
    assert "worker-1.log" in said
    assert ("SIGKILL" if "kill" in death else "no such row") in said


ENDLESS = """
import os, pathlib, sys, time
from pennyweight.core import TeamSpec
from pennyweight.train.distributed.join import joined

with joined(TeamSpec(2)) as team:
    pathlib.Path(sys.argv[1], f"worker.{team.rank}").write_text(str(os.getpid()))
    while True:
        time.sleep(0.1)
"""


def test_no_worker_outlives_its_launcher(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(ENDLESS)
    start = (
        "import pathlib, sys; from pennyweight.train.distributed.launch import launch; "
        f"launch([sys.executable, {str(script)!r}, {str(tmp_path)!r}], 2, pathlib.Path({str(tmp_path)!r}))"
    )
    launcher = subprocess.Popen([sys.executable, "-c", start])
    pids = [int(_wait_for(tmp_path / f"worker.{rank}").read_text()) for rank in range(2)]
    launcher.kill()
    launcher.wait()
    end = time.monotonic() + 120
    while any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids):
        assert time.monotonic() < end, "a worker goes on alone"
        time.sleep(0.1)


def test_a_process_alone_is_told_how_to_find_the_others(monkeypatch):
    from pennyweight.core import TeamSpec
    from pennyweight.train.distributed.join import joined

    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(BadInputError, match="--workers"), joined(TeamSpec(workers=2)):
        pass
    with joined(TeamSpec()) as team:
        assert team.size == 1


@pytest.mark.parametrize("sync", ["local", "local:0", "local:x", "each:2", "sometimes"])
def test_a_way_to_agree_that_makes_no_sense_is_refused(sync):
    from pennyweight.core import TeamSpec
    from pennyweight.train.distributed.join import check

    with pytest.raises(BadInputError, match="To fix: "):
        check(TeamSpec(2, sync))


SHARDED = """
import json, sys
import torch
from pennyweight.core import TeamSpec
from pennyweight.train.distributed.join import joined
from pennyweight.train.distributed.sharded import whole

torch.manual_seed(0)
rows = torch.randn(32, 20)
with joined(TeamSpec(1, "shard")) as team:
    torch.manual_seed(team.rank)
    net = torch.nn.Sequential(torch.nn.Linear(20, 32), torch.nn.Tanh(), torch.nn.Linear(32, 2))
    net = team.wrap(net)
    mine = rows[team.share(torch.arange(32))]
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(5):
        net(mine).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    if team.size == 1:
        weights, held = net.state_dict(), 0
    else:
        weights = whole(net)
        held = sum(each.to_local().numel() for each in net.parameters())
    flat = torch.cat([each.reshape(-1) for each in weights.values()]).tolist()
    with open(f"{sys.argv[1]}.{team.rank}", "w") as file:
        json.dump([flat, held, team.wire_byte], file)
"""


def test_sharded_training_holds_half_the_weights_and_reaches_those_of_one_worker(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(SHARDED)
    told = []
    for size in (1, 2):
        launch([sys.executable, str(script), str(tmp_path / "told")], size, tmp_path / "logs")
        told.append(json.loads((tmp_path / "told.0").read_text()))
    assert told[1][0] == pytest.approx(told[0][0], abs=1e-5)
    assert told[1][1] == WEIGHTS / 2
    assert told[1][2] == 12 + 4 * WEIGHTS + 5 * 4 * WEIGHTS


ELASTIC = """
import json, os, pathlib, sys, time
import torch
from pennyweight.core import TeamSpec
from pennyweight.train.distributed.join import joined

path = pathlib.Path(sys.argv[1])
kept, told = path / "kept.pt", path / "told.jsonl"
with joined(TeamSpec()) as team:
    net = torch.nn.Linear(4, 1)
    start = 0
    if kept.exists():
        state = torch.load(kept, weights_only=True)
        net.load_state_dict(state["net"])
        start = state["step"]
    if team.rank == 0:
        with told.open("a") as file:
            file.write(json.dumps({"size": team.size, "start": start}) + chr(10))
    wrapped = team.wrap(net)
    optimizer = torch.optim.SGD(wrapped.parameters(), lr=0.01)
    for step in range(start, 100_000):
        wrapped(torch.ones(2, 4)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        if team.rank == 0:
            torch.save({"net": net.state_dict(), "step": step + 1}, kept.with_suffix(".part"))
            os.replace(kept.with_suffix(".part"), kept)
        time.sleep(0.02)
        if not team.agree(going=team.size == 1 or step < start + 10):
            break
"""


def test_a_worker_that_joins_a_running_torchrun_goes_on_from_the_checkpoint(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(ELASTIC)
    port = _free_port()
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes=1:2", "--nproc-per-node=1", "--max-restarts=3"]
    command += ["--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}", "--rdzv-id=test", "--monitor-interval=0.2"]
    command += ["--local-addr=127.0.0.1", "--rdzv-conf=last_call_timeout=1", str(script), str(tmp_path)]
    # With a store shared between rounds, torch 2.13 does not tell a newcomer where the first worker is.
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    environment["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    agents = []
    try:
        with (tmp_path / "agents.log").open("wb") as log:
            agents.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
            _wait_for(tmp_path / "kept.pt")
            agents.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
            for each in agents:
                assert each.wait(200) == 0, (tmp_path / "agents.log").read_text()
    finally:
        for each in agents:
            each.kill()
            each.wait()
    told = [json.loads(line) for line in (tmp_path / "told.jsonl").read_text().splitlines()]
    assert told[0] == {"size": 1, "start": 0}
    assert told[-1]["size"] == 2
    assert told[-1]["start"] > 0


def _free_port():
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _wait_for(path):
    """A file, once there is something in it."""
    end = time.monotonic() + 200
    while not (path.exists() and path.stat().st_size):
        assert time.monotonic() < end, f"no {path.name}"
        time.sleep(0.02)
    return path


def test_a_round_that_the_last_step_leaves_open_is_ended(tmp_path):
    # Sixteen steps of which the last meeting would have been the fifteenth.
    first, second = train(tmp_path, 2, "local:5", "", "16", "2")
    assert first["weights"] == second["weights"]
