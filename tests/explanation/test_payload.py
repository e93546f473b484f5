import json

import numpy as np
import pytest
import torch
from tiny_explanation import PALETTE, tiny_image, tiny_predictor
from torch import nn

from detr_d2.explanation.build_payload import build_payload
from detr_d2.explanation.factors import weights_of_factors
from detr_d2.explanation.packing import PackedArray, unpack
from detr_d2.explanation.recorded_pass import choose_candidates, choose_followed, record_pass

MASK_STOPS = {"bbox_attention", "concat", "fpn", "masks", "merge", "panoptic"}


@pytest.fixture(scope="module")
def payload(recorded):
    return build_payload(recorded)


def values(payload, name):
    """An array of the payload, read as the page reads it."""
    arrays = {n: PackedArray(payload.meta["arrays"][n], text) for n, text in payload.packed.items()}
    return unpack(arrays[name], arrays)


def test_meta_is_json_and_names_every_array_and_every_stop(payload):
    text = json.dumps(payload.meta, allow_nan=False)
    assert payload.meta["arrays"].keys() == payload.packed.keys()
    ids = [stop["id"] for stop in payload.meta["stops"]]
    assert ids[0] == "image" and ids[-1] == "panoptic" and len(ids) == 18
    for stop in payload.meta["stops"]:
        assert set(stop["from"] + stop["to"]) <= set(ids)
        assert set(stop["arrays"]) <= payload.packed.keys()
        assert stop["code"] and set(stop["code"]) <= payload.meta["code"].keys()
    for question in payload.meta["questions"]:
        assert set(question["stops"]) <= set(ids)
    assert "{" not in "".join(m["seen"] for m in payload.meta["misunderstandings"])
    assert len(payload.meta["misunderstandings"]) == 9 and len(payload.meta["questions"]) == 8
    assert payload.size == len(payload.packed_meta) + sum(map(len, payload.packed.values()))
    assert len(text) > 1000


def test_actual_shapes(payload):
    """72 x 100 pixels are run at 96 x 133: the encoded image has 3 x 5 cells."""
    shapes = {stop["id"]: stop["shape"] for stop in payload.meta["stops"]}
    assert payload.meta["image"]["original"] == payload.meta["image"]["output"] == [72, 100]
    assert shapes["image"] == [3, 96, 133]
    assert shapes["res5"] == [128, 3, 5] and shapes["res2"] == [16, 24, 34]
    assert shapes["projected"] == shapes["encoded"] == [32, 3, 5]
    assert shapes["embeddings"] == shapes["queries"] == [7, 32]
    assert shapes["scores"] == [7, 6] and shapes["boxes"] == [7, 4]
    assert shapes["bbox_attention"] == [7, 8, 3, 5] and shapes["concat"] == [7, 40, 3, 5]
    assert shapes["fpn"] == [7, 2, 24, 34] and shapes["masks"] == [7, 24, 34]
    assert shapes["panoptic"] == [72, 100]


def test_arrays_are_those_of_torch_within_their_tolerance(recorded, payload):
    trace, followed = recorded.trace, payload.meta["followed"]
    expected = {
        "bbox-attention": trace.get("bbox_attention")[followed],
        "embeddings": trace.get("embeddings"),
        "queries": trace.get("queries"),
        "encoded-norm": trace.get("encoded").norm(dim=0),
        "decoder-self": torch.stack(
            [c.weights()[0][:, followed].transpose(0, 1) for c in trace.decoder_self]
        ),
        "decoder-cross": torch.stack(
            [c.weights()[0][:, followed].transpose(0, 1) for c in trace.decoder_cross]
        ).unflatten(3, (3, 5)),
    }
    for name, tensor in expected.items():
        found = values(payload, name)
        tolerance = payload.meta["arrays"][name]["tolerance"]
        assert tolerance <= 1.01 * np.abs(tensor.numpy()).max() / 255, name
        assert np.abs(found - tensor.numpy()).max() <= 1.01 * tolerance + 1e-9, name


def test_encoder_attention_of_the_factors(recorded, payload):
    encoder = payload.meta["encoder"]
    assert encoder["cells"] == [3, 5] and [x["layer"] for x in encoder["layers"]] == [0, 1]
    assert encoder["tolerance"] < 0.1
    for layer, call in zip(encoder["layers"], recorded.trace.encoder, strict=True):
        factors = [torch.from_numpy(values(payload, layer[k])) for k in ("queries", "keys")]
        found, expected = weights_of_factors(*factors), call.weights()[0]
        error = (found - expected).abs() / expected.amax(-1, keepdim=True)
        assert error.max() <= encoder["tolerance"] + 1e-6


