"""Two pools of servers as one script: instances with devices, ports and a connector of their own."""

import json
from dataclasses import replace

import launches
import pytest
from launches import number, serving, started, value

from pennyweight.catalog.accelerators import accelerator
from pennyweight.catalog.models import model
from pennyweight.core.layout import Layout
from pennyweight.errors import BadInputError
from pennyweight.layout.emit import Serve, emit
from pennyweight.layout.emit.planned import launch_of_serving
from pennyweight.layout.serving.fleet import Pool, Serving


def pair(read=None, write=None):
    reads = serving(read or Layout(tp=2, dp=2), Serve(8, 4096))
    return replace(serving(write or Layout(tp=4), Serve(64, 4096)), reads=reads)


def test_both_pools_of_a_machine_have_devices_ports_and_roles_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setitem(launches.SETTINGS, "HOST", "10.0.0.1")
    found = {words[1]: words for words in started("vllm", pair(), tmp_path)}
    assert sorted(found) == ["CUDA=0,1,2,3", "CUDA=4,5", "CUDA=6,7"]
    roles = {devices: json.loads(value(words, "--kv-transfer-config")) for devices, words in found.items()}
    assert [roles[each]["kv_role"] for each in sorted(found)] == ["kv_consumer", "kv_producer", "kv_producer"]
    assert {each["kv_connector"] for each in roles.values()} == {"NixlConnector"}
    assert sorted(number(words, "--port") for words in found.values()) == [8000, 8001, 8100]
    assert number(found["CUDA=0,1,2,3"], "--max-num-seqs") == 64


def test_on_several_machines_it_asks_what_this_one_starts():
    text = emit("vllm", pair(Layout(tp=8, dp=2), Layout(tp=8, dp=3)))
    assert ': "${PREFILLS:?how many of the 2 prefill instances' in text
    assert ': "${DECODES:?how many of the 3 decode instances' in text
    assert "toy_proxy_server.py" in text
    assert "PREFILLS:-2" in emit("vllm", pair())


@pytest.mark.parametrize("target", ["kubernetes", "slurm", "skypilot"])
def test_targets_of_one_pool_refuse_two_with_another_target(target):
    with pytest.raises(BadInputError, match=r"start one pool.*To fix: use --emit vllm, or plan with --pools"):
        emit(target, pair())


def test_instances_that_fill_several_machines_are_refused():
    with pytest.raises(BadInputError, match="decode pool fills 2 machines"):
        emit("vllm", pair(write=Layout(tp=8, pp=2)))


def test_a_planned_pair_becomes_a_launch_of_two():
    served = Serving(model("qwen3-32b"), accelerator("h100"), decode=Pool(tp=4), prefill=Pool(tp=2), concurrency=64)
    reads = launch_of_serving(replace(served, decode=Pool(tp=2, workers=2), prefill=None))
    launch = launch_of_serving(served, reads=reads)
    assert (launch.group, launch.reads.group, launch.reads.replicas) == (4, 2, 2)
    assert not launch.serve.disaggregated
    assert launch_of_serving(served).serve.disaggregated
