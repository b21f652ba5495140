"""Ray Serve: a Python file whose application is this server, replicated over a cluster of Ray's."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pennyweight.serve.emitting.file import File, comment

if TYPE_CHECKING:
    from pennyweight.serve.emitting.deployment import Deployment

_ABOUT = (
    'pip install "pennyweight[{extras}]" "ray[serve]"    on every node',
    "PENNYWEIGHT_STORE=postgresql://user@host/database PGPASSWORD=… serve run {module}:app",
    "Every replica opens that store: budgets hold over all of them, and what an alias stands for is followed.",
    "Without a key (pennyweight tenants add) none starts, for Ray answers whoever reaches it; the names that it is",
    "asked under are those of --name, in hosts below.",
)
_BODY = '''
from pennyweight.serve.hosted import Hosted
from pennyweight.serve.place import Place, Watch
from ray import serve

# Requests under way in one replica at once, by Little's law: rate * seconds. The target keeps it as full as the
# objective allows; what is beyond the most waits at the proxy.
TARGET, MOST = {target}, {most}


def server():
    """The server's own application; a replica opens the store when it begins, and gives its leases back at its end."""
    place = Place(
        models={models},
        host="0.0.0.0",
        port={port},
        hosts={hosts},
        uncertified={uncertified},
        watch={watch},
        api={api},
        otel={otel},
    )
    return Hosted(place)


@serve.deployment(
    name={name},
    ray_actor_options={{"num_cpus": 1, "memory": {memory}}},
    max_ongoing_requests=MOST,
    autoscaling_config={{
        "min_replicas": {at_least},
        "max_replicas": {at_most},
        "target_ongoing_requests": TARGET,
        "downscale_delay_s": 300,
    }},
    graceful_shutdown_timeout_s=20,
)
@serve.ingress(server)
class Server:
    """One replica."""


app = Server.bind()
'''


def files(of: Deployment) -> tuple[File, ...]:
    """The application; a replica is one process, so what would be workers are further replicas."""
    module = of.name.replace("-", "_")
    rate_s, count = of.capacity.rate_s, of.size.workers
    target = of.capacity.ongoing(rate_s)
    facts = {
        "target": f"{target:.4g}",
        "most": max(math.ceil(2 * target), math.ceil(rate_s * of.capacity.slo_s)),
        "models": ascii(of.models),
        "port": of.port,
        "hosts": ascii(of.hosts),
        "uncertified": of.uncertified,
        "watch": of.watch,
        "api": ascii(of.api),
        "otel": of.otel,
        "name": ascii(of.name),
        "memory": of.limit_mib // count * 2**20,
        "at_least": of.size.least * count,
        "at_most": of.size.most * count,
    }
    head = [each.format(extras=",".join(("serve", *of.need.extras)), module=module) for each in _ABOUT]
    return (File(f"{module}.py", comment([*head, "", *of.reasons()]) + _BODY.format(**facts)),)
