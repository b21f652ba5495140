import re
import subprocess
import sys
from pathlib import Path

import pennyweight

ROOT = Path(__file__).parent.parent


def test_the_public_face_is_small_and_every_name_of_it_can_be_imported():
    assert len(pennyweight.__all__) <= 24
    for name in pennyweight.__all__:
        assert getattr(pennyweight, name).__doc__, name


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(pennyweight, "optimise")


def test_importing_the_package_imports_no_library():
    program = (
        "import sys; before = set(sys.modules); import pennyweight; "
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}; "
        "print(sorted(new - sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['pennyweight']"


def test_nothing_in_the_package_reads_pickles_or_evaluates_text():
    banned = re.compile(r"import (cloud)?pickle|import joblib|torch\.load\(|allow_pickle=True|(?<![\w.`])eval\((?!\))")
    for path in (ROOT / "src").rglob("*.py"):
        assert not banned.search(path.read_text()), path


def test_the_project_names_no_registry_host_and_no_path_of_a_machine():
    banned = ("pypi" + ".org", "npmjs" + ".org", "/wo" + "rk/", "/ro" + "ot/")
    found = [path for kind in ("*.py", "*.md", "*.toml") for path in ROOT.rglob(kind)]
    files = [path for path in found if not {".venv", ".pennyweight"} & set(path.parts)]
    for path in [*files, ROOT / "Makefile"]:
        text = path.read_text(errors="ignore")
        assert not [word for word in banned if word in text], path
