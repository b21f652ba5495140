"""A serving launch as the words of `vllm serve`, and as bash programs that start it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pennyweight.errors import BadInputError
from pennyweight.layout.emit.shell import Raw, array, command, line, needed

if TYPE_CHECKING:
    from pennyweight.layout.emit.launch import Launch
    from pennyweight.layout.emit.shell import Option

PORT = 8000
MASTER_PORT = 29500
ENDING = (
    "wait -n || true  # one that ends ends them all",
    "kill $(jobs -p) 2> /dev/null || true",
    "exit 1",
)
_DTYPES = {"fp32": "float32", "fp16": "float16"}
# Weights in 16 bits are turned into these while they are loaded; other precisions need a checkpoint that is in them.
_ONLINE = {"fp8": "fp8_per_tensor", "fp8_block": "fp8_per_block", "mxfp8": "mxfp8", "mxfp4": "mxfp4"}
_READY = ("nvfp4", "int8", "int4")
_CACHES = {"bf16": "auto", "fp16": "auto", "fp32": "auto", "fp8": "fp8", "fp8_e4m3": "fp8_e4m3", "fp8_e5m2": "fp8_e5m2"}


def options_of(launch: Launch, *, groups: int = 1) -> list[Option]:
    """The options of `vllm serve` of one replica, or of so many `groups` of them behind one address.

    Raises `BadInputError` for what vLLM, or one command of it, cannot do.
    """
    _check(launch)
    layout, serve, weights = launch.layout, launch.serve, _weights(launch)
    options: list[Option] = [
        ("--tensor-parallel-size", layout.tp),
        ("--pipeline-parallel-size", layout.pp),
        ("--data-parallel-size", serve.attention_dp * groups),
        ("--max-num-seqs", serve.requests),
        ("--max-model-len", serve.context),
        ("--gpu-memory-utilization", serve.utilization),
        ("--dtype", _DTYPES.get(weights, "bfloat16")),
        ("--kv-cache-dtype", _CACHES[serve.cache]),
        ("--enable-prefix-caching" if serve.prefix_cache else "--no-enable-prefix-caching",),
    ]
    if weights in _ONLINE:
        options.append(("--quantization", _ONLINE[weights]))
    if layout.ep > 1:
        options.append(("--enable-expert-parallel",))
    if serve.drafts:
        options.append(("--speculative-config", json.dumps(_speculation(launch))))
    return options


def settings(launch: Launch) -> list[str]:
    """Lines that name the weights; weights in a precision that vLLM does not make must be given."""
    weights = _weights(launch)
    if weights in _READY:
        return [needed("WEIGHTS", f"a checkpoint of this model in {weights}, which vLLM does not make while it loads")]
    return [f"model={line([launch.model])}", 'WEIGHTS="${WEIGHTS:-$model}"']


def program(launch: Launch, *, groups: int = 1) -> list[str]:
    """Lines of bash that start one replica, on one machine or as this machine's part (NODE_RANK) of several."""
    options = [
        *options_of(launch, groups=groups),
        ("--served-model-name", launch.model),
        ("--port", Raw(f'"${{PORT:-{PORT}}}"')),
    ]
    if launch.group_machines == 1:
        return [*settings(launch), *command(_SERVE, options)]
    found = _spread_groups(launch) if launch.serve.attention_dp > 1 else _spread_stages(launch)
    headless = "if (( NODE_RANK > 0 )); then headless=(--headless); fi"
    end: Option = (Raw('"${headless[@]}"'),)
    return [*settings(launch), "headless=()", headless, *command(_SERVE, [*options, *found, end])]


def own_devices(launch: Launch, number: str) -> str:
    """A bash expression of CUDA_VISIBLE_DEVICES: the devices of that replica of a machine which a variable numbers."""
    first = f"{number} * {launch.group}"
    return f'"$(seq -s, "$(( {first} ))" "$(( {first} + {launch.group - 1} ))")"'


