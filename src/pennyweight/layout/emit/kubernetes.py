"""Kubernetes manifests: an indexed Job whose pods find each other while training, a Deployment while serving."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, final

from pennyweight.errors import BadInputError
from pennyweight.layout.emit import engine, megatron
from pennyweight.layout.emit.launch import KINDS
from pennyweight.layout.emit.manifest import documents
from pennyweight.layout.emit.shell import about
from pennyweight.layout.emit.target import Target

if TYPE_CHECKING:
    from pennyweight.layout.emit.launch import Launch

_RESOURCES = {"nvidia": "nvidia.com/gpu", "amd": "amd.com/gpu"}
# The label of nodes that may be taken away, by whose Kubernetes service it is.
_SPARE = {
    "aws": ("eks.amazonaws.com/capacityType", "SPOT"),
    "azure": ("kubernetes.azure.com/scalesetpriority", "spot"),
    "gcp": ("cloud.google.com/gke-spot", "true"),
}
_IMAGES = {"nvidia": "vllm/vllm-openai:latest", "amd": "vllm/vllm-openai-rocm:latest"}
_RESTARTS = 10000
_STARTUP_S, _PERIOD_S = 3600, 10


@final
class Kubernetes(Target):
    """kubectl apply: everything that runs, with settings to fill in where a plan cannot know them."""

    kinds: ClassVar[tuple[str, ...]] = KINDS
    suffix: ClassVar[str] = ".yaml"

    def text(self, launch: Launch) -> str:
        """The manifests; see `Target.text`."""
        train = launch.kind == "train"
        notes = _TRAIN_NOTES if train else _SERVE_NOTES
        parts = _training(launch) if train else _serving(launch)
        return "\n".join([*about(launch), *notes, documents(parts)])


_TRAIN_NOTES = (
    "# Before you apply it: fill in the ConfigMap, name an image with Megatron-LM in MEGATRON,",
    "# and make a claim of that name for a volume that all pods may write.",
)
_SERVE_NOTES = ("# The secret huggingface, if there is one, has a token that may read the weights.",)


def _training(launch: Launch) -> list[dict[str, Any]]:
    name = launch.slug
    settings = {"MEGATRON": "/opt/megatron-lm", "DATA": "", "CHECKPOINTS": f"/data/{name}", "LR": ""}
    lines = ["set -euo pipefail", 'export NODE_RANK="$JOB_COMPLETION_INDEX"', *megatron.program(launch)]
    container = {
        **_container(launch, lines, launch.image or "megatron-lm:latest"),
        "envFrom": [{"configMapRef": {"name": name}}],
        "env": [{"name": "MASTER_ADDR", "value": f"{name}-0.{name}"}],
    }
    container["volumeMounts"] = [*container["volumeMounts"], {"name": "data", "mountPath": "/data"}]
    pod = _pod(launch, container)
    pod["volumes"] = [*pod["volumes"], {"name": "data", "persistentVolumeClaim": {"claimName": name}}]
    spec = {
        "completionMode": "Indexed",
        "completions": launch.machines,
        "parallelism": launch.machines,
        "backoffLimit": _RESTARTS,
        "template": {"spec": {"subdomain": name, "restartPolicy": "OnFailure", **pod}},
    }
    lookup = {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": {"job-name": name}}
    return [
        _object("v1", "ConfigMap", name) | {"data": settings},
        _object("v1", "Service", name) | {"spec": lookup},
        _object("batch/v1", "Job", name) | {"spec": spec},
    ]


def _serving(launch: Launch) -> list[dict[str, Any]]:
    if launch.group_machines > 1:
        raise BadInputError(
            f"A Deployment keeps a replica on one machine, and {launch.group} devices are {launch.group_machines}.",
            "use --emit slurm or vllm, or plan replicas that fit on a machine.",
        )
    name, port = launch.slug, {"name": "http", "containerPort": engine.PORT}
    token = {"secretKeyRef": {"name": "huggingface", "key": "token", "optional": True}}
    weights = [{"name": "WEIGHTS", "value": ""}] if _asks(launch) else []
    health = {"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": _PERIOD_S}
    container = {
        **_container(
            launch, ["set -euo pipefail", *engine.program(launch)], launch.image or _IMAGES[launch.accelerator.vendor]
        ),
        "ports": [port],
        "env": [{"name": "HF_TOKEN", "valueFrom": token}, *weights],
        "startupProbe": health | {"failureThreshold": _STARTUP_S // _PERIOD_S},
        "readinessProbe": health,
    }
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": _pod(launch, container)}
    spec = {"replicas": launch.replicas, "selector": {"matchLabels": labels}, "template": template}
    front = {"selector": labels, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}
    return [_object("v1", "Service", name) | {"spec": front}, _object("apps/v1", "Deployment", name) | {"spec": spec}]


def _asks(launch: Launch) -> bool:
    """Whether weights must be named, see `engine.settings`."""
    return engine.settings(launch)[0].startswith(":")


def _object(version: str, kind: str, name: str) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}}


def _container(launch: Launch, lines: list[str], image: str) -> dict[str, Any]:
    return {
        "name": launch.kind,
        "image": image,
        "command": ["bash", "-c", "\n".join(lines) + "\n"],
        "resources": {"limits": {_RESOURCES[launch.accelerator.vendor]: launch.machine_devices}},
        "volumeMounts": [{"name": "shared-memory", "mountPath": "/dev/shm"}],  # ruff: ignore[hardcoded-temp-file] - where NCCL looks
    }


def _pod(launch: Launch, container: dict[str, Any]) -> dict[str, Any]:
    return {
        **_nodes(launch),
        "containers": [container],
        "volumes": [{"name": "shared-memory", "emptyDir": {"medium": "Memory"}}],
    }


def _nodes(launch: Launch) -> dict[str, Any]:
    """On which nodes: those of the offer, spare ones where it is planned so."""
    offer = launch.offer
    if offer is None or offer.cloud not in _SPARE:
        if launch.spare:
            seller = offer.cloud if offer else "your own"
            raise BadInputError(
                f"Which nodes of {seller} are spare is not known.",
                "use --emit skypilot, or plan without spare machines.",
            )
        return {}
    wanted = {"node.kubernetes.io/instance-type": offer.instance}
    if not launch.spare:
        return {"nodeSelector": wanted}
    label, value = _SPARE[offer.cloud]
    taint = {"key": label, "operator": "Equal", "value": value, "effect": "NoSchedule"}
    return {"nodeSelector": wanted | {label: value}, "tolerations": [taint]}
