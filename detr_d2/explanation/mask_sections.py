"""Pack what bbox attention, mask head and merge computed. See `payload`."""

from typing import Any

import numpy as np
import torch

from detr_d2.explanation.capture import HeadStages
from detr_d2.explanation.feature_pictures import picture_features, principal_colors, shrink
from detr_d2.explanation.merge import Merge
from detr_d2.explanation.packing import Packer
from detr_d2.explanation.recorded_pass import RecordedPass
from detr_d2.modeling import FPNMaskHead, PanopticDetr

CONCAT_CHANNELS = 8


def attention_section(
    recorded: RecordedPass, packer: Packer, followed: list[int]
) -> dict[str, Any]:
    """Bbox attention of the followed queries."""
    maps = recorded.trace.get("bbox_attention")[followed]
    packer.add(
        "bbox-attention",
        maps,
        "bbox attention: followed query x head x cell",
        leading=2,
        from_zero=True,
    )
    sums = maps[0].sum((1, 2))
    return {"maps": "bbox-attention", "sums": [sums.sum().item(), sums.tolist()]}


def concat_section(
    model: PanopticDetr, recorded: RecordedPass, packer: Packer
) -> dict[str, Any] | None:
    """Some of the d channels beside which the maps of a query lie."""
    if not isinstance(model.mask_head, FPNMaskHead):
        return None
    projected = recorded.trace.get("projected")
    shown = picture_features(projected, CONCAT_CHANNELS)
    packer.add(
        "concat-image", shown.channels, "channels of the projected image", leading=1, delta=True
    )
    return {
        "d": projected.shape[0],
        "maps": recorded.trace.get("bbox_attention").shape[1],
        "image": "concat-image",
        "channel_ids": shown.channel_ids,
    }


def fpn_section(
    model: PanopticDetr, stages: HeadStages | None, rows: list[int], packer: Packer
) -> dict[str, Any]:
    """Mean over the channels after every convolution, and the laterals; empty for another head.

    Args:
        rows: which of the queries of `stages` are followed.
    """
    head = model.mask_head
    if stages is None or not isinstance(head, FPNMaskHead):
        return {"stages": [], "laterals": []}
    strides = {name: shape.stride for name, shape in model.backbone.output_shape().items()}
    entries = []
    for number, maps in enumerate(stages.convolved):
        added = model.mask_features[number - 2] if number >= 2 else None
        shown = shrink(maps[rows].mean(1))
        stride = strides[added or model.in_feature]
        entries.append(
            {
                "id": f"conv{number + 1}",
                "title": f"Convolution {number + 1}",
                "text": _stage_text(number, added),
                "added": added,
                "symbol": f"{_width(number)} x H/{stride} x W/{stride}",
                "channels": maps.shape[1],
                "shape": list(maps.shape[-2:]),
                "picture": list(shown.shape[-2:]),
                "maps": packer.add(
                    f"fpn-{number}",
                    shown,
                    f"after convolution {number + 1}: followed query x cell, mean over channels",
                    leading=1,
                    delta=True,
                ),
            }
        )
    laterals = [
        {
            "feature": name,
            "channels_in": adapter.in_channels,
            "channels_out": adapter.out_channels,
            "shape": list(lateral.shape[-2:]),
            "rgb": packer.add_integers(
                f"lateral-{name}-rgb",
                principal_colors(shrink(lateral)),
                f"{name} after its 1 x 1 convolution: principal components",
            ),
        }
        for name, adapter, lateral in zip(
            model.mask_features, head.adapters, stages.laterals, strict=True
        )
    ]
    return {"stages": entries, "laterals": laterals}


def _width(number: int) -> str:
    """Channels after a convolution, in letters."""
    return f"d/{2**number}" if number else "(d + M)"


def _stage_text(number: int, added: str | None) -> str:
    if number == 0:
        return "3 x 3 convolution of the d + M channels, GroupNorm, ReLU."
    if added is None:
        return "3 x 3 convolution, GroupNorm, ReLU."
    return (
        f"Enlarged to the size of {added.capitalize()}, which is added after its 1 x 1 "
        "convolution; then 3 x 3 convolution, GroupNorm, ReLU."
    )


def merge_section(merge: Merge, packer: Packer) -> dict[str, Any]:
    """Settings and result of the merge, and how well the packed logits reproduce it."""
    model = merge.model
    ids, segments = merge.recorded.output["panoptic_seg"]
    ids = ids.cpu()
    steps = merge.steps()
    queries = merge.segment_queries(ids, steps)
    packed = torch.from_numpy(packer.values("mask-logits")).float()
    again, found = merge.run(model.postprocess.score_thresh, model.postprocess.min_area, packed)
    same = [_without_area(s) for s in found] == [_without_area(s) for s in segments]
    return {
        "score_thresh": model.postprocess.score_thresh,
        "min_area": model.postprocess.min_area,
        "unite_stuff": model.postprocess.unite_stuff,
        "resize": model.postprocess.resize,
        "network": list(merge.network),
        "output": list(merge.recorded.size),
        "thing_ids": sorted(model.postprocess.thing_ids),
        "steps": [
            {"alive": step.alive, "areas": step.areas, "dropped": step.dropped} for step in steps
        ],
        "result": {
            "ids": packer.add_integers("panoptic-ids", ids, "the model's own panoptic map"),
            "segments": [s | {"queries": queries.get(s["id"], [])} for s in segments],
        },
        "packed": {
            "segments_equal": same,
            "pixels": float(np.mean((again == ids).numpy())),
        },
    }


def _without_area(segment: dict) -> dict:
    return {key: value for key, value in segment.items() if key != "area"}
