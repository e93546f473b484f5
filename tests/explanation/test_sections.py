"""The sections of the payload of a pass of which a few queries are followed."""

import base64
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_explanation import PALETTE, tiny_image, tiny_predictor

from detr_d2.explanation import build_payload as building
from detr_d2.explanation import feature_pictures, recorded_pass
from detr_d2.explanation.capture import run_mask_head
from detr_d2.explanation.merge import Merge
from detr_d2.explanation.packing import PackedArray, unpack
from detr_d2.explanation.recorded_pass import choose_candidates, choose_followed, record_pass
from detr_d2.explanation.transformer_sections import Detail


@pytest.fixture(scope="module")
def few():
    """Three queries compete, five are candidates, two followed, one layer of the encoder."""
    predictor = tiny_predictor(ENC_LAYERS=3)
    scores = record_pass(predictor, tiny_image(), PALETTE).queries().scores
    middle = scores.sort(descending=True).values
    predictor.model.postprocess.score_thresh = (middle[2] + middle[3]).item() / 2
    recorded = record_pass(predictor, tiny_image(), PALETTE, "a.png", "w.pth")
    detail = Detail(0.01, 1 / 64, candidates=5, followed=2, encoder_layers=1)
    return recorded, building._build(recorded, detail)


def values(payload, name):
    """An array of the payload, read as the page reads it."""
    arrays = {n: PackedArray(payload.meta["arrays"][n], text) for n, text in payload.packed.items()}
    return unpack(arrays[name], arrays)


def test_candidates_are_kept_or_followed(few):
    recorded, payload = few
    scores = recorded.queries().scores
    order = scores.argsort(descending=True).tolist()
    assert payload.meta["followed"] == sorted(order[:2])
    assert payload.meta["candidates"] == [
        {
            "query": query,
            "kept": query in order[:3],
            "follow": sorted(order[:2]).index(query) if query in order[:2] else None,
        }
        for query in sorted(order[:5])
    ]
    assert payload.meta["merge"]["lowest_threshold"] == scores[order[5]].item()
    facts = payload.meta["facts"]
    assert (facts["above_threshold"], facts["candidates"], facts["queries"]) == (3, 5, 7)
    assert facts["score_thresh"] == payload.meta["merge"]["score_thresh"] > 0


def test_followed_queries_have_their_own_rows(few):
    recorded, payload = few
    trace, followed = recorded.trace, payload.meta["followed"]
    assert followed != [0, 1], "else the rows say nothing"
    maps = trace.get("bbox_attention")[followed]
    candidates = [c["query"] for c in payload.meta["candidates"]]
    logits, stages = run_mask_head(recorded.model, trace, followed)
    expected = {"bbox-attention": maps}
    expected |= {f"fpn-{k}": maps.mean(1) for k, maps in enumerate(stages.convolved)}
    expected["mask-logits"] = run_mask_head(recorded.model, trace, candidates)[0]
    for name, tensor in expected.items():
        tolerance = payload.meta["arrays"][name]["tolerance"]
        error = np.abs(values(payload, name) - tensor.numpy())
        assert error.max() <= 1.01 * tolerance + 1e-6 < 0.1, name
    total, heads = payload.meta["bbox_attention"]["sums"]
    assert heads == pytest.approx(maps[0].sum((1, 2)).tolist(), abs=1e-6) and len(heads) == 8
    assert total == pytest.approx(sum(heads))
    facts = payload.meta["facts"]
    assert facts["joint_sum"] == pytest.approx(total, abs=1e-5)
    assert facts["head_sums"] == ", ".join(f"{head:.2f}" for head in heads)
    assert (facts["maps"], facts["attention_max"]) == (
        8,
        pytest.approx(trace.get("bbox_attention").max().item()),
    )
    for number, layer in enumerate(payload.meta["decoder"]["layers"]):
        logits = trace.get("layer_logits")[number][followed].softmax(-1)[:, :-1]
        assert layer["scores"] == pytest.approx(logits.max(1).values.tolist())
        assert layer["classes"] == logits.argmax(1).tolist()
        boxes = trace.get("layer_boxes")[number][followed]
        np.testing.assert_allclose(layer["boxes"], boxes, atol=1e-5)
    assert [layer["layer"] for layer in payload.meta["encoder"]["layers"]] == [2], "the last"


