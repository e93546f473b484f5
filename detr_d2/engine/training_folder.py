"""The folder that a training writes (OUTPUT_DIR), found again: its config, its best weights."""

import os
from pathlib import Path

from detr_d2 import model_zoo

CONFIG, CATEGORIES = "config.yaml", "categories.json"
# The best comes first: chosen by evaluation, averaged over the training, or simply the last.
WEIGHTS = ("model_best.pth", "model_ema.pth", "model_final.pth")


def find_config(name: str | os.PathLike[str]) -> str:
    """Return the config file that a user means.

    Args:
        name: a YAML file, a training folder, or a name of the model zoo, looked for in this order.

    Raises:
        ValueError: none of the three; names of the zoo that are near are in the message.
    """
    path = Path(name)
    if path.is_file():
        return str(path)
    if path.is_dir():
        if (path / CONFIG).is_file():
            return str(path / CONFIG)
        raise ValueError(f"{path} is no training folder: it holds no {CONFIG}")
    try:
        return model_zoo.get_config_file(path.as_posix())
    except ValueError as error:
        raise ValueError(f"config {name}: no such file or folder, and {error}") from None


def best_weights(folder: str | os.PathLike[str]) -> str:
    """Return the best weights of a training folder: the first of WEIGHTS that is there.

    Raises:
        ValueError: none of them is.
    """
    for name in WEIGHTS:
        if (Path(folder) / name).is_file():
            return str(Path(folder) / name)
    found = sorted(path.name for path in Path(folder).glob("*.pth"))
    raise ValueError(
        f"{folder}: no {', '.join(WEIGHTS)}; its weights are {found or 'none'}: "
        "is the training finished?"
    )
