"""The two parts of the panoptic model that users replace, by name in the config.

A **bbox attention** is built as `cls(cfg)` and called as
`attention(queries (N, Q, d), image (N, d, h, w), padding (N, h, w) bool) -> (N, Q, M, h, w)`;
it has `num_maps`, the number M of maps per query.

A **mask head** is built as `cls(cfg, input_shape, num_maps)`, where `input_shape` maps the names of
`MODEL.DETR.MASK_HEAD.IN_FEATURES` to Detectron2's `ShapeSpec`, and called as
`head(image (N, d, h, w), attention, features) -> masks`: `attention` is a list of N tensors
(Q_i, M, h, w) of the queries that are needed of image i, Q_i may be 0; `features` is the list of
the backbone features (N, C, h_k, w_k), coarse to fine; the result is a list of N tensors
(Q_i, h_last, w_last) of mask logits, in the size of the last feature.
"""

from detectron2.utils.registry import Registry

BBOX_ATTENTION_REGISTRY = Registry("BBOX_ATTENTION")
MASK_HEAD_REGISTRY = Registry("MASK_HEAD")