def test_packed_masks_merge_to_the_models_own_map(recorded, payload):
    merge = payload.meta["merge"]
    ids, segments = recorded.output["panoptic_seg"]
    assert (values(payload, merge["result"]["ids"]) == ids.numpy()).all()
    listed = [{k: v for k, v in s.items() if k != "queries"} for s in merge["result"]["segments"]]
    assert listed == segments and len(segments) > 1
    assert merge["packed"]["pixels"] > 0.9
    classes = {q: e["class"] for q, e in enumerate(payload.meta["queries"])}
    seen = [q for s in merge["result"]["segments"] for q in s["queries"]]
    assert len(seen) == len(set(seen)), "a query belongs to one segment"
    for segment in merge["result"]["segments"]:
        assert {classes[q] for q in segment["queries"]} == {segment["category_id"]}
        assert len(segment["queries"]) == 1 or not segment["isthing"]


def test_the_box_model_has_no_mask_stops(record_tiny):
    payload = build_payload(record_tiny("Detr"))
    stops = {stop["id"] for stop in payload.meta["stops"]}
    assert not stops & MASK_STOPS and "boxes" in stops
    assert "merge" not in payload.meta and "mask-logits" not in payload.packed
    ids = {m["id"] for m in payload.meta["misunderstandings"]}
    assert "encoded_is_cnn" in ids and "unet" not in ids


def test_an_unknown_mask_head_is_one_box():
    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(8, 1, 1)

        def forward(self, image, attention, features):
            return [self.conv(maps)[:, 0] for maps in attention]

    predictor = tiny_predictor()
    predictor.model.mask_head = Head()
    payload = build_payload(record_pass(predictor, tiny_image(), PALETTE))
    known = {stop["id"]: stop["known"] for stop in payload.meta["stops"]}
    assert not known["fpn"] and not known["concat"] and known["masks"]
    assert payload.meta["fpn"] == {"stages": [], "laterals": []}
    assert payload.meta["concat"] is None
    ids = {m["id"] for m in payload.meta["misunderstandings"]}
    assert "softmax_per_head" in ids and "unet" not in ids
    code = payload.meta["code"].values()
    assert any("self.conv(maps)" in entry["source"] for entry in code), "the user's own lines"


def test_nothing_is_found():
    predictor = tiny_predictor()
    predictor.model.box_head.class_embed.bias.data[-1] = 50.0
    payload = build_payload(record_pass(predictor, tiny_image(), PALETTE))
    assert payload.meta["candidates"] == [] and len(payload.meta["followed"]) == 1
    assert payload.meta["merge"]["result"]["segments"] == []
    assert payload.meta["merge"]["steps"][-1]["alive"] == []
    json.dumps(payload.meta, allow_nan=False)


def test_candidates_are_complete_above_the_lowest_threshold(recorded):
    scores = recorded.queries().scores
    recorded.model.postprocess.score_thresh = scores.max().item()
    candidates, lowest = choose_candidates(recorded, 3)
    recorded.model.postprocess.score_thresh = 0.0
    assert candidates == sorted(scores.topk(3).indices.tolist())
    assert lowest == scores.sort(descending=True).values[3].item()
    assert recorded.competing(lowest) == candidates
    assert choose_followed(recorded, candidates, 1) == [int(scores.argmax())]
    assert choose_candidates(recorded, 99) == (list(range(7)), 0.0)


def test_all_that_compete_are_candidates_however_few_are_wanted(recorded):
    scores = recorded.queries().scores.sort(descending=True).values
    recorded.model.postprocess.score_thresh = scores[4].item()
    candidates, lowest = choose_candidates(recorded, 2)
    recorded.model.postprocess.score_thresh = 0.0
    # Four are above the fifth's score.
    assert len(candidates) == 4 and lowest == scores[4].item()
    assert recorded.competing(lowest) == candidates


def test_a_large_image_gets_less_detail(recorded, payload):
    small = build_payload(recorded, budget=0)
    assert small.size < payload.size
    assert [layer["layer"] for layer in small.meta["encoder"]["layers"]] == [1], "the last stays"


def test_images_that_are_larger_are_shown_and_merged_at_1066_pixels():
    recorded = record_pass(tiny_predictor(), tiny_image(1600, 800), PALETTE)
    assert recorded.original == (1600, 800) and recorded.size == (1066, 533)
    assert recorded.output["panoptic_seg"][0].shape == (1066, 533)


def test_a_model_that_gives_no_panoptic_map_is_rejected():
    predictor = tiny_predictor(PANOPTIC_ON=False)
    with pytest.raises(ValueError, match=r"PANOPTIC_ON is False"):
        record_pass(predictor, tiny_image(), PALETTE)
