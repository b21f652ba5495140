"""A training launch as a bash program: torchrun of Megatron-LM's `pretrain_gpt.py` with the layout's arguments."""

from __future__ import annotations

from itertools import starmap
from typing import TYPE_CHECKING

from pennyweight.errors import BadInputError
from pennyweight.layout.emit.megatron_model import model_options
from pennyweight.layout.emit.shell import Raw, array, command, indented, line, needed

if TYPE_CHECKING:
    from pennyweight.layout.emit.launch import Launch
    from pennyweight.layout.emit.shell import Option

PORT = 29500
SETTINGS = {
    "MEGATRON": "the folder of a Megatron-LM checkout",
    "DATA": "the prefix of data that its tools/preprocess_data.py made; or mock, to only time steps",
    "CHECKPOINTS": "a folder that every machine sees",
    "LR": "the highest learning rate, such as 3e-4",
}
"""What a plan cannot know: variables that the one who launches must set."""
_PRECISIONS: dict[str, list[Option]] = {
    "fp32": [],
    "fp16": [("--fp16",)],
    "bf16": [("--bf16",)],
    "fp8": [("--bf16",), ("--fp8-format", "hybrid"), ("--fp8-recipe", "tensorwise")],
    "mxfp8": [("--bf16",), ("--fp8-format", "e4m3"), ("--fp8-recipe", "mxfp8")],
    "nvfp4": [("--bf16",), ("--fp4-format", "e2m1"), ("--fp4-recipe", "nvfp4")],
}
_RECOMPUTES: dict[str, list[Option]] = {
    "none": [],
    "selective": [("--recompute-granularity", "selective")],
    "full": [("--recompute-granularity", "full"), ("--recompute-method", "uniform"), ("--recompute-num-layers", 1)],
}
_FSDP: list[Option] = [
    ("--use-megatron-fsdp",),
    ("--use-distributed-optimizer",),
    ("--init-model-with-meta-device",),
    ("--no-gradient-accumulation-fusion",),
    ("--ckpt-format", "fsdp_dtensor"),
]
_SHARDED: dict[int, list[Option]] = {
    0: [("--overlap-grad-reduce",), ("--ckpt-format", "torch_dist")],
    1: [
        ("--use-distributed-optimizer",),
        ("--overlap-grad-reduce",),
        ("--overlap-param-gather",),
        ("--ckpt-format", "torch_dist"),
    ],
    2: [*_FSDP, ("--data-parallel-sharding-strategy", "optim_grads")],
    3: [*_FSDP, ("--data-parallel-sharding-strategy", "optim_grads_params")],
}


def program(launch: Launch) -> list[str]:
    """Lines of bash that train; machines find each other by NODE_RANK, MASTER_ADDR and MASTER_PORT.

    Raises `BadInputError` for what Megatron-LM cannot do.
    """
    options = [
        *model_options(launch.dims, launch.train.sequence),
        *layout_options(launch),
        *_batches(launch),
        *_optimizer(),
    ]
    one = launch.machines == 1
    rendezvous: list[Option] = [
        ("--nnodes", launch.machines),
        ("--nproc-per-node", launch.machine_devices),
        ("--node-rank", Raw('"${NODE_RANK:-0}"' if one else '"$NODE_RANK"')),
        ("--master-addr", Raw('"${MASTER_ADDR:-localhost}"' if one else '"$MASTER_ADDR"')),
        ("--master-port", Raw(f'"${{MASTER_PORT:-{PORT}}}"')),
        (Raw('"$MEGATRON/pretrain_gpt.py"'),),
        (Raw('"${arguments[@]}"'), Raw('"${data[@]}"')),
    ]
    return [
        *starmap(needed, SETTINGS.items()),
        *_exports(launch),
        *_data(launch),
        *array("arguments", options),
        *command(["torchrun"], rendezvous),
    ]


def layout_options(launch: Launch) -> list[Option]:
    """Degrees of parallelism, what is sharded, computed again and kept by the host, and the precision."""
    layout = launch.layout
    _check(launch)
    options: list[Option] = [
        ("--tensor-model-parallel-size", layout.tp),
        ("--pipeline-model-parallel-size", layout.pp),
        ("--context-parallel-size", layout.cp),
    ]
    if launch.dims.experts:
        own = 1 if layout.ep > 1 else layout.tp  # experts are split over ep whole devices, or like everything else
        options += [("--expert-model-parallel-size", layout.ep), ("--expert-tensor-parallel-size", own)]
    if layout.sequence_parallel:
        options.append(("--sequence-parallel",))
    options += _stages(launch)
    if layout.offload == "optimizer":
        options += [("--optimizer-cpu-offload",), ("--use-precision-aware-optimizer",)]
    return [*options, *_SHARDED[layout.zero], *_RECOMPUTES[layout.recompute], *_PRECISIONS[layout.precision]]


