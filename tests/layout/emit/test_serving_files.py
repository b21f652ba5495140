import json
from dataclasses import replace

import pytest
import yaml
from launches import number, offer, serving, started, training, value

from pennyweight.catalog.accelerators import accelerator
from pennyweight.catalog.models import model
from pennyweight.core.layout import Layout
from pennyweight.errors import BadInputError
from pennyweight.layout.emit import Serve, emit
from pennyweight.layout.emit.planned import launch_of_serving
from pennyweight.layout.serving.fleet import Pool, Serving

DEEP = {"dims": model("deepseek-v3"), "accelerator": accelerator("h200"), "offer": offer("h200")}


def test_an_engine_is_told_its_batch_its_context_and_its_precisions(tmp_path):
    launch = serving(Layout(tp=8, precision="fp8"), Serve(37, 5000, cache="fp8", utilization=0.85, prefix_cache=False))
    [words] = started("vllm", launch, tmp_path)
    assert words[2:4] == ["serve", "/w"]
    assert number(words, "--max-num-seqs") == 37
    assert number(words, "--max-model-len") == 5000
    assert value(words, "--gpu-memory-utilization") == "0.85"
    assert value(words, "--quantization") == "fp8_per_tensor"
    assert value(words, "--kv-cache-dtype") == "fp8"
    assert "--no-enable-prefix-caching" in words


def test_weights_that_the_engine_cannot_make_must_be_named():
    for precision in ("nvfp4", "int4", "int8"):
        text = emit("vllm", serving(Layout(tp=8, precision=precision)))
        assert f': "${{WEIGHTS:?a checkpoint of this model in {precision}' in text
        assert "--quantization" not in text
    [_, deployment] = yaml.safe_load_all(emit("kubernetes", serving(Layout(tp=8, precision="nvfp4"))))
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert {"name": "WEIGHTS", "value": ""} in container["env"]
    assert yaml.safe_load(emit("skypilot", serving(Layout(tp=8, precision="nvfp4"))))["envs"] == {"WEIGHTS": None}


def test_tokens_guessed_ahead_are_expressed_or_refused(tmp_path):
    [words] = started("vllm", serving(Layout(tp=8), Serve(drafts=3, draft="org/small one")), tmp_path)
    told = json.loads(value(words, "--speculative-config"))
    assert told == {"method": "draft_model", "model": "org/small one", "num_speculative_tokens": 3}
    deep = serving(Layout(tp=8, ep=8), Serve(drafts=1), **DEEP | {"dims": replace(DEEP["dims"], mtp_layers=1)})
    [words] = started("vllm", deep, tmp_path)
    assert json.loads(value(words, "--speculative-config"))["method"] == "mtp"
    assert "--enable-expert-parallel" in words
    with pytest.raises(BadInputError, match=r"no layers that guess.*To fix: name a draft model"):
        emit("vllm", serving(Layout(tp=8), Serve(drafts=3)))


def test_replicas_of_a_machine_have_devices_and_ports_of_their_own(tmp_path):
    for name in ("slurm", "vllm"):
        found = started(name, serving(Layout(tp=2, dp=4)), tmp_path)
        assert sorted(words[1] for words in found) == ["CUDA=0,1", "CUDA=2,3", "CUDA=4,5", "CUDA=6,7"]
        assert sorted(number(words, "--port") for words in found) == [8000, 8001, 8002, 8003]


def test_a_replica_on_several_machines_finds_itself(tmp_path):
    found = started("slurm", serving(Layout(tp=8, pp=2, dp=2)), tmp_path)
    assert [number(words, "--node-rank") for words in found] == [0, 1, 0, 1]
    assert [value(words, "--master-addr") for words in found] == ["host0", "host0", "host2", "host2"]
    assert ["--headless" in words for words in found] == [False, True, False, True]


def test_attention_groups_on_several_machines_find_each_other(tmp_path):
    launch = serving(Layout(tp=1, dp=16, ep=16), Serve(attention_dp=16), **DEEP)
    found = started("slurm", launch, tmp_path)
    assert [number(words, "--data-parallel-start-rank") for words in found] == [0, 8]
    assert {number(words, "--data-parallel-size-local") for words in found} == {8}
    assert {number(words, "--data-parallel-size") for words in found} == {16}