def test_each_query_has_its_three_best_classes(few):
    recorded, payload = few
    chances = recorded.trace.get("logits").softmax(-1)
    for query, entry in enumerate(payload.meta["queries"]):
        ranked = sorted(enumerate(chances[query, :-1].tolist()), key=lambda pair: -pair[1])
        assert [pair[0] for pair in entry["top"]] == [index for index, _ in ranked[:3]]
        found = [pair[1] for pair in entry["top"]]
        assert found == pytest.approx([chance for _, chance in ranked[:3]], abs=1e-6)
        assert entry["no_object"] == pytest.approx(chances[query, -1].item(), abs=1e-6)
        assert entry["class"] == ranked[0][0] and entry["score"] == pytest.approx(ranked[0][1])
        assert entry["box"] == pytest.approx(recorded.trace.get("boxes")[query].tolist(), abs=1e-5)


def test_what_the_model_is(few):
    recorded, payload = few
    model = payload.meta["model"]
    assert (model["encoder_layers"], model["decoder_layers"]) == (3, 2)
    assert (model["heads"], model["maps"], model["normalize"]) == (8, 8, "joint")
    assert (model["weights"], payload.meta["title"]) == ("w.pth", "a.png")
    assert model["parameters"] == sum(p.numel() for p in recorded.model.parameters())
    assert (model["d"], model["queries"], model["classes"]) == (32, 7, 5)
    assert model["meta_architecture"] == "PanopticDetr" and not model["pre_norm"]
    assert payload.meta["categories"] == [
        {"name": name, "color": list(color), "isthing": name in ("brick", "pipe", "crate")}
        for name, color in zip(PALETTE.names, PALETTE.colors, strict=True)
    ]
    concat = payload.meta["concat"]
    assert (concat["d"], concat["maps"], len(concat["channel_ids"])) == (32, 8, 8)


def test_the_walk_leads_from_and_to(few):
    stops = {stop["id"]: stop for stop in few[1].meta["stops"]}
    assert stops["res3"]["from"] == ["res2"] and stops["res3"]["to"] == ["res4", "fpn"]
    assert stops["image"]["from"] == [] and stops["panoptic"]["to"] == []
    assert stops["scores"]["to"] == ["merge"]
    assert stops["panoptic"]["arrays"] == ["panoptic-ids"]
    assert stops["fpn"]["shape"] == [7, 2, 24, 34] and stops["fpn"]["known"]
    layer = ["encoder-2-queries", "encoder-2-keys"]
    features = ["encoded-rgb", "encoded-channels", "encoded-norm"]
    assert stops["encoded"]["arrays"] == [*features, *layer]
    assert stops["encoded"]["picture"] == "encoded-rgb" and stops["merge"]["picture"] is None


def test_stages_of_the_mask_head_say_what_they_add(few):
    fpn = few[1].meta["fpn"]
    assert [(s["title"], s["added"], s["symbol"], s["channels"]) for s in fpn["stages"]] == [
        ("Convolution 1", None, "(d + M) x H/32 x W/32", 40),
        ("Convolution 2", None, "d/2 x H/32 x W/32", 16),
        ("Convolution 3", "res4", "d/4 x H/16 x W/16", 8),
        ("Convolution 4", "res3", "d/8 x H/8 x W/8", 4),
        ("Convolution 5", "res2", "d/16 x H/4 x W/4", 2),
    ]
    assert fpn["stages"][0]["text"].startswith("3 x 3 convolution of the d + M channels")
    assert fpn["stages"][1]["text"].startswith("3 x 3 convolution, GroupNorm")
    assert fpn["stages"][2]["text"].startswith("Enlarged to the size of Res4, which is added")
    assert [(x["feature"], x["channels_in"], x["channels_out"]) for x in fpn["laterals"]] == [
        ("res4", 64, 16),
        ("res3", 32, 8),
        ("res2", 16, 4),
    ]
    assert [x["shape"] for x in fpn["laterals"]] == [[6, 9], [12, 17], [24, 34]]


