"""What tests of deployments share."""

from importlib.util import find_spec

import pytest

from pennyweight.train.server import cluster


@pytest.fixture
def ray_serve():
    """Ray Serve where it is installed; Ray is begun as training begins it, for it reads only once whom to listen to."""
    if find_spec("fastapi") is None:
        pytest.skip("Ray Serve is not installed: ray[serve]")
    cluster._ray()
    return pytest.importorskip("ray.serve")
