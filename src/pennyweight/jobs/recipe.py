"""Recipes: Python files of the user whose function `job(data)` gives a job."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from pennyweight.core import Job
from pennyweight.errors import BadInputError, PennyweightError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path
    from types import ModuleType


def load_recipe(path: Path, data: Path | None = None, **options: Any) -> Job:
    """Run the Python file at `path` and call its ``job(data)`` (``job()`` if `data` is None); it must give a `Job`.

    `options` are further parameters of its own, such as ``size="30m"``; a text becomes what the parameter's default is.

    This runs the file's code, as running it with Python would: load recipes of your own only. Every way in which it
    fails is a `BadInputError` that names the line.
    """
    make = _function(_module(path), path)
    parameters = inspect.signature(make).parameters
    if data is None and any(each.default is each.empty for each in parameters.values()):
        raise BadInputError(f"{path.name} needs data.", "give it a folder: --data DIR.")
    if data is not None and not parameters:
        raise BadInputError(f"{path.name} takes no data: its job() has no parameter.", "leave out --data.")
    if data is not None and not data.exists():
        raise BadInputError(f"There is no {data}.", "check the path given as data.")
    chosen = _chosen(path, [each for each in list(parameters.values())[1:] if each.default is not each.empty], options)
    try:
        made = make(**chosen) if data is None else make(data, **chosen)
    except PennyweightError:
        raise
    except (Exception, SystemExit) as error:
        raise _broken(path, error) from error
    if not isinstance(made, Job):
        raise BadInputError(f"job() in {path.name} gives a {type(made).__name__}.", "let it return a pennyweight Job.")
    return made


def options_of(words: Iterable[str]) -> dict[str, str]:
    """The options of a recipe from words such as ``size=30m``."""
    found = {}
    for word in words:
        name, is_, value = word.partition("=")
        if not (name.isidentifier() and is_ and value):
            raise BadInputError(f"{word!r} is no option of a recipe.", "write its name and value: --with size=30m.")
        found[name] = value
    return found


def _chosen(path: Path, known: Sequence[inspect.Parameter], options: Mapping[str, Any]) -> dict[str, Any]:
    defaults = {each.name: each.default for each in known}
    for name in options.keys() - defaults.keys():
        if not defaults:
            raise BadInputError(f"{path.name} has no options.", f"leave out {name}.")
        raise UnknownNameError.of(f"option of {path.name}", name, defaults)
    return {name: _typed(name, value, defaults[name]) for name, value in options.items()}


def _typed(name: str, value: Any, default: Any) -> Any:
    """A text as what the default is: a truth, a whole number, a number; anything else stays what it is."""
    if not isinstance(value, str):
        return value
    if isinstance(default, bool):
        if value not in {"true", "false"}:
            raise BadInputError(f"{name} cannot be {value!r}.", "give true or false.")
        return value == "true"
    kind = type(default) if isinstance(default, (int, float)) else str
    try:
        return kind(value)
    except ValueError:
        raise BadInputError(f"{name} cannot be {value!r}.", "give a number.") from None


def _module(path: Path) -> ModuleType:
    if not path.is_file() or path.suffix != ".py":
        raise BadInputError(
            f"There is no recipe {path}.", "give the path of a Python file that has a function job(data)."
        )
    name = f"pennyweight_recipe_{path.stem}_{sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BadInputError(f"{path.name} cannot be loaded as Python.", "check the file.")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up by name, and recipes import what lies beside them.
    sys.modules[name] = module
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except PennyweightError:
        raise
    except (Exception, SystemExit) as error:
        sys.modules.pop(name, None)
        raise _broken(path, error) from error
    finally:
        sys.path.remove(str(path.resolve().parent))
    return module


def _function(module: ModuleType, path: Path) -> Any:
    make = getattr(module, "job", None)
    if not callable(make):
        raise BadInputError(f"{path.name} has no function job.", "add one: def job(data): return torch_job(…).")
    return make


def _broken(path: Path, error: BaseException) -> BadInputError:
    line = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path.absolute()):
            line = trace.tb_lineno
        trace = trace.tb_next
    where = f" in line {line}" if line else ""
    if isinstance(error, SystemExit):
        return BadInputError(f"{path.name} ends Python{where}.", "let it define job(data), and do nothing else.")
    said = str(error).strip().splitlines()
    what = f"{type(error).__name__}: {said[0]}" if said else type(error).__name__
    return BadInputError(f"{path.name} fails{where} with {what}.", "correct the recipe.")
