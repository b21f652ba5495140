"""Kubernetes: a Deployment that drains before it ends, and as many replicas as are cheapest while in time."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pennyweight.layout.emit.manifest import documents
from pennyweight.serve.emitting.file import File, comment
from pennyweight.serve.emitting.image import HOME, USER, dockerfile

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pennyweight.serve.emitting.deployment import Deployment

SETTLE_S = 5
"""Until no proxy sends requests here any more, after a pod was told to end."""
GRACE_S = 30
"""From being told to end to being killed: settling, finishing what was begun, giving leases back, and some to spare."""
_LOOK_S = 15
_OVER = "2m"
_STEADY_S = 300

_ABOUT = (
    "Before kubectl apply -f {name}.yaml:",
    "  docker build -t {name} . && docker push …        then name that image below",
    "  kubectl create secret generic {name} --from-literal=store=postgresql://user:password@host/database",
    "All replicas share that database: budgets hold over all of them. What is served must be registered in it",
    "(pennyweight registry add, registry promote, tariff, and tenants add for a key, each with --store).",
)
_FOLDER = (
    "Artifacts are kept on the machine where this was written, and pods see them in the claims below: copy there",
    "what is in {folder}.",
    "None is needed for artifacts kept where pods find them: pennyweight registry add … --artifacts s3://bucket/models.",
)
_SCALE = (
    "Needs KEDA (keda.sh), and the Prometheus operator or a scrape of /metrics that you configure yourself.",
    "Metrics are told to admins: pennyweight tenants key … --role admin, then",
    "  kubectl create secret generic {name}-metrics --from-literal=key=pw_…",
    "serverAddress is where the Prometheus operator puts Prometheus; name yours.",
)


def files(of: Deployment) -> tuple[File, ...]:
    """The manifests, the autoscaler's apart because it needs what a cluster may not have, and the image."""
    core = [
        ((), _service(of)),
        (("A node is emptied one replica at a time.",), _disruption(of)),
        *(((), _claim(of, at)) for at, _ in enumerate(of.need.folders)),
        (_notes(of), _deployment(of)),
    ]
    about = [*_ABOUT, *(_FOLDER if of.need.folders else ())]
    head = [each.format(name=of.name, folder=", ".join(of.need.folders)) for each in about]
    scale = [
        (("Every pod is asked for its numbers, with an admin's key.",), _monitor(of)),
        (of.reasons(), _scaled(of)),
    ]
    asks = [each.format(name=of.name) for each in _SCALE]
    return (
        File(f"{of.name}.yaml", _joined(head, core)),
        File(f"{of.name}-autoscale.yaml", _joined(asks, scale)),
        dockerfile(of),
    )


def _joined(head: list[str], parts: Iterable[tuple[tuple[str, ...], dict[str, Any]]]) -> str:
    return comment(head) + "".join("---\n" + comment(notes) + documents([each]) for notes, each in parts)


def _notes(of: Deployment) -> tuple[str, ...]:
    return (
        f"Memory: {of.request_mib} MiB is what it holds when ready, {of.limit_mib} MiB also holds the next version",
        "while it is loaded beside this one. No limit of the processor: it would only make replies late.",
        "Once the autoscaler runs, take the line replicas out, so that another apply does not set them back.",
    )


def _object(version: str, kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/managed-by": "pennyweight"}
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": labels}, "spec": spec}


def _chosen(of: Deployment) -> dict[str, str]:
    return {"app.kubernetes.io/name": of.name}


def _service(of: Deployment) -> dict[str, Any]:
    port = {"name": "http", "port": of.port, "targetPort": "http"}
    return _object("v1", "Service", of.name, {"selector": _chosen(of), "ports": [port]})


def _disruption(of: Deployment) -> dict[str, Any]:
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": _chosen(of)}}
    return _object("policy/v1", "PodDisruptionBudget", of.name, spec)


def _claim(of: Deployment, at: int) -> dict[str, Any]:
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    return _object("v1", "PersistentVolumeClaim", f"{of.name}-artifacts-{at}", spec)


def _deployment(of: Deployment) -> dict[str, Any]:
    spec = {
        "replicas": of.size.least,
        "selector": {"matchLabels": _chosen(of)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": {"metadata": {"labels": _chosen(of)}, "spec": _pod(of)},
    }
    return _object("apps/v1", "Deployment", of.name, spec)


def _pod(of: Deployment) -> dict[str, Any]:
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": _chosen(of)},
    }
    claims = [
        {"name": f"artifacts-{at}", "persistentVolumeClaim": {"claimName": f"{of.name}-artifacts-{at}"}}
        for at, _ in enumerate(of.need.folders)
    ]
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_S,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [spread],
        "containers": [_container(of)],
        "volumes": [{"name": "home", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}, *claims],
    }


