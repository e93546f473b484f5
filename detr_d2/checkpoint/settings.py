"""Compare the config with what the weights ask for: wrong colours or strides ruin them silently."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from detectron2.config import CfgNode

from detr_d2.checkpoint.reading import WeightsError

Settings = Mapping[str, Any]

# Published backbones and DETRs of torchvision's line: RGB, ImageNet statistics in 0..255.
TORCHVISION: Settings = {
    "INPUT.FORMAT": "RGB",
    "MODEL.PIXEL_MEAN": [123.675, 116.28, 103.53],
    "MODEL.PIXEL_STD": [58.395, 57.12, 57.375],
    "MODEL.RESNETS.STRIDE_IN_1X1": False,
}
# The ImageNet backbones of Detectron (MSRA): BGR, not divided, stride in the first convolution.
CAFFE2: Settings = {
    "INPUT.FORMAT": "BGR",
    "MODEL.PIXEL_MEAN": [103.53, 116.28, 123.675],
    "MODEL.PIXEL_STD": [1.0, 1.0, 1.0],
    "MODEL.RESNETS.STRIDE_IN_1X1": True,
}
PUBLISHED_DETR: Settings = {
    **TORCHVISION,
    "MODEL.DETR.PRE_NORM": False,
    "MODEL.DETR.POSITION_TEMPERATURE": 10000.0,
    "MODEL.DETR.BBOX_ATTENTION.NORMALIZE": "joint",
}
# A training may depart from these on purpose; from all others it cannot.
FREE = (
    "MODEL.DETR.POSITION_TEMPERATURE",
    "MODEL.DETR.BBOX_ATTENTION.NORMALIZE",
    "MODEL.RESNETS.RES5_DILATION",
)
# Statistics that differ by less are the same, written with fewer digits.
TOLERANCE = 0.05


def departures(settings: Settings, cfg: CfgNode) -> dict[str, tuple[Any, Any]]:
    """Keys whose value in the config is not what the weights ask for: key -> (found, wanted)."""
    found = {}
    for key, wanted in settings.items():
        value: Any = cfg
        for part in key.split("."):
            value = value[part]
        if not _same(value, wanted):
            found[key] = (value, wanted)
    return found


def check_settings(settings: Settings, cfg: CfgNode, path: str) -> list[str]:
    """Compare, and give a warning for each free setting that departs.

    Raises:
        WeightsError: a setting departs with which the weights cannot work; the message has the
            config lines.
    """
    found = departures(settings, cfg)
    wrong = {key: pair for key, pair in found.items() if key not in FREE}
    if wrong:
        lines = "\n".join(
            f"  {key} {_as_option(want)}    (now {is_!r})" for key, (is_, want) in wrong.items()
        )
        raise WeightsError(f"{path} needs other settings; change in the config:\n{lines}")
    return [
        f"{path} was trained with {key} {want!r}, the config has {is_!r}"
        for key, (is_, want) in found.items()
    ]


def _same(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        return len(found) == len(wanted) and all(map(_same, found, wanted))
    if isinstance(wanted, float):
        return math.isclose(found, wanted, abs_tol=TOLERANCE)
    return bool(found == wanted)


def _as_option(value: Any) -> str:
    """As it is written behind a key on the command line."""
    return f'"{value}"' if isinstance(value, list) else str(value)
