"""A model exported to Hugging Face finds the same segments with transformers' own programs."""

import importlib.util
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.config import get_cfg
from detectron2.modeling import build_model
from PIL import Image

from detr_d2 import Predictor, add_detr_config
from detr_d2.checkpoint.checkpointer import save_weights

os.environ.setdefault("HF_HUB_OFFLINE", "1")
transformers = pytest.importorskip("transformers")
transformers.logging.disable_progress_bar()

ROOT = Path(__file__).parents[2]
# Contiguous: brick 0, pipe 1, sky 2, soil 3; the ids of the set are others.
CATEGORIES = [
    {"id": 90, "name": "soil", "isthing": 0, "color": [130, 90, 50]},
    {"id": 7, "name": "brick", "isthing": 1, "color": [200, 60, 50]},
    {"id": 11, "name": "sky", "isthing": 0, "color": [110, 180, 230]},
    {"id": 8, "name": "pipe", "isthing": 1, "color": [60, 110, 170]},
]
THRESHOLD = 0.85


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """OUTPUT_DIR of a model for images of 96 pixels, with statistics of its own."""
    folder = tmp_path_factory.mktemp("trained")
    cfg = get_cfg()
    add_detr_config(cfg)
    cfg.merge_from_file(ROOT / "configs/Base-DETR.yaml")
    cfg.MODEL.META_ARCHITECTURE, cfg.MODEL.DEVICE = "PanopticDetr", "cpu"
    cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD = [90.0, 140.0, 60.0], [30.0, 80.0, 50.0]
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = 96, 200
    cfg.MODEL.DETR.NUM_CLASSES, cfg.MODEL.DETR.NUM_QUERIES = 4, 12
    cfg.MODEL.DETR.ENC_LAYERS = cfg.MODEL.DETR.DEC_LAYERS = 1
    cfg.MODEL.DETR.SCORE_THRESH = THRESHOLD
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = ()
    torch.manual_seed(2)
    model = build_model(cfg)
    # Sure of something everywhere: transformers multiplies masks by scores before they compete.
    model.query_embed.weight.data *= 20
    model.box_head.class_embed.weight.data *= 200
    model.box_head.class_embed.bias.data[-1] = -30.0
    # Masks of the attention maps alone, which differ from query to query; those of random weights
    # nearly tie, since they see the image more than the query.
    model.bbox_attention.q_linear.weight.data *= 30
    model.mask_head.convs[0].weight.data[:, :256] = 0
    for adapter in model.mask_head.adapters:
        adapter.weight.data.zero_()
    # Logits of a few units: transformers compares sigmoids, of which those of large logits are 1.
    save_weights(str(folder / "model_final.pth"), {"model": model.state_dict()})
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = ("never_registered_here",)
    (folder / "config.yaml").write_text(cfg.dump())
    (folder / "categories.json").write_text(json.dumps(CATEGORIES))
    return folder


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    """The folder that tools/convert_weights.py writes."""
    folder = tmp_path_factory.mktemp("exported")
    path = ROOT / "tools/convert_weights.py"
    spec = importlib.util.spec_from_file_location("tools_convert_weights", path)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    words = [str(trained / "model_final.pth"), str(folder), "--to", "hugging-face"]
    words += ["--config-file", str(trained), "--backbone", "transformers"]
    assert tool.main(tool.argument_parser().parse_args(words)) == 0
    return folder


def test_the_files_say_how_images_are_prepared_and_which_labels_are_stuff(exported):
    config = json.loads((exported / "config.json").read_text())
    assert config["id2label"] == {"0": "brick", "1": "pipe", "2": "sky", "3": "soil"}
    assert config["stuff_label_ids"] == [2, 3]
    listed = json.loads((exported / "categories.json").read_text())
    assert [(c["id"], c["name"], c["isthing"]) for c in listed] == [
        (7, "brick", 1),
        (8, "pipe", 1),
        (11, "sky", 0),
        (90, "soil", 0),
    ]
    images = json.loads((exported / "preprocessor_config.json").read_text())
    assert images["size"] == {"shortest_edge": 96, "longest_edge": 200}
    assert images["image_mean"] == pytest.approx([90 / 255, 140 / 255, 60 / 255])
    assert images["image_std"] == pytest.approx([30 / 255, 80 / 255, 50 / 255])


