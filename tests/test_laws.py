"""Every lever found is held to the eight laws."""

import pytest

from pennyweight import levers
from pennyweight.testing import LAWS, tiny_jobs


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("kind", levers.find().values(), ids=levers.find())
def test_the_lever_keeps_the_law(kind, law):
    law(kind, tiny_jobs())
