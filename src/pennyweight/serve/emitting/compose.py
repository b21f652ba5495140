"""Docker Compose: PostgreSQL and the server on one machine, each restarted when it fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pennyweight.layout.emit.manifest import documents
from pennyweight.serve.emitting.file import File, comment
from pennyweight.serve.emitting.image import HOME, dockerfile

if TYPE_CHECKING:
    from pennyweight.serve.emitting.deployment import Deployment

_DRAIN_S = 20
_ABOUT = (
    "In a file .env beside this one: POSTGRES_PASSWORD=…   (openssl rand -hex 24)",
    "  docker compose up -d --build postgres",
    "  export PGPASSWORD=… PENNYWEIGHT_STORE=postgresql://pennyweight@127.0.0.1/pennyweight",
    "  pennyweight registry add …; pennyweight registry promote …; pennyweight tariff …; pennyweight tenants add …",
    "  docker compose up -d --build",
    "The server waits, restarting, until there are a model, a price and a key.",
)


def files(of: Deployment) -> tuple[File, ...]:
    """The services and the image."""
    facts: dict[str, Any] = {
        "name": of.name,
        "services": {"postgres": _postgres(), "server": _server(of)},
        "volumes": {"data": {}, "home": {}},
    }
    head = comment([*_ABOUT, "", *of.reasons()])
    return File("compose.yaml", head + documents([facts])), dockerfile(of)


def _postgres() -> dict[str, Any]:
    return {
        "image": "postgres:17",
        "restart": "unless-stopped",
        "environment": {
            "POSTGRES_USER": "pennyweight",
            "POSTGRES_DB": "pennyweight",
            "POSTGRES_PASSWORD": _PASSWORD,
        },
        "volumes": ["data:/var/lib/postgresql/data"],
        "ports": ["127.0.0.1:5432:5432"],
        "healthcheck": {
            "test": ["CMD", "pg_isready", "-U", "pennyweight", "-d", "pennyweight"],
            "interval": "5s",
            "timeout": "3s",
            "retries": 12,
        },
    }


_PASSWORD = "${POSTGRES_PASSWORD:?write it into the file .env}"  # ruff: ignore[hardcoded-password-string] - where Compose finds one


def _server(of: Deployment) -> dict[str, Any]:
    return {
        "build": ".",
        "image": of.name,
        "restart": "unless-stopped",
        "command": ["serve", *map(_plain, of.words), "--host=0.0.0.0", f"--port={of.port}"],
        "environment": {
            "PENNYWEIGHT_STORE": "postgresql://pennyweight@postgres/pennyweight",
            "PGPASSWORD": _PASSWORD,
        },
        "depends_on": {"postgres": {"condition": "service_healthy"}},
        "ports": [f"127.0.0.1:{of.port}:{of.port}"],
        "volumes": [{"type": "volume", "source": "home", "target": HOME}, *map(_bound, of.need.folders)],
        "read_only": True,
        "tmpfs": ["/tmp"],  # ruff: ignore[hardcoded-temp-file] - of its own, in the container
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "mem_limit": f"{of.limit_mib}m",
        "mem_reservation": f"{of.request_mib}m",
        "stop_grace_period": f"{_DRAIN_S}s",
        "healthcheck": {
            "test": ["CMD", "python", "-c", _look(of.port)],
            "interval": "5s",
            "timeout": "3s",
            "start_period": "60s",
            "retries": 3,
        },
    }


def _look(port: int) -> str:
    """A program that fails unless the server is ready; the image has no curl."""
    return f"import urllib.request as u; u.urlopen('http://127.0.0.1:{port}/v2/health/ready', timeout=2)"


def _bound(folder: str) -> dict[str, Any]:
    return {"type": "bind", "source": _plain(folder), "target": _plain(folder), "read_only": True}


def _plain(text: str) -> str:
    """Text in which Compose puts in no variable."""
    return text.replace("$", "$$")
