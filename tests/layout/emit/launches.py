"""Launches for tests, and what a launch file really starts: it is run beside programs that write down their words."""

import os
import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import yaml

from pennyweight.catalog.accelerators import accelerator
from pennyweight.catalog.models import model
from pennyweight.catalog.offers import offers
from pennyweight.core.layout import Layout
from pennyweight.layout.emit import Launch, Serve, Train, emit

SETTINGS = {"MEGATRON": "/megatron lm", "DATA": "/data/my text", "CHECKPOINTS": "/kept", "LR": "3e-4", "WEIGHTS": "/w"}
# What each program that is started leaves: its words, in a file named by the moment.
_RECORDER = r"""#!/usr/bin/env bash
printf '%s\0' {name} "CUDA=${{CUDA_VISIBLE_DEVICES:-}}" "$@" > "$RECORD/$(date +%s%N)-$$"
sleep "$SLOW"
"""
# What srun does: every task of every machine runs the command that follows the options.
_SRUN = """#!/usr/bin/env bash
while [[ "$1" == --* ]]; do shift; done
for (( node = 0; node < NODES; node++ )); do
  for (( task = 0; task < TASKS; task++ )); do SLURM_NODEID=$node SLURM_LOCALID=$task "$@" || exit 1; done
done
"""


def offer(name="h100", cloud="aws", devices=8):
    return next(each for each in offers(name, cloud=cloud) if each.devices == devices)


def training(layout=None, **more):
    layout = layout or Layout(tp=2, pp=2, dp=4, zero=1, sequence_parallel=True)
    train = Train(2e9, 4096, 64, 100)
    return Launch(model("llama-3-8b"), layout, train, accelerator("h100"), 8, **({"offer": offer()} | more))


def serving(layout=None, serve=None, **more):
    facts = {"dims": model("qwen3-32b"), "accelerator": accelerator("h100"), "node_devices": 8, "offer": offer()}
    return Launch(layout=layout or Layout(tp=8, dp=2), work=serve or Serve(64, 4096), **(facts | more))


def named(launch, name):
    return replace(launch, model=name)


def bash(*words, **more):
    return subprocess.run([shutil.which("bash"), *words], **more, capture_output=True, text=True, check=False)


def started(target, launch, tmp_path):
    """The command lines that a launch file starts in the end, on every machine: lists of words."""
    scripts, machines = _scripts(target, emit(target, launch)), launch.machines
    path, record = _programs(tmp_path), Path(tempfile.mkdtemp(dir=tmp_path))
    hosts = "\n".join(f"host{number}" for number in range(machines))
    tasks = launch.machine_groups if target == "slurm" else 1
    facts = {**SETTINGS, "NODES": machines, "TASKS": tasks, "SLURM_JOB_NODELIST": hosts, "SKYPILOT_NODE_IPS": hosts}
    facts |= {"RECORD": record, "HOME": tmp_path, "MASTER_ADDR": "host0", "PATH": f"{path}:{os.environ['PATH']}"}
    one = target == "slurm" or (target == "kubernetes" and launch.kind == "serve")
    for node in range(1 if one else machines):
        facts |= dict.fromkeys(
            ("NODE_RANK", "JOB_COMPLETION_INDEX", "SKYPILOT_NODE_RANK"), node % launch.group_machines
        )
        for script in scripts:
            beside = "wait -n" in script  # programs beside each other end each other, so they must first have begun
            env = {name: str(fact) for name, fact in facts.items()} | {"SLOW": "0.3" if beside else "0"}
            done = bash("-c", script, env=env)
            assert done.returncode == 1 if beside else done.returncode == 0, done.stderr
    return [file.read_bytes().decode().split("\0")[:-1] for file in sorted(record.iterdir())]


def _scripts(target, text):
    if target == "kubernetes":
        *_, last = yaml.safe_load_all(text)
        [container] = last["spec"]["template"]["spec"]["containers"]
        return [container["command"][2]] * last["spec"].get("replicas", 1)
    return [yaml.safe_load(text)["run"] if target == "skypilot" else text]


def _programs(tmp_path):
    folder = tmp_path / "programs"
    folder.mkdir(exist_ok=True)
    programs = {name: _RECORDER.format(name=name) for name in ("torchrun", "vllm")}
    programs |= {"srun": _SRUN, "scontrol": '#!/usr/bin/env bash\nprintf "%s\\n" "$SLURM_JOB_NODELIST"\n'}
    for name, text in programs.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


def value(words, option):
    """The word after an option, which is there once."""
    assert words.count(option) == 1, option
    return words[words.index(option) + 1]


def number(words, option):
    return int(value(words, option))
