"""What the tests of serving share with those of the command line: processes, started as a person does."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "cli"))
