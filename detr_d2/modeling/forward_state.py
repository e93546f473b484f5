"""The tensors of one forward pass, before any threshold."""

from dataclasses import dataclass

from torch import Tensor

from detr_d2.ops.masks import ImageSizes, Size


@dataclass
class ForwardState:
    """Results of backbone, transformer and heads for a batch of N images.

    Legend: Q queries, G query groups, L decoder layers, K classes, d channels, M attention maps;
    (h, w) = size of the last backbone feature (H/32, or H/16 with DC5), padding included.

    Attributes:
        image_sizes: (height, width) of each image as the network sees it, without padding, pixels.
        padded_size: (height, width) of the padded batch, pixels.
        features: backbone features (N, C, ., .) by name.
        projected: (N, d, h, w), the last feature as the transformer encoder takes it.
        padding: bool (N, h, w), True = padding.
        encoded_image: (N, d, h, w), output of the transformer encoder.
        box_embeddings: (N, Q, d), output of the last decoder layer.
        all_logits: (G, L, N, Q, K + 1), the last column "no object".
        all_boxes: (G, L, N, Q, 4), cxcywh as fractions of the unpadded image.
        mask_extents: (height, width) of the part of the padded batch that the masks of each image
            cover, pixels: the padded size, or the image where padding is erased.
        attention: (N, Q, M, h, w), bbox attention of all queries; only in `raw_outputs` of
            `PanopticDetr`.
        masks: (N, Q, H/4, W/4), mask logits over the padded size; only there, too.
    """

    image_sizes: list[Size]
    padded_size: Size
    features: dict[str, Tensor]
    projected: Tensor
    padding: Tensor
    encoded_image: Tensor
    box_embeddings: Tensor
    all_logits: Tensor
    all_boxes: Tensor
    mask_extents: list[Size]
    attention: Tensor | None = None
    masks: Tensor | None = None

    @property
    def logits(self) -> Tensor:
        """(N, Q, K + 1) of the first query group and the last decoder layer."""
        return self.all_logits[0, -1]

    @property
    def boxes(self) -> Tensor:
        """(N, Q, 4) of the first query group and the last decoder layer."""
        return self.all_boxes[0, -1]

    def sizes(self, i: int, output_size: Size) -> ImageSizes:
        """Sizes of image i, whose outputs are wanted at `output_size`."""
        return ImageSizes(self.mask_extents[i], self.image_sizes[i], output_size)


def output_size(x: dict) -> Size:
    """Return the (height, width) wanted of an input's outputs; by default that of its image."""
    height, width = x["image"].shape[-2:]
    return x.get("height", height), x.get("width", width)
