"""A folder of classes, each a folder of pictures (.npy, .png, .jpg), as rows that are read when they are needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.data.columnar import Column, Rows
from pennyweight.errors import BadInputError, MissingExtraError

if TYPE_CHECKING:
    from pathlib import Path

_IMAGES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp"})
_BYTE = 256


def pictures(folder: Path) -> tuple[Rows, list[str]]:
    """The pictures as x (N, height, width[, channels]) and y (N,), the number of the folder each lies in; its names.

    All must have the shape and the type of the first; raises `BadInputError` that names the first that has not.
    """
    classes = sorted(each.name for each in folder.iterdir() if each.is_dir())
    files = [
        (path, number)
        for number, name in enumerate(classes)
        for path in sorted((folder / name).iterdir())
        if path.suffix.lower() in _IMAGES | {".npy"}
    ]
    if not files:
        raise BadInputError(f"{folder} holds no tables and no folders of pictures.", "give one folder for each class.")
    first = read_picture(files[0][0])
    kind = first.dtype.newbyteorder("<").name
    label = Column("y", "int64", (), "uint8" if len(classes) <= _BYTE else "int32")

    def between(start: int, stop: int) -> dict[str, Any]:
        chosen = files[start:stop]
        x = np.empty((len(chosen), *first.shape), first.dtype)
        for row, (path, _) in enumerate(chosen):
            picture = read_picture(path)
            if picture.shape != first.shape or picture.dtype != first.dtype:
                raise BadInputError(
                    f"{path.name} is {picture.dtype} {picture.shape}, {files[0][0].name} {first.dtype} {first.shape}.",
                    "bring all pictures to one size and one number of channels.",
                )
            x[row] = picture
        return {"x": x, "y": np.array([number for _, number in chosen], np.int64)}

    return Rows(len(files), (Column("x", kind, first.shape, kind), label), between), classes


def read_picture(path: Path) -> np.ndarray:
    """One picture as numbers: (height, width) if it is grey, else (height, width, channels)."""
    if path.suffix == ".npy":
        try:
            made: np.ndarray = np.load(path, allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise BadInputError(f"{path.name} is no array.", "save it with numpy.save, or remove it.") from error
        return made
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise MissingExtraError.of("pillow", "data") from error
    try:
        with Image.open(path) as picture:
            return np.asarray(picture)
    except (UnidentifiedImageError, OSError) as error:
        raise BadInputError(f"{path.name} is no picture.", "replace or remove it.") from error
