"""Configs by name and the published weights that belong to them, as `detectron2.model_zoo` has it.

A name is the path of a YAML file below `configs/`, for example
`COCO-PanopticSegmentation/detr_panoptic_R_50.yaml`. An installed package carries a copy of that
folder (setup.py); in a checkout the folder itself is read.
"""

import os
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode, get_cfg
from detectron2.modeling import build_model
from fvcore.common.config import BASE_KEY
from torch import nn

from detr_d2.checkpoint import LoadingRules
from detr_d2.checkpoint.checkpointer import Checkpointer
from detr_d2.config import add_detr_config
from detr_d2.utils.device import use_available_device
from detr_d2.utils.yaml_files import read_yaml

_PACKAGED = Path(__file__).parent / "configs"
CONFIGS = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parents[1] / "configs"
# Where the authors of DETR publish their weights.
PUBLISHED = "https://dl.fbaipublicfiles.com/detr/"
MOST_BASES = 100  # files that one config is made of; ours have 3 at most


def names() -> list[str]:
    """All config names, sorted."""
    return sorted(path.relative_to(CONFIGS).as_posix() for path in CONFIGS.rglob("*.yaml"))


def get_config_file(config_path: str) -> str:
    """Return the path of a config's file.

    Args:
        config_path: its name, see the module.

    Raises:
        ValueError: no config has this name; the message lists those that are near, or all.
    """
    known = names()
    if config_path in known:
        return str(CONFIGS / config_path)
    stems = {Path(name).stem: name for name in known}
    near = get_close_matches(config_path, known, n=3)
    near += [stems[stem] for stem in get_close_matches(Path(config_path).stem, stems, n=3)]
    listed = ", ".join(dict.fromkeys(near))
    listed = f"near: {listed}" if listed else "available: " + ", ".join(known)
    raise ValueError(f"no config {config_path!r} in the model zoo; {listed}")


def get_checkpoint_url(config_path: str) -> str:
    """Return the address of the published weights of a config.

    Raises:
        ValueError: no such config, or none of its weights were published.
    """
    url = _published_url(get_config_file(config_path))
    if url is None:
        having = [name for name in names() if _published_url(str(CONFIGS / name)) is not None]
        raise ValueError(f"{config_path} has no published weights; these have: {', '.join(having)}")
    return url


def get_config(config_path: str, trained: bool = False) -> CfgNode:
    """Return the whole config of a name, detr_d2's keys included.

    Args:
        config_path: its name, see the module.
        trained: MODEL.WEIGHTS becomes the published weights; else what a training of this model
            starts from, mostly a backbone trained on ImageNet.

    Raises:
        ValueError: no such config, or `trained` and none of its weights were published.
    """
    file = get_config_file(config_path)
    cfg = read_config(file)
    url = get_checkpoint_url(config_path) if trained else _published_url(file)
    if trained:
        cfg.MODEL.WEIGHTS = url
    elif url is not None:
        # Configs of published weights add these to the config of the training, and no more.
        cfg.MODEL.WEIGHTS = read_config(str(Path(file).parent / _own(file)[BASE_KEY])).MODEL.WEIGHTS
    return cfg


def get(config_path: str, trained: bool = False, device: str | None = None) -> nn.Module:
    """Build the model of a config and load its MODEL.WEIGHTS.

    Args:
        config_path: its name, see the module.
        trained: as `get_config` has it.
        device: "cpu", "cuda:1", ...; None takes a GPU if there is one.

    Returns:
        The model in training mode.

    Raises:
        ValueError: see `get_config`; or torch cannot use `device` here.
    """
    cfg = get_config(config_path, trained)
    use_available_device(cfg, asked=device)
    model: nn.Module = build_model(cfg)
    # Untrained, the weights are those that a training starts from: a backbone, say, or none.
    rules = None if trained else LoadingRules.from_config(cfg)
    Checkpointer(model, cfg=cfg, rules=rules).load(cfg.MODEL.WEIGHTS, [])
    return model


def read_config(file: str = "") -> CfgNode:
    """Detectron2's and our defaults, then the file, if any. Not yet frozen.

    Nothing of the file or of its bases is executed.

    Raises:
        ValueError: the file or one of its bases is no plain YAML, or has keys or values that the
            config cannot take; the message names the file.
        OSError: the file or a base cannot be read.
    """
    cfg = get_cfg()
    add_detr_config(cfg)
    if file:
        _check_chain(file, cfg)
        try:
            # Detectron2 allows code in configs unless told otherwise.
            cfg.merge_from_file(file, allow_unsafe=False)
        except (KeyError, ValueError, TypeError, AssertionError) as error:
            raise ValueError(f"{file}: {error.args[0] if error.args else error}") from error
    return cfg


def _check_chain(file: str, defaults: CfgNode) -> None:
    """Read a config and all its bases as plain YAML, which finds what may not be in them."""
    waiting, count = [file], 0
    while waiting:
        here, count = waiting.pop(), count + 1
        if count > MOST_BASES:
            raise ValueError(
                f"{file}: over {MOST_BASES} bases; does a {BASE_KEY} lead in a circle?"
            )
        content = read_yaml(here)
        if not isinstance(content, dict):
            raise ValueError(f"{here}: a config has keys and values, this is {content!r:.40}")
        sections = {key for key, value in defaults.items() if isinstance(value, CfgNode)}
        if wrong := [k for k in sections & content.keys() if not isinstance(content[k], dict)]:
            raise ValueError(f"{here}: {wrong[0]} must hold keys, not {content[wrong[0]]!r:.40}")
        named = content.get(BASE_KEY, [])
        for base in named if isinstance(named, list) else [named]:
            if not isinstance(base, str) or "://" in base:
                raise ValueError(f"{here}: {BASE_KEY} is {base!r:.80}; must be the path of a file")
            waiting.append(os.path.join(os.path.dirname(here), os.path.expanduser(base)))


def _own(file: str) -> dict[str, Any]:
    """Return what a config's file says itself, without its bases."""
    content: dict[str, Any] = read_yaml(file)
    return content


def _published_url(file: str) -> str | None:
    weights: str = _own(file).get("MODEL", {}).get("WEIGHTS", "")
    return weights if weights.startswith(PUBLISHED) else None
