"""A trained model ready to run on images."""

from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import transforms as T
from detectron2.modeling import build_model

from detr_d2.checkpoint.checkpointer import Checkpointer
from detr_d2.data.mapper import DetrMapper


class Predictor:
    """Builds the model of a config, loads MODEL.WEIGHTS, and resizes images as evaluation does.

    Unlike Detectron2's `DefaultPredictor` it takes RGB images, several at a time.

    Args:
        cfg: the whole config; its data sets are registered, for the classes.
    """

    def __init__(self, cfg: CfgNode) -> None:
        self.model = build_model(cfg).eval()
        Checkpointer(self.model, cfg=cfg).load(cfg.MODEL.WEIGHTS)
        self.resize = DetrMapper(cfg, is_train=False).augmentations
        self.reverse = cfg.INPUT.FORMAT == "BGR"

    @torch.no_grad()
    def __call__(self, images: list[np.ndarray], enlarge: bool = True) -> list[dict[str, Any]]:
        """Run the model.

        Args:
            images: (H, W, 3) uint8 RGB, of any sizes.
            enlarge: False gives the outputs of an image that the model saw shrunk at the size at
                which it saw it, which takes less memory.

        Returns:
            The model's outputs, one dict an image, at the images' sizes.
        """
        inputs = []
        for image in images:
            resized = T.AugInput(image[..., ::-1] if self.reverse else image)
            self.resize(resized)
            chw = np.ascontiguousarray(resized.image.transpose(2, 0, 1))
            height, width = image.shape[:2]
            if not enlarge and height > chw.shape[1]:
                height, width = chw.shape[1:]
            inputs.append({"image": torch.from_numpy(chw), "height": height, "width": width})
        outputs: list[dict[str, Any]] = self.model(inputs)
        return outputs
