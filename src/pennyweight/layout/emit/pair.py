"""Two pools of `vllm serve`, one that reads prompts and one that answers, as a bash program for each machine.

Keys and values move through vLLM's NixlConnector, whose roles a router in front decides.
"""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

from pennyweight.errors import BadInputError
from pennyweight.layout.emit import engine
from pennyweight.layout.emit.shell import array, needed

if TYPE_CHECKING:
    from pennyweight.layout.emit.launch import Launch

_PORTS = {"prefill": engine.PORT, "decode": engine.PORT + 100}
_ROLES = {"prefill": "kv_producer", "decode": "kv_consumer"}
_VARIABLES = {"prefill": "PREFILLS", "decode": "DECODES"}
_SIDE_PORT, _ROUTER_PORT = 5600, 8192
_ROUTER = "tests/v1/kv_connector/nixl_integration/toy_proxy_server.py"


def program(launch: Launch) -> list[str]:
    """Lines of bash that start the instances of both pools that one machine has; see `engine.options_of` for errors."""
    pools = _pools(launch)
    lines = [*_about(pools), "set -euo pipefail", needed("HOST", "the address at which other machines reach this one")]
    lines += [_count(name, pools) for name in pools]
    lines += engine.settings(launch)
    for name, pool in pools.items():
        moved = {"kv_connector": "NixlConnector", "kv_role": _ROLES[name], "kv_load_failure_policy": "fail"}
        options = [*engine.options_of(pool), ("--served-model-name", launch.model)]
        lines += array(name, [*options, ("--kv-transfer-config", json.dumps(moved))])
    lines += _START
    lines += [_start(name, pools[name]) for name in sorted(pools, key=lambda each: -pools[each].group)]
    return [*lines, *engine.ENDING]


# start: how many, devices of each, the first port, its options, ports that each takes for talking to the other pool
_START = [
    f"device=0 side={_SIDE_PORT}",
    "start() {",
    '  local -n words="$4"',
    "  for (( each = 0; each < $1; each++ )); do",
    '    CUDA_VISIBLE_DEVICES="$(seq -s, "$device" "$(( device + $2 - 1 ))")" \\',
    '    VLLM_NIXL_SIDE_CHANNEL_HOST="$HOST" VLLM_NIXL_SIDE_CHANNEL_PORT="$side" \\',
    '      vllm serve "$WEIGHTS" "${words[@]}" --port "$(( $3 + each ))" &',
    "    device=$(( device + $2 )) side=$(( side + $5 ))",
    "  done",
    "}",
]


def _start(name: str, pool: Launch) -> str:
    return f'start "${_VARIABLES[name]}" {pool.group} {_PORTS[name]} {name} {pool.serve.attention_dp}'


def _pools(launch: Launch) -> dict[str, Launch]:
    if launch.reads is None:
        raise BadInputError("This plan has one pool of servers.", "use a target that starts one pool.")
    pools = {"prefill": launch.reads, "decode": launch}
    for name, pool in pools.items():
        if pool.group_machines > 1:
            raise BadInputError(
                f"An instance of the {name} pool fills {pool.group_machines} machines, and this starts no parts.",
                "plan instances that fit on a machine.",
            )
    return pools


def _count(name: str, pools: dict[str, Launch]) -> str:
    """A line that says how many instances of a pool this machine has: asked for, unless all fit on one."""
    variable, decode = _VARIABLES[name], pools["decode"]
    devices = sum(pool.group * pool.replicas for pool in pools.values())
    alike = pools["prefill"].accelerator == decode.accelerator
    if alike and devices <= decode.node_devices:
        return f'{variable}="${{{variable}:-{pools[name].replicas}}}"'
    return needed(variable, f"how many of the {pools[name].replicas} {name} instances this machine starts, or 0")


def _about(pools: dict[str, Launch]) -> list[str]:
    name = shlex.quote(pools["decode"].model)
    lines = [f"# serve {name} with two pools: run it on each machine"]
    for pool, launch in pools.items():
        what = f"{launch.replicas} instance(s) of {launch.group} {launch.accelerator.name}"
        where = ""
        if launch.offer is not None:
            offer, spare = launch.offer, ", spare" * launch.spare
            where = ", planned for " + shlex.quote(f"{offer.cloud} {offer.instance}, {offer.region}{spare}")
        lines.append(f"# {pool}: {what}, ports from {_PORTS[pool]}{where}")
    return [
        *lines,
        "# then once, in a checkout of vLLM; all machines need NIXL (of AMD: RIXL) and one version of vLLM:",
        f"#   python {_ROUTER} --port {_ROUTER_PORT} \\",
        f"#     --prefiller-hosts HOST ... --prefiller-ports {_PORTS['prefill']} ... \\",
        f"#     --decoder-hosts HOST ... --decoder-ports {_PORTS['decode']} ...",
        "# that is vLLM's example of a router; NVIDIA Dynamo and llm-d bring others",
    ]
