"""Define the data that the explanation page gets: one JSON text and named arrays.

Transport
---------
`Payload.meta` is a dictionary of JSON types, `Payload.arrays` maps names to `PackedArray`. In the
page the JSON lies gzipped in `<script type="text/plain" id="meta">`, array NAME gzipped in
`<script type="text/plain" id="array-NAME">`, both in base64. `meta.arrays[NAME]` says how to read
an array:

    dtype   "uint8", "uint16" or "float32" (little endian); a uint16 array is stored as two planes:
            first the low bytes of all elements, then the high bytes
    filter  "none", or "delta": each element is stored as its difference from the one before it
            along the last axis plus 128, modulo 256 or 65536; the first of each row as it is
    shape   list of integers
    scale, offset   value = raw * scale + offset. Each is a number, or the name of a float32 array
            whose shape is that of the leading axes, one number for each of their indices
    tolerance   largest |value - torch's value| of this array, measured when it was packed
    text    what it is

Legend: h, w = cells of the encoded image (H/stride), S = h * w in row-major order, d channels, L
layers, A heads of the transformer, M maps of the bbox attention, Q queries, K classes, C
candidates, D followed queries.

meta
----
schema      1
title       name of the image file
model       meta_architecture, backbone, weights, parameters, d, queries, classes, stride (pixels
            of a cell of the encoded image: 32, or 16 with DC5), heads, maps,
            normalize ("joint" | "per_head" | null), encoder_layers, decoder_layers, pre_norm
image       original [h, w], network [H, W], output [h, w]: sizes in pixels. `output` is the size
            of the page's picture and of the merge: the original's, but at most 1066 on the longer
            side.
            url: the picture at that size, a data: URL (JPEG)
categories  [{name, color [r, g, b], isthing}] by contiguous id
stops       the walk, in order: [{id, title, text, symbol "d x H/32 x W/32", shape [..] | null,
            known, from [stop ids], to [stop ids], code [code ids], arrays [names], picture: array
            name | null}]. Ids: image, res2, res3, res4, res5, projected, position, encoded,
            queries, embeddings, scores, boxes, bbox_attention, concat, fpn, masks, merge,
            panoptic. A model without a mask head has none of the last six; `known` is false for a
            stage of a head that the package does not know the inside of (one box, no pictures).
features    {stop id: {shape, picture [h, w], rgb: name, channels: name, channel_ids, norm: name}}
            of res2 .. res5, projected, position, encoded. rgb (h, w, 3): the three principal
            components of the channels; channels (6, h, w): those that vary most, each scaled by
            its own range; norm (h, w): length of the vector in each cell. A map of more than 20000
            cells is shown averaged over 2 x 2, 4 x 4, .. cells: `picture` is then smaller than
            `shape`.
queries     [{score, class, is_object, no_object, box [cx, cy, w, h] fractions of the image, top:
            [[class, probability] x 3]}] of all Q. is_object: the best class beats "no object".
            scores are float32 numbers, exact.
embeddings  name of (Q, d), the box embeddings; query_embed: name of (Q, d), the learned queries
candidates  [{query, kept, follow}] in ascending order of the query: every query that can be in the
            panoptic map at a threshold >= merge.lowest_threshold. kept: in it at
            merge.score_thresh before small segments are dropped. follow: row in the arrays of the
            followed queries, or null.
followed    [query] of those rows, ascending: all that is kept and then the best others, at most 16
            (fewer where the page would get too large).
encoder     layers: [{layer, queries: name, keys: name}], cells [h, w], tolerance. queries and keys
            are (A, r, S): logit of cell i for cell j in head a = sum over r of queries[a, r, i] *
            keys[a, r, j]; attention = softmax over j. What i attends to is that row, what attends
            to i is column i of the softmax of all rows. (A factorization of q k^T / sqrt(d / A)
            without the part that is equal for all j, which softmax ignores. Attention of all heads
            together = mean over a of the softmaxes.) Layers may be missing where the page would
            get too large: the list says which there are. tolerance: largest measured |page's
            weight - torch's| divided by the largest weight of the row.
decoder     layers: [{scores [D], classes [D], boxes [D x 4]}], predictions after every layer;
            cross: name of (L, D, A, h, w); self: name of (L, D, A, Q), sums 1 over its last axes
bbox_attention  maps: name of (D, M, h, w); sums: [sum over heads and cells, [sum of each head]] of
            the first followed query
concat      {d, maps, image: name of (8, h, w), channel_ids}: channels of the projected image,
            beside which the M maps lie; null for an unknown head
fpn         stages: [{id, title, text, added: "res4" | null, symbol, channels, shape [h, w],
            picture [h, w],
            maps: name of (D, h, w)}], mean over the channels of each query after each convolution,
            scaled per query, coarse to fine; laterals: [{feature "res4", channels_in,
            channels_out, shape,
            rgb: name of (h, w, 3)}]. Both empty for an unknown head.
masks       {logits: name of (C, h, w) with one scale and offset for all, shape [h, w]}
merge       score_thresh, lowest_threshold, min_area, unite_stuff ("after_filtering" |
            "before_filtering"), resize ("masks" | "ids"), network [H, W], output [h, w],
            thing_ids, steps, result. A query takes part where is_object and score >
            Math.fround(threshold), in ascending order. resize "masks": logits are brought to
            `output` (bilinear, align_corners false), and argmax is taken there, the first of equal
            ones; "ids": they are brought to `network`, and the argmax to `output` by the nearest
            pixel ("nearest-exact": source = floor((i + 0.5) * in / out)). min_area counts pixels
            of `output`; areas < max(min_area, 1) are dropped, and argmax is repeated without them
            until nothing is dropped. Then stuff of one class is united, ids count from 1 in the
            order of the first query of each segment.
            steps: [{alive [queries], areas [..], dropped [queries]}], one for each argmax.
            result: {ids: name of (h, w) uint8, the model's own panoptic map, segments: [{id,
            category_id, isthing, score, area, queries}]}; packed: {segments_equal, pixels}:
            whether Python's merge of the packed logits gives the same segments, and the share of
            equal pixels.
facts       flat {name: number | list} of this pass, for example encoder_change, joint_sum,
            head_sums, concat_channels, last_channels, res5_shape, dropped, reassigned_pixels
misunderstandings   [{id, stop, said, fact, seen}]: `seen` has the numbers of this pass
questions   [{id, stops [ids], title, answer, seen}]: `seen` has the numbers of this pass; may be ""
code        {code id "detr_d2/modeling/detr.py::Detr.detect": {file, symbol, start, end, source}}:
            lines `start` to `end` of the file, read when the page is built
Texts are plain; `...` in them marks code.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from detr_d2.explanation.packing import compress_json

SCHEMA = 1


@dataclass(frozen=True)
class Payload:
    """The page's data.

    Attributes:
        meta: as described above.
        packed: base64 of gzip of each array, by name.
    """

    meta: dict[str, Any]
    packed: dict[str, str]

    @cached_property
    def packed_meta(self) -> str:
        """Base64 of gzip of `meta` as JSON."""
        return compress_json(self.meta)

    @property
    def size(self) -> int:
        """Characters of all texts together."""
        return len(self.packed_meta) + sum(map(len, self.packed.values()))