def smooth_image(height, width):
    """A few large blobs of colour."""
    small = np.random.default_rng(3).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def class_and_partition(id_map, classes):
    """Class of every pixel, -1 for none; segments are compared by `same_segments`."""
    table = np.full(max([*classes, 0]) + 1, -1)
    for number, label in classes.items():
        table[number] = label
    return table[id_map]


def found_by_transformers(folder, image, processor=None):
    """Segments by their own processor and post-processing, as our documents say."""
    processor = processor or transformers.AutoImageProcessor.from_pretrained(folder)
    model = transformers.DetrForSegmentation.from_pretrained(folder).eval()
    with torch.no_grad():
        outputs = model(**processor(images=image, return_tensors="pt"))
    result = processor.post_process_panoptic_segmentation(
        outputs,
        threshold=THRESHOLD,
        mask_threshold=0.0,
        overlap_mask_area_threshold=0.0,
        label_ids_to_fuse=set(model.config.stuff_label_ids),
        target_sizes=[image.size[::-1]],
    )[0]
    return result["segmentation"].numpy(), {s["id"]: s["label_id"] for s in result["segments_info"]}


def test_pixels_and_outputs_are_the_same(trained, exported):
    image = smooth_image(64, 120)
    predictor = Predictor.from_run(trained, device="cpu")
    batch = [predictor._input(np.asarray(image), True)]
    ours = predictor.model.raw_outputs(batch)
    processor = transformers.AutoImageProcessor.from_pretrained(exported)
    model = transformers.DetrForSegmentation.from_pretrained(exported).eval()
    inputs = processor(images=image, return_tensors="pt")
    assert torch.equal(inputs["pixel_values"], predictor.model.preprocess(batch).tensor)
    with torch.no_grad():
        theirs = model(**inputs)
    torch.testing.assert_close(theirs.pred_boxes, ours.boxes, atol=1e-4, rtol=0)
    torch.testing.assert_close(theirs.logits, ours.logits, atol=1e-2, rtol=1e-4)
    torch.testing.assert_close(theirs.pred_masks, ours.masks, atol=1e-2, rtol=1e-3)


def test_segments_are_the_same(trained, exported):
    image = smooth_image(64, 120)  # 96 x 180 for the network: no rounding
    id_map, segments = Predictor.from_run(trained, device="cpu")(np.asarray(image))["panoptic_seg"]
    ours = class_and_partition(id_map.numpy(), {s["id"]: s["category_id"] for s in segments})
    their_map, their_classes = found_by_transformers(exported, image)
    theirs = class_and_partition(their_map, their_classes)

    assert len(segments) >= 3 and len({s["isthing"] for s in segments}) == 2, "a weak test"
    # They enlarge probabilities and not logits, which moves borders by less than a pixel.
    assert (ours == theirs).mean() > 0.97
    pairs = {}
    for segment in segments:
        mask = id_map.numpy() == segment["id"]
        if mask.sum() < 200:  # The least of these is lost to the other way of enlarging.
            continue
        numbers, counts = np.unique(their_map[mask], return_counts=True)
        pairs[segment["id"]] = int(numbers[counts.argmax()])
        union = (mask | (their_map == pairs[segment["id"]])).sum()
        assert counts.max() / union > 0.9, segment
    assert len(set(pairs.values())) == len(pairs)

    # With the sizes and statistics of the published DETR it is another model.
    published = transformers.DetrImageProcessor()
    wrong = class_and_partition(*found_by_transformers(exported, image, published))
    assert (ours == wrong).mean() < 0.9, "the test would not notice them"