def test_what_cannot_be_served_is_a_sentence_with_the_fix():
    for launch, said in (
        (serving(Layout(tp=8, cp=2)), "Context parallelism"),
        (serving(Layout(tp=8, dp=2, ep=2)), "has no experts"),
        (serving(Layout(tp=8, dp=2, ep=4), **DEEP), "not over 4"),
        (serving(Layout(tp=8, precision="mxfp8"), Serve(cache="int4")), "keeps no keys and values in int4"),
        (serving(Layout(tp=8, offload="all")), "not offload all"),
        (serving(Layout(tp=8), Serve(engine="sglang")), "for sglang"),
        (serving(Layout(tp=8), Serve(disaggregated=True)), "one pool of servers"),
        (serving(Layout(tp=8, pp=2, dp=2), Serve(attention_dp=2)), "attention group on one machine"),
    ):
        with pytest.raises(BadInputError, match=rf"{said}.*To fix: "):
            emit("vllm", launch)


def test_what_a_deployment_or_a_service_cannot_hold_is_a_sentence_with_another_target():
    wide, small = serving(Layout(tp=8, pp=2, dp=2)), serving(Layout(tp=2, dp=4), **DEEP)
    for name, launch in (
        ("kubernetes", wide),
        ("skypilot", wide),
        ("skypilot", small),
        ("skypilot", serving(Layout(tp=2, dp=6))),
    ):
        with pytest.raises(BadInputError, match="To fix: use --emit slurm"):
            emit(name, launch)


def test_a_service_has_a_probe_replicas_and_a_port():
    task = yaml.safe_load(emit("skypilot", serving(Layout(tp=8, dp=3), spare=True)))
    assert task["service"]["replicas"] == 3
    assert task["service"]["readiness_probe"]["path"] == "/health"
    wanted = {"infra": "aws/us-east-1", "accelerators": "H100:8", "instance_type": "p5.48xlarge"}
    assert task["resources"] == wanted | {"use_spot": True, "ports": 8000}
    assert "sky serve up" in emit("skypilot", serving(Layout(tp=8, dp=3)))


def test_a_deployment_has_replicas_with_their_devices_behind_a_service():
    service, deployment = yaml.safe_load_all(emit("kubernetes", serving(Layout(tp=4, dp=3))))
    assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"]
    assert deployment["spec"]["replicas"] == 3
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert container["resources"] == {"limits": {"nvidia.com/gpu": 4}}


def test_a_planned_deployment_becomes_a_launch():
    pool = Pool(tp=1, attention_dp=8, expert_parallel=8, workers=2)
    served = Serving(
        DEEP["dims"],
        DEEP["accelerator"],
        gemm="fp8_block",
        kv="fp8",
        decode=pool,
        concurrency=100,
        prompt=1000,
        output=24,
    )
    launch = launch_of_serving(served, DEEP["offer"])
    assert (launch.replicas, launch.machines, launch.serve.requests, launch.serve.context) == (2, 2, 7, 1024)
    assert "--quantization fp8_per_block" in emit("vllm", launch)
    with pytest.raises(BadInputError, match="one precision"):
        launch_of_serving(replace(served, moe="mxfp4"))


def test_spare_nodes_of_a_cloud_are_chosen_and_those_of_others_refused():
    _, _, job = yaml.safe_load_all(emit("kubernetes", training(spare=True)))
    pod = job["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {
        "node.kubernetes.io/instance-type": "p5.48xlarge",
        "eks.amazonaws.com/capacityType": "SPOT",
    }
    assert pod["tolerations"][0]["value"] == "SPOT"
    for seller in (None, offer(cloud="lambda")):
        with pytest.raises(BadInputError, match="use --emit skypilot"):
            emit("kubernetes", training(offer=seller, spare=True))


def test_pods_that_train_find_the_first_by_its_name():
    lookup, service, job = yaml.safe_load_all(emit("kubernetes", training()))
    assert not lookup["data"]["DATA"]
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == 2
    pod = job["spec"]["template"]["spec"]
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    [address] = pod["containers"][0]["env"]
    assert address["value"] == f"{job['metadata']['name']}-0.{service['metadata']['name']}"


def test_a_task_that_trains_asks_for_what_it_needs_and_keeps_checkpoints_in_a_bucket():
    text = emit("skypilot", training(spare=True))
    task = yaml.safe_load(text)
    assert "# sky jobs launch --env BUCKET --env DATA --env LR THIS_FILE" in text
    assert task["num_nodes"] == 2
    assert task["resources"]["use_spot"] is True
    assert task["file_mounts"] == {"/checkpoints": {"source": "${BUCKET}", "mode": "MOUNT"}}


def test_devices_are_called_as_skypilot_calls_them():
    lambda_ = replace(training(offer=offer("a100-40gb", "lambda")), accelerator=accelerator("a100-40gb"))
    resources = yaml.safe_load(emit("skypilot", lambda_))["resources"]
    assert (resources["infra"], resources["accelerators"]) == ("lambda", "A100:8")
