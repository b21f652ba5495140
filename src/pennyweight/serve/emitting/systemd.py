"""systemd: the server as a service of this machine that may touch its own files and nothing else."""

from __future__ import annotations

import getpass
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pennyweight.errors import BadInputError
from pennyweight.serve.emitting.file import File, comment
from pennyweight.store.place import home

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pennyweight.serve.emitting.deployment import Deployment

_DRAIN_S = 20
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "%": "%%"}
_ABOUT = (
    "sudo install -m 0644 {name}.service /etc/systemd/system/",
    "sudo install -m 0600 {name}.env /etc/",
    "sudo systemctl daemon-reload && sudo systemctl enable --now {name}",
    "Another address than this machine's own: add --host=0.0.0.0 once there is a key (pennyweight tenants add).",
)
_ALONE = (
    "NoNewPrivileges=yes",
    "CapabilityBoundingSet=",
    "AmbientCapabilities=",
    "ProtectSystem=strict",
    "ProtectHome=read-only",
    "PrivateTmp=yes",
    "PrivateDevices=yes",
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelLogs=yes",
    "ProtectControlGroups=yes",
    "ProtectClock=yes",
    "ProtectHostname=yes",
    "ProtectProc=invisible",
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "LockPersonality=yes",
    "RemoveIPC=yes",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "SystemCallErrorNumber=EPERM",
    "UMask=0077",
)


def files(of: Deployment) -> tuple[File, ...]:
    """The unit, and the file with the store's address, which may hold a password."""
    return File(f"{of.name}.service", _unit(of)), File(f"{of.name}.env", _settings(of), private=True)


def _unit(of: Deployment) -> str:
    words = (*_program(), "serve", *of.words, "--host=127.0.0.1", f"--port={of.port}")
    head = comment([*(each.format(name=of.name) for each in _ABOUT), "", *of.reasons()])
    parts = {
        "Unit": (
            f"Description=pennyweight serve {_text(' '.join(of.models))}",
            "Wants=network-online.target",
            "After=network-online.target postgresql.service",
            "StartLimitIntervalSec=60",
            "StartLimitBurst=5",
        ),
        "Service": (
            "Type=exec",
            f"User={_text(getpass.getuser())}",
            f"EnvironmentFile=/etc/{of.name}.env",
            "Environment=OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=1",
            f"Environment={_word(f'PENNYWEIGHT_HOME={home().absolute()}', variables=False)}",
            f"ExecStart={' '.join(map(_word, words))}",
            "Restart=on-failure",
            "RestartSec=1",
            "KillSignal=SIGTERM",
            "KillMode=mixed",
            f"TimeoutStopSec={_DRAIN_S}",
            f"MemoryMax={of.limit_mib}M",
            "LimitNOFILE=65536",
            *_ALONE,
            *(f"ReadWritePaths={_word('-' + path, variables=False)}" for path in _written(of)),
        ),
        "Install": ("WantedBy=multi-user.target",),
    }
    return head + "\n".join(f"[{name}]\n" + "\n".join(lines) + "\n" for name, lines in parts.items())


def _program() -> tuple[str, ...]:
    """The command as an absolute path: systemd looks in no folder of a person's own."""
    beside = Path(sys.executable).with_name("pennyweight")
    found = str(beside) if beside.exists() else shutil.which("pennyweight")
    return (found,) if found else (sys.executable, "-c", "from pennyweight.cli import main; main()")


def _written(of: Deployment) -> Iterable[str]:
    """Folders that the service writes: its home, and that of a database in a file."""
    found = [str(home().absolute())]
    if "://" not in of.store:
        found.append(str(Path(of.store).absolute().parent))
    return dict.fromkeys(found)


def _settings(of: Deployment) -> str:
    lines = ("Where the registry, tenants, budgets and receipts are.", "The password of PostgreSQL: PGPASSWORD=…")
    if any(not each.isprintable() for each in of.store):
        raise BadInputError("The store's address has characters that no file of settings can hold.", "rename it.")
    quoted = of.store.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$").replace("`", "\\`")
    return comment(lines) + f'PENNYWEIGHT_STORE="{quoted}"\n'


def _word(text: str, *, variables: bool = True) -> str:
    """One word of a command, or of a list: nothing in it is split, expanded or a specifier."""
    body = "".join(_ESCAPES.get(each, each) for each in text)
    if any(not each.isprintable() for each in body):
        raise BadInputError("A name has characters that no unit of systemd can hold.", "use printable ones.")
    return f'"{body.replace("$", "$$") if variables else body}"'


def _text(text: str) -> str:
    """A value that is read as it stands, but for specifiers."""
    return "".join(each if each.isprintable() else "?" for each in text).replace("%", "%%").rstrip("\\")
