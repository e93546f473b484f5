"""Panoptic predictions of images by any Detectron2 model, for `merge.merge_labels`.

Legend: H, W size of the image; K stuff classes of the model.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from detectron2.config import CfgNode
from torch import Tensor
from torch.nn import functional as F

from detr_d2.engine import Predictor
from detr_d2.pseudo_labels.classes import LabelPlan
from detr_d2.pseudo_labels.merge import MergeRules, Predicted


class Labeller:
    """A pretrained model whose classes become those of the result.

    Args:
        cfg: its config, with MODEL.WEIGHTS; its data sets are registered, for the classes.
        plan: what its classes become.
        rules: what is asked of its predictions.
    """

    def __init__(self, cfg: CfgNode, plan: LabelPlan, rules: MergeRules) -> None:
        if "DETR" in cfg.MODEL:
            # Of this package's models. Segments below the published 0.85 would otherwise be lost
            # before the rules can judge them, and surer masks of something else spill into their
            # place. Detectron2's own models give `sem_seg` anyway.
            cfg = cfg.clone()
            thresholds = ["MODEL.DETR.SCORE_THRESH", rules.min_score]
            instances = ["MODEL.DETR.INSTANCE_ON", not cfg.MODEL.DETR.PANOPTIC_ON]
            semantic = ["MODEL.DETR.SEM_SEG_ON", rules.per_pixel]
            cfg.merge_from_list([*thresholds, *instances, *semantic])
        self.predictor = Predictor(cfg)
        self.plan = plan
        self.rules = rules
        self.things = frozenset(c.id for c in plan.table.categories if c.isthing)

    def __call__(self, images: Sequence[np.ndarray]) -> list[Predicted]:
        """Predict images (H, W, 3) uint8 RGB of any sizes, all in one batch.

        The model works at the size of its input: stretching masks of all classes to an image of
        twelve megapixels would take gigabytes. Its maps are enlarged afterwards.

        Raises:
            ValueError: the model gives no `panoptic_seg`.
        """
        outputs = self.predictor(list(images), enlarge=False)
        return [
            self._predicted(output, image.shape[:2])
            for output, image in zip(outputs, images, strict=True)
        ]

    def _predicted(self, output: Mapping[str, Any], size: tuple[int, ...]) -> Predicted:
        if "panoptic_seg" not in output:
            raise ValueError(
                f"the model gives {sorted(output)} and no panoptic_seg; take a panoptic config, "
                "and for this package's models MODEL.DETR.PANOPTIC_ON True"
            )
        stuff, confidence = None, None
        if self.rules.per_pixel:
            if "sem_seg" not in output:
                raise ValueError(
                    f"the model gives {sorted(output)} and no sem_seg, which min_confidence above "
                    "0 and fill 'next-best' need"
                )
            stuff, confidence = self._per_pixel(output["sem_seg"], size)
        ids, segments = output["panoptic_seg"]
        return Predicted(
            ids=_enlarge(ids.cpu().numpy().astype(np.int32), size),
            segments=[self._segment(s) for s in segments],
            keeps_things=self.things,
            stuff=stuff,
            confidence=confidence,
        )

    def _segment(self, segment: Mapping[str, Any]) -> dict[str, Any]:
        key = bool(segment["isthing"]), int(segment["category_id"])
        # Panoptic FPN has a score for things only.
        score = segment.get("score")
        return {
            "id": int(segment["id"]),
            "isthing": key[0],
            "category_id": self.plan.model[key],
            "name": self.plan.names[key],
            "score": None if score is None else float(score),
        }

    def _per_pixel(self, sem_seg: Tensor, size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Category id of the best stuff class (H, W), and how sure the model is (H, W).

        Args:
            sem_seg: (C, h, w), for each class either logits (Panoptic FPN) or sums of
                probabilities, none of them negative (DETR).
            size: (H, W).
        """
        probabilities = sem_seg.float()
        if bool((probabilities < 0).any()):
            probabilities = probabilities.softmax(0)
        # Where no mask of DETR claims a pixel, all sums are small; the winner there is a guess.
        confidence = probabilities.amax(0).clamp(max=1)
        channels = {i: id_ or 0 for (isthing, i), id_ in self.plan.model.items() if not isthing}
        table = torch.tensor(list(channels.values()), device=sem_seg.device)
        best, place = probabilities[list(channels)].max(0)
        stuff = torch.where(best > 0, table[place], 0)
        sure = F.interpolate(
            confidence[None, None], size=tuple(size), mode="bilinear", align_corners=False
        )
        return (
            _enlarge(stuff.cpu().numpy().astype(np.int32), size),
            sure[0, 0].cpu().numpy(),
        )


def _enlarge(ids: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    if ids.shape == tuple(size):
        return ids
    return cv2.resize(ids, (size[1], size[0]), interpolation=cv2.INTER_NEAREST_EXACT)