def several(launch: Launch) -> list[str]:
    """Lines of bash that start all replicas of one machine, each on devices and a port of its own."""
    options = [*options_of(launch), ("--served-model-name", launch.model)]
    start = [
        *array("options", options),
        f"for (( replica = 0; replica < ${{REPLICAS:-{launch.machine_groups}}}; replica++ )); do",
        f"  CUDA_VISIBLE_DEVICES={own_devices(launch, 'replica')} \\",
        f'    vllm serve "$WEIGHTS" "${{options[@]}}" --port "$(( ${{PORT:-{PORT}}} + replica ))" &',
        "done",
        *ENDING,
    ]
    return [*settings(launch), *start]


def _spread_stages(launch: Launch) -> list[Option]:
    """How one copy of the model finds its parts on several machines."""
    return [
        ("--nnodes", launch.group_machines),
        ("--node-rank", Raw('"$NODE_RANK"')),
        ("--master-addr", Raw('"$MASTER_ADDR"')),
        ("--master-port", Raw(f'"${{MASTER_PORT:-{MASTER_PORT}}}"')),
    ]


def _spread_groups(launch: Launch) -> list[Option]:
    """How attention groups of a replica find each other, so many of them whole on each machine."""
    each = launch.layout.tp * launch.layout.pp
    if launch.machine_devices % each:
        raise BadInputError(
            f"vLLM keeps an attention group on one machine, and {each} devices of tp · pp do not fit on "
            f"{launch.machine_devices}.",
            "plan with a smaller tp · pp, or without attention_dp.",
        )
    here = launch.machine_devices // each
    return [
        ("--data-parallel-size-local", here),
        ("--data-parallel-start-rank", Raw(f'"$(( NODE_RANK * {here} ))"')),
        ("--data-parallel-address", Raw('"$MASTER_ADDR"')),
        ("--data-parallel-rpc-port", Raw(f'"${{MASTER_PORT:-{MASTER_PORT}}}"')),
    ]


_SERVE = ("exec", "vllm", "serve", Raw('"$WEIGHTS"'))


def _weights(launch: Launch) -> str:
    return launch.serve.weights or launch.layout.precision


def _speculation(launch: Launch) -> dict[str, str | int]:
    serve = launch.serve
    if serve.draft:
        return {"method": "draft_model", "model": serve.draft, "num_speculative_tokens": serve.drafts}
    if launch.dims.mtp_layers:
        return {"method": "mtp", "num_speculative_tokens": serve.drafts}
    raise BadInputError(
        f"{launch.dims.name} has no layers that guess tokens ahead, and no model that does is named.",
        "name a draft model, or plan without drafts.",
    )


def _check(launch: Launch) -> None:
    serve, weights = launch.serve, _weights(launch)
    known = ("bf16", *_DTYPES, *_ONLINE, *_READY)
    if weights not in known:
        raise BadInputError(f"vLLM does not serve in {weights}.", f"plan in one of: {', '.join(known)}.")
    if serve.cache not in _CACHES:
        raise BadInputError(
            f"vLLM keeps no keys and values in {serve.cache}.", f"plan with a cache in one of: {', '.join(_CACHES)}."
        )
    if serve.engine != "vllm":
        raise BadInputError(f"This plan is for {serve.engine}; launch files start vLLM.", "plan with --engine vllm.")
    if serve.disaggregated:
        raise BadInputError(
            "Launch files start one pool of servers, and this plan has one for prompts and one for answers.",
            "plan without disaggregation.",
        )
    _check_layout(launch)


def _check_layout(launch: Launch) -> None:
    layout, whole = launch.layout, launch.layout.tp * launch.serve.attention_dp
    if layout.cp > 1:
        raise BadInputError("Context parallelism while serving is not expressed in launch files.", "plan with cp 1.")
    if layout.ep > 1 and not launch.dims.experts:
        raise BadInputError(f"{launch.dims.name} has no experts to spread over {layout.ep} devices.", "plan with ep 1.")
    if layout.ep not in {1, whole}:
        raise BadInputError(
            f"vLLM spreads experts over all {whole} devices of tp · attention_dp or over none, not over {layout.ep}.",
            f"plan with ep 1 or {whole}.",
        )
    if layout.offload != "none":
        raise BadInputError(
            f"These servers keep all on devices, not offload {layout.offload}.", "plan with offload none."
        )