def test_a_large_image_and_large_maps_are_smaller_in_the_page(monkeypatch):
    monkeypatch.setattr(recorded_pass, "MAX_SIDE", 50)
    monkeypatch.setattr(feature_pictures, "MAX_CELLS", 100)
    recorded = record_pass(tiny_predictor(), tiny_image(), PALETTE)
    meta = building.build_payload(recorded).meta
    image = meta["image"]
    assert (image["original"], image["output"], image["network"]) == (
        [72, 100],
        [36, 50],
        [96, 133],
    )
    kind, data = image["url"].split(",")
    jpeg = Image.open(io.BytesIO(base64.b64decode(data)))
    assert kind == "data:image/jpeg;base64" and (jpeg.format, jpeg.size) == ("JPEG", (50, 36))
    # 24 x 34 cells, averaged over 4 x 4.
    res2 = meta["features"]["res2"]
    assert (res2["shape"], res2["picture"]) == ([16, 24, 34], [6, 9])
    assert meta["arrays"]["res2-rgb"]["shape"] == [6, 9, 3]
    assert meta["fpn"]["stages"][-1]["picture"] == [6, 9]
    merge = meta["merge"]
    assert (merge["output"], merge["network"]) == ([36, 50], [96, 133])
    assert sum(merge["steps"][-1]["areas"]) == 36 * 50


@pytest.mark.parametrize("resize", ["masks", "ids"])
@pytest.mark.parametrize("unite", ["after_filtering", "before_filtering"])
def test_the_merge_is_that_of_the_models_settings(resize, unite):
    predictor = tiny_predictor()
    # Three things of class 0 and four pieces of stuff of class 2; one of each is small.
    predictor.model.query_embed.weight.data *= 3
    predictor.model.box_head.class_embed.weight.data *= 8
    predictor.model.box_head.class_embed.bias.data[-1] = -1000.0
    post = predictor.model.postprocess
    post.resize, post.unite_stuff, post.thing_ids = resize, unite, frozenset({0, 4})
    post.min_area = 400
    recorded = record_pass(predictor, tiny_image(), PALETTE)
    ids, segments = recorded.output["panoptic_seg"]
    candidates, _ = choose_candidates(recorded, 32)
    logits, _ = run_mask_head(recorded.model, recorded.trace, candidates)
    again, found = Merge(recorded, candidates, logits).run(0.0, 400)
    # One pixel may have two logits that are equal but for the order of the sums.
    assert (again != ids).sum() <= 1
    keys = ("id", "category_id", "isthing", "score")
    assert [[s[k] for k in keys] for s in found] == [[s[k] for k in keys] for s in segments]
    merge = building.build_payload(recorded).meta["merge"]
    assert (merge["resize"], merge["unite_stuff"]) == (resize, unite)
    assert (merge["thing_ids"], merge["min_area"]) == ([0, 4], 400)
    assert merge["packed"]["segments_equal"] and merge["packed"]["pixels"] > 0.98
    last = merge["steps"][-1]
    pixels = dict(zip(last["alive"], last["areas"], strict=True))
    classes = recorded.queries().classes
    for segment in merge["result"]["segments"]:
        assert sum(pixels[query] for query in segment["queries"]) == pytest.approx(
            segment["area"], abs=1
        )
        assert {int(classes[q]) for q in segment["queries"]} == {segment["category_id"]}
    made = [(s["category_id"], len(s["queries"])) for s in merge["result"]["segments"]]
    early = unite == "before_filtering"
    assert sorted(made) == [(0, 1), (0, 1), (2, 1 if early else 3)]
    assert len(merge["steps"][0]["dropped"]) >= 2


