"""A trained model ready to run on photos."""

from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import transforms as T
from detectron2.modeling import build_model

from detr_d2.checkpoint.checkpointer import Checkpointer
from detr_d2.data.mapper import DetrMapper


class Predictor:
    """Builds the model of a config, loads MODEL.WEIGHTS, and resizes photos as evaluation does.

    Unlike Detectron2's `DefaultPredictor` it takes RGB photos, several at a time.

    Args:
        cfg: the whole config; its data sets are registered, for the classes.
    """

    def __init__(self, cfg: CfgNode) -> None:
        self.model = build_model(cfg).eval()
        Checkpointer(self.model, cfg=cfg).load(cfg.MODEL.WEIGHTS)
        self.resize = DetrMapper(cfg, is_train=False).augmentations
        self.reverse = cfg.INPUT.FORMAT == "BGR"

    @torch.no_grad()
    def __call__(self, photos: list[np.ndarray], enlarge: bool = True) -> list[dict[str, Any]]:
        """Run the model.

        Args:
            photos: (H, W, 3) uint8 RGB, of any sizes.
            enlarge: False gives the outputs of a photo that the model saw shrunk at the size at
                which it saw it, which takes less memory.

        Returns:
            The model's outputs, one dict a photo, at the photos' sizes.
        """
        inputs = []
        for photo in photos:
            resized = T.AugInput(photo[..., ::-1] if self.reverse else photo)
            self.resize(resized)
            chw = np.ascontiguousarray(resized.image.transpose(2, 0, 1))
            height, width = photo.shape[:2]
            if not enlarge and height > chw.shape[1]:
                height, width = chw.shape[1:]
            inputs.append({"image": torch.from_numpy(chw), "height": height, "width": width})
        outputs: list[dict[str, Any]] = self.model(inputs)
        return outputs
