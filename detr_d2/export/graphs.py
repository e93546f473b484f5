"""The two halves of a panoptic DETR for one image, as modules that `torch.export` can trace.

Between them the queries are chosen, so that the mask head runs on those alone. There is one image
and so no padding. Legend: H, W size of the image, Q queries, K kept queries, d channels.
"""

import torch
from torch import Tensor, nn

from detr_d2.modeling import PanopticDetr
from detr_d2.modeling.position_encoding import sine_position_encoding


class DetectionGraph(nn.Module):
    """From the image to classes and boxes of all queries, and what the masks are made of."""

    is_thing: Tensor

    def __init__(self, model: PanopticDetr, reverse_channels: bool) -> None:
        """
        Args:
            model: in evaluation mode.
            reverse_channels: whether the model wants BGR; the graph always takes RGB.
        """
        super().__init__()
        self.model = model
        self.reverse_channels = reverse_channels
        flags = [i in model.postprocess.thing_ids for i in range(model.num_classes)]
        self.register_buffer("is_thing", torch.tensor(flags))

    def names(self) -> list[str]:
        """Names of the results."""
        features = [f"feature_{name}" for name in self.model.mask_features]
        return [
            *("scores", "classes", "is_object", "is_thing", "boxes"),
            *("embeddings", "encoded_image", "projected", *features),
        ]

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Find objects in an RGB image, uint8 (H, W, 3).

        Returns:
            Of all queries: scores (Q,), classes int64 (Q,), whether they beat "no object" bool
            (Q,), whether they are things bool (Q,), boxes (Q, 4) cxcywh as fractions of the image,
            box embeddings (Q, d); of the image: encoded and projected, (1, d, h, w), and the
            features of the mask head.
        """
        model = self.model
        pixels = (image.flip(2) if self.reverse_channels else image).permute(2, 0, 1)
        pixels = (pixels[None].float() - model.pixel_mean) / model.pixel_std
        features = model.backbone(pixels)
        projected = model.input_proj(features[model.in_feature])
        position = sine_position_encoding(
            _no_padding(projected), projected.shape[1], model.position_temperature
        )
        queries, points = model.query_embed.weight[None], None
        if model.reference_points:
            queries, points = model.reference_points(queries)
            points = points[0, 0, 0]
        embeddings, encoded = model.transformer(projected, None, queries, position)
        embeddings = embeddings[0, -1, 0]
        logits, boxes = model.box_head(embeddings, points)
        found = model.postprocess.classify(logits, boxes)
        return (
            *(found.scores, found.classes, found.is_object, self.is_thing[found.classes], boxes),
            *(embeddings, encoded, projected, *(features[n] for n in model.mask_features)),
        )


class MaskGraph(nn.Module):
    """From the box embeddings of kept queries to their masks."""

    def __init__(self, model: PanopticDetr) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, embeddings: Tensor, encoded_image: Tensor, projected: Tensor, features: list[Tensor]
    ) -> Tensor:
        """Predict mask logits (K, H/4, W/4).

        Args:
            embeddings: (K, d), K from 1; all others are results of `DetectionGraph`.
        """
        attention = self.model.bbox_attention(
            embeddings[None], encoded_image, _no_padding(encoded_image)
        )
        masks: Tensor = self.model.mask_head(projected, [attention[0]], features)[0]
        return masks


def _no_padding(features: Tensor) -> Tensor:
    return torch.zeros_like(features[:, 0], dtype=torch.bool)