def _stages(launch: Launch) -> list[Option]:
    """Virtual stages; where layers do not fill the stages evenly, which stage has how many, the first ones more."""
    layers, pp, chunks = launch.dims.layers, launch.layout.pp, launch.layout.chunks
    stages = pp * chunks
    if layers % stages:
        counts = [layers // stages + (at < layers % stages) for at in range(stages)]
        shape = [f"t*{count}" for count in counts]
        return [("--pipeline-model-parallel-layout", "|".join(["E," + shape[0], *shape[1:-1], shape[-1] + ",L"]))]
    return [("--num-virtual-stages-per-pipeline-rank", chunks)] if chunks > 1 else []


def _batches(launch: Launch) -> list[Option]:
    train = launch.train
    return [
        ("--seq-length", train.sequence),
        ("--micro-batch-size", launch.layout.micro_batch),
        ("--global-batch-size", train.global_batch),
        ("--train-samples", train.samples),
        ("--save-interval", train.checkpoint_steps),
        ("--save", Raw('"$CHECKPOINTS"')),
        ("--load", Raw('"$CHECKPOINTS"')),
        ("--eval-iters", 0),
        ("--log-interval", 1),
        ("--log-throughput",),
    ]


def _optimizer() -> list[Option]:
    return [
        ("--optimizer", "adam"),
        ("--adam-beta1", 0.9),
        ("--adam-beta2", 0.95),
        ("--weight-decay", 0.1),
        ("--clip-grad", 1.0),
        ("--lr", Raw('"$LR"')),
        ("--min-lr", 0),
        ("--lr-decay-style", "cosine"),
        ("--lr-warmup-fraction", 0.01),
        ("--rotary-base", Raw('"${ROTARY_BASE:-10000}"')),
        ("--transformer-impl", "transformer_engine"),
        ("--distributed-backend", "nccl"),
    ]


def _exports(launch: Launch) -> list[str]:
    """Before Blackwell, products split over devices overlap only on a single queue; sharded weights need several."""
    layout = launch.layout
    split = layout.tp > 1 or layout.cp > 1
    if split and layout.zero < 2 and "fp4" not in launch.accelerator.flop_s:
        return ["export CUDA_DEVICE_MAX_CONNECTIONS=1"]
    return []


def _data(launch: Launch) -> list[str]:
    mock: list[Option] = [("--mock-data",), ("--tokenizer-type", "NullTokenizer"), ("--vocab-size", launch.dims.vocab)]
    real: list[Option] = [
        ("--data-path", Raw('"$DATA"')),
        ("--tokenizer-type", "HuggingFaceTokenizer"),
        ("--tokenizer-model", Raw('"${TOKENIZER:-$model}"')),
    ]
    head = [f"model={line([launch.model])}", 'if [[ "$DATA" == mock ]]; then']
    return [*head, *indented(array("data", mock)), "else", *indented(array("data", real)), "fi"]


def _check(launch: Launch) -> None:
    layout, train = launch.layout, launch.train
    if layout.precision not in _PRECISIONS:
        raise BadInputError(
            f"Megatron-LM does not train in {layout.precision}.", f"plan in one of: {', '.join(_PRECISIONS)}."
        )
    if layout.offload == "all":
        raise BadInputError(
            "Megatron-LM moves optimiser state to the host, not weights and gradients.",
            "plan with offload optimizer, or more devices.",
        )
    if train.global_batch % (layout.dp * layout.micro_batch):
        raise BadInputError(
            f"A batch of {train.global_batch} sequences is no whole number of micro-batches of {layout.micro_batch} on "
            f"{layout.dp} replicas.",
            "give a global batch that is a multiple of replicas · micro-batch.",
        )
    if launch.dims.experts and layout.tp > 1 and not layout.sequence_parallel:
        raise BadInputError(
            "Megatron-LM trains experts with tensor parallelism only in sequence parallelism.",
            "plan with sequence parallelism, or tp 1.",
        )
    if launch.dims.experts and launch.dims.ffn_bias and layout.tp > 1 and layout.ep == 1:
        raise BadInputError(
            f"Megatron-LM does not split experts that have biases, as those of {launch.dims.name}.",
            "plan with ep above 1, or tp 1.",
        )
    if layout.ep > 1 and not launch.dims.experts:
        raise BadInputError(f"{launch.dims.name} has no experts to spread over {layout.ep} devices.", "plan with ep 1.")