def _container(of: Deployment) -> dict[str, Any]:
    mounts = [
        {"name": f"artifacts-{at}", "mountPath": folder, "readOnly": True} for at, folder in enumerate(of.need.folders)
    ]
    memory = {"requests": {"cpu": of.size.workers, "memory": f"{of.request_mib}Mi"}}
    return {
        "name": "server",
        "image": f"{of.name}:latest",
        "args": _args(of),
        "env": _environment(of),
        "ports": [{"name": "http", "containerPort": of.port}],
        "startupProbe": _probe("ready", 2) | {"failureThreshold": 150},
        "readinessProbe": _probe("ready", 5) | {"failureThreshold": 2},
        "livenessProbe": _probe("live", 10) | {"failureThreshold": 6},
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(SETTLE_S)]}}},
        "resources": memory | {"limits": {"memory": f"{of.limit_mib}Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "home", "mountPath": HOME}, {"name": "tmp", "mountPath": "/tmp"}, *mounts],  # ruff: ignore[hardcoded-temp-file] - of its own, in the pod
    }


def _probe(path: str, every_s: int) -> dict[str, Any]:
    return {"httpGet": {"path": f"/v2/health/{path}", "port": "http"}, "periodSeconds": every_s, "timeoutSeconds": 2}


def _args(of: Deployment) -> list[str]:
    """The words of `serve`; it may be asked under the names that the Service has, and by a pod's address."""
    inside = ("", ".$(NAMESPACE)", ".$(NAMESPACE).svc", ".$(NAMESPACE).svc.cluster.local")
    under = [*(of.name + end for end in inside), "$(POD_IP)"]
    own = [each.replace("$(", "$$(") for each in of.words]
    return ["serve", *own, "--host=0.0.0.0", f"--port={of.port}", *(f"--name={each}" for each in under)]


def _environment(of: Deployment) -> list[dict[str, Any]]:
    store = {"secretKeyRef": {"name": of.name, "key": "store"}}
    found = {"NAMESPACE": "metadata.namespace", "POD_IP": "status.podIP"}
    return [
        {"name": "PENNYWEIGHT_STORE", "valueFrom": store},
        *({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in found.items()),
    ]


def _monitor(of: Deployment) -> dict[str, Any]:
    key = {"type": "Bearer", "credentials": {"name": f"{of.name}-metrics", "key": "key"}}
    end = {"port": "http", "path": "/metrics", "interval": f"{_LOOK_S}s", "authorization": key}
    spec = {"selector": {"matchLabels": _chosen(of)}, "podMetricsEndpoints": [end]}
    return _object("monitoring.coreos.com/v1", "PodMonitor", of.name, spec)


def _scaled(of: Deployment) -> dict[str, Any]:
    steady = {"scaleDown": {"stabilizationWindowSeconds": _STEADY_S}}
    spec = {
        "scaleTargetRef": {"name": of.name},
        "minReplicaCount": of.size.least,
        "maxReplicaCount": of.size.most,
        "pollingInterval": _LOOK_S,
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": steady}},
        "triggers": [_arrivals(of), _late(of)],
    }
    return _object("keda.sh/v1alpha1", "ScaledObject", of.name, spec)


def _arrivals(of: Deployment) -> dict[str, Any]:
    """Replicas = arrivals / rate."""
    query = f'sum(rate(pennyweight_requests_total{{model=~"{_models(of)}"}}[{_OVER}])) or vector(0)'
    return _trigger("arrivals", "AverageValue", query, f"{of.rate_s:.4g}")


def _late(of: Deployment) -> dict[str, Any]:
    """More of them where replies are later than planned: the plan may be wrong."""
    inner = f'sum by (le) (rate(pennyweight_reply_seconds_bucket{{pod=~"{of.name}-.*"}}[{_OVER}]))'
    return _trigger("p99", "Value", f"histogram_quantile(0.99, {inner}) > 0 or vector(0)", f"{of.capacity.slo_s:.4g}")


def _trigger(name: str, kind: str, query: str, threshold: str) -> dict[str, Any]:
    """A trigger of KEDA; the address is that of the Prometheus operator's own service."""
    facts = {"serverAddress": "http://prometheus-operated.monitoring:9090", "query": query, "threshold": threshold}
    return {"type": "prometheus", "name": name, "metricType": kind, "metadata": facts}


def _models(of: Deployment) -> str:
    """The models' names as a regular expression of Prometheus, in a text of its own."""
    names = dict.fromkeys(each.partition("@")[0] for each in of.models)
    return "|".join(re.sub(r"[^A-Za-z0-9_-]", lambda found: f"[{_safe(found[0])}]", name) for name in names)


def _safe(character: str) -> str:
    return character if character == "." else "?"