@pytest.mark.parametrize("arch", ["Detr", "PanopticDetr"])
def test_a_model_that_wants_bgr_gets_it(arch):
    predictor = tiny_predictor(arch)
    images = []
    for reverse, image in ((True, tiny_image()), (False, tiny_image()[..., ::-1].copy())):
        predictor.reverse = reverse
        images.append(record_pass(predictor, image, PALETTE).trace.get("images"))
    assert torch.equal(*images) and not torch.equal(images[0], images[0].flip(0))


def test_the_best_query_is_followed_where_none_is_a_candidate(recorded):
    assert choose_followed(recorded, [], 3) == [int(recorded.queries().scores.argmax())] != [0]


def test_levels_of_the_logits_are_as_fine_as_the_margins(recorded):
    def step(logits, share=0.1):
        return Merge(recorded, list(range(7)), torch.tensor(logits).view(7, 1, 3)).rounding_step(
            share
        )

    low = [[-9.0, -9, -9]] * 5
    # Margins 0.5, 0.25 and 2: the median counts, a large one does not make the levels coarser.
    assert step([[1.0, 1, 2], [0.5, 0.75, 0], *low]) == pytest.approx(0.05)
    assert step([[8.0, 8, 8], [0, 0, 0], *low]) == pytest.approx(0.1)
    # 16 bits hold 65535 levels.
    assert step([[1.3e6, 0, 0], [0, 0, 0], *low]) == pytest.approx(20, rel=1e-3)
    recorded.model.postprocess.score_thresh = recorded.queries().scores.max().item()
    alone = step([[1.0, 1, 2], [0.5, 0.75, 0], *low])
    recorded.model.postprocess.score_thresh = 0.0
    assert alone == 0.1


@pytest.mark.parametrize(("layers", "heads"), [(0, 0), (1, 8)])
def test_norms_first_and_a_transformer_without_an_encoder(record_tiny, layers, heads):
    meta = building.build_payload(record_tiny("Detr", PRE_NORM=True, ENC_LAYERS=layers)).meta
    assert (meta["model"]["encoder_layers"], meta["model"]["heads"]) == (layers, heads)
    assert meta["model"]["pre_norm"] == bool(layers)
    assert meta["encoder"]["layers"] == [] or layers
    json.dumps(meta, allow_nan=False)


@pytest.mark.parametrize(("budget", "expected"), [(100, 0), (99, 1), (60, 1), (59, 2), (1, 2)])
def test_the_first_detail_that_fits_is_taken(monkeypatch, budget, expected):
    sizes = dict(zip("abc", (100, 60, 59), strict=True))
    monkeypatch.setattr(building, "DETAILS", tuple("abc"))
    made = []

    class Sized:
        def __init__(self, detail):
            self.size = sizes[detail]
            made.append(detail)

    monkeypatch.setattr(building, "_build", lambda recorded, detail: Sized(detail))
    building.build_payload(None, budget)
    assert made == list("abc"[: expected + 1])


def test_learned_queries_and_what_becomes_of_them_have_their_names(few):
    recorded, payload = few
    for key, name in (("embeddings", "embeddings"), ("query_embed", "queries")):
        expected = recorded.trace.get(name).numpy()
        found = values(payload, payload.meta[key])
        assert np.abs(found - expected).max() <= np.ptp(expected) / 255


def test_of_two_classes_two_are_listed_and_never_that_of_nothing():
    predictor = tiny_predictor("Detr", NUM_CLASSES=2)
    predictor.model.box_head.class_embed.bias.data[-1] = 10.0
    recorded = record_pass(predictor, tiny_image(), PALETTE)
    queries = building.build_payload(recorded).meta["queries"]
    assert all(sorted(index for index, _ in query["top"]) == [0, 1] for query in queries)
