"""The Dockerfile: Python, this package with the runtimes that the models need, and a user without rights."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from pennyweight.serve.emitting.file import File, comment

if TYPE_CHECKING:
    from pennyweight.serve.emitting.deployment import Deployment

USER = 10001
HOME = "/var/lib/pennyweight"

_ABOUT = (
    "docker build -t {name} .",
    "A wheel of your own instead of the published package: put it beside this file, COPY it, and build with",
    "--build-arg PENNYWEIGHT=/tmp/pennyweight-….whl[serve]",
)


def dockerfile(of: Deployment) -> File:
    """The image that all replicas run; what they serve is said where they are started, not here."""
    extras = ",".join(("serve", *of.need.extras, *(("otel",) if of.otel else ())))
    number = version("pennyweight")
    lines = (
        "FROM python:3.12-slim",
        f'ARG PENNYWEIGHT="pennyweight[{extras}]=={number}"',
        'RUN pip install --no-cache-dir "$PENNYWEIGHT"',
        f"RUN useradd --uid {USER} --user-group --no-create-home --home-dir {HOME} pennyweight \\",
        f"    && install -d -o {USER} -g {USER} -m 0700 {HOME}",
        f"ENV PENNYWEIGHT_HOME={HOME} PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 OMP_NUM_THREADS=1",
        f"USER {USER}:{USER}",
        "# In this form signals reach the server itself: SIGTERM lets it finish what was begun.",
        'ENTRYPOINT ["pennyweight"]',
        'CMD ["serve", "--help"]',
        f"EXPOSE {of.port}",
    )
    return File("Dockerfile", comment(each.format(name=of.name) for each in _ABOUT) + "\n".join(lines) + "\n")
