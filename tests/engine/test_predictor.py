"""The predictor: inputs of the model, its two front doors, pictures and COCO-panoptic files."""

import json

import numpy as np
import pytest
import torch
from detectron2.modeling import META_ARCH_REGISTRY
from PIL import Image
from tiny_model import build, give_weights, tiny_cfg
from torch import nn

import detr_d2
from detr_d2 import model_zoo
from detr_d2.checkpoint.checkpointer import save_weights
from detr_d2.data.categories import CategoryTable
from detr_d2.engine import Predictor

SKY, BRICK = (10, 20, 30), (200, 60, 50)
# As a training writes them, in contiguous order.
CATEGORIES = [
    {"id": 40, "name": "brick", "isthing": 1, "color": list(BRICK)},
    {"id": 9, "name": "sky", "isthing": 0, "color": list(SKY)},
]
seen = []


@META_ARCH_REGISTRY.register()
class EchoModel(nn.Module):
    """Keeps its inputs for the test to look at."""

    def __init__(self, cfg):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, batch):
        seen.extend(batch)
        return [{"number": number} for number in range(len(batch))]


@pytest.fixture
def echo_cfg(toy_cfg, tmp_path):
    seen.clear()
    toy_cfg.MODEL.META_ARCHITECTURE = "EchoModel"
    give_weights(toy_cfg, tmp_path)
    toy_cfg.INPUT.MIN_SIZE_TEST = 20
    toy_cfg.INPUT.MAX_SIZE_TEST = 100
    return toy_cfg


@pytest.fixture
def red():
    """10 rows, 15 columns of (200, 0, 0)."""
    image = np.zeros((10, 15, 3), np.uint8)
    image[..., 0] = 200
    return image


@pytest.mark.parametrize(("order", "channel"), [("RGB", 0), ("BGR", 2)])
def test_images_are_resized_and_put_into_the_models_channel_order(echo_cfg, red, order, channel):
    echo_cfg.INPUT.FORMAT = order
    outputs = Predictor(echo_cfg)([red, red[:, :10]])

    assert [output["number"] for output in outputs] == [0, 1]
    assert seen[0]["image"].shape == (3, 20, 30)
    assert seen[1]["image"].shape == (3, 20, 20)
    assert (seen[0]["height"], seen[0]["width"]) == (10, 15)
    assert [int(c.max()) for c in seen[0]["image"]] == [200 * (i == channel) for i in range(3)]


def test_one_image_gives_one_output_and_none_give_none(echo_cfg, red):
    predictor = Predictor(echo_cfg)
    assert predictor(red) == {"number": 0}
    assert predictor([]) == []


@pytest.mark.parametrize(
    ("scale", "enlarge", "expected"),
    [(1, True, (10, 15)), (1, False, (10, 15)), (4, True, (40, 60)), (4, False, (20, 30))],
)
def test_outputs_of_a_shrunk_image_may_stay_as_small_as_the_model_saw_it(
    echo_cfg, red, scale, enlarge, expected
):
    """The model sees 20 rows: an image of 10 is enlarged, one of 40 is shrunk."""
    Predictor(echo_cfg)(red.repeat(scale, 0).repeat(scale, 1), enlarge=enlarge)
    assert seen[0]["image"].shape == (3, 20, 30)
    assert (seen[0]["height"], seen[0]["width"]) == expected


def test_an_image_that_would_shrink_to_nothing_is_named(echo_cfg):
    strip = np.zeros((1, 400, 3), np.uint8)
    with pytest.raises(ValueError, match=r"400x1 pixels: .*MAX_SIZE_TEST 100 .* has no pixel"):
        Predictor(echo_cfg)(strip)
    # 0 asks for no scaling.
    echo_cfg.INPUT.MIN_SIZE_TEST = 0
    Predictor(echo_cfg)(strip)
    assert seen[0]["image"].shape == (3, 1, 400)
    with pytest.raises(ValueError, match="an image of 400x0 pixels"):
        Predictor(echo_cfg)(strip[:0])


def test_a_path_is_read_upright_in_rgb(echo_cfg, red, tmp_path):
    echo_cfg.INPUT.FORMAT = "RGB"
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 90 degrees
    Image.fromarray(red).save(tmp_path / "turned.png", exif=exif)
    Predictor(echo_cfg)([tmp_path / "turned.png", str(tmp_path / "turned.png")])
    for one in seen:
        assert (one["height"], one["width"]) == (15, 10)
        assert [int(c.min()) for c in one["image"]] == [200, 0, 0]


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((10, 15), np.uint8),
        np.zeros((10, 15, 4), np.uint8),
        np.zeros((3, 10, 15), np.uint8),
        np.zeros((10, 15, 3), np.float32),
        torch.zeros(10, 15, 3, dtype=torch.uint8),
    ],
)
def test_an_image_that_could_mean_several_things_is_rejected(echo_cfg, image):
    with pytest.raises(ValueError, match=r"an image (array|of type)"):
        Predictor(echo_cfg)(image)


def test_channel_order_that_images_cannot_be_brought_into_is_rejected(echo_cfg):
    echo_cfg.INPUT.FORMAT = "YUV-BT.601"
    with pytest.raises(ValueError, match=r"INPUT.FORMAT is 'YUV-BT.601', allowed: 'RGB', 'BGR'"):
        Predictor(echo_cfg)


def test_gpu_that_is_not_there_is_replaced_in_a_copy_of_the_config(echo_cfg, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    echo_cfg.MODEL.DEVICE = "cuda"
    echo_cfg.freeze()
    Predictor(echo_cfg)
    assert echo_cfg.MODEL.DEVICE == "cuda"


# The two front doors


def save_sure_model(path, cfg, sure):
    """Weights of a model whose every query is sure of one class, everywhere."""
    model = build(cfg)
    model.box_head.class_embed.bias.data[sure] = 20.0
    save_weights(str(path), {"model": model.state_dict()})


def small_cfg(arch="PanopticDetr", classes=2):
    cfg = tiny_cfg(arch)
    cfg.MODEL.DETR.NUM_CLASSES = classes
    cfg.INPUT.FORMAT, cfg.INPUT.MIN_SIZE_TEST = "RGB", 32
    return cfg


@pytest.fixture
def run_folder(tmp_path):
    """What a training leaves; contiguous ids: brick 0, sky 1. The averaged model sees sky only."""
    folder = tmp_path / "run"
    folder.mkdir()
    cfg = small_cfg()
    save_sure_model(folder / "model_ema.pth", cfg, sure=1)
    save_sure_model(folder / "model_final.pth", cfg, sure=0)
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = ("never_registered_here",)
    (folder / "config.yaml").write_text(cfg.dump())
    (folder / "categories.json").write_text(json.dumps(CATEGORIES))
    return folder


@pytest.fixture
def images(tmp_path, red):
    folder = tmp_path / "images"
    (folder / "deep").mkdir(parents=True)
    Image.fromarray(red).save(folder / "a.png")
    Image.fromarray(red[:, :8]).save(folder / "deep" / "b.jpg")
    return folder


def test_from_run_takes_config_categories_and_best_weights(run_folder, red):
    predictor = detr_d2.Predictor.from_run(run_folder, device="cpu")
    assert [c.name for c in predictor.categories.categories] == ["brick", "sky"]
    id_map, segments = predictor(red)["panoptic_seg"]
    assert id_map.shape == (10, 15)
    assert [segment["category_id"] for segment in segments] == [1], "the averaged weights"


def test_from_run_reads_categories_anew(run_folder):
    Predictor.from_run(run_folder)
    changed = [CATEGORIES[0], {**CATEGORIES[1], "name": "cloud"}]
    (run_folder / "categories.json").write_text(json.dumps(changed))
    again = Predictor.from_run(run_folder)
    assert [c.name for c in again.categories.categories] == ["brick", "cloud"]


def test_render_shows_in_a_notebook_in_the_colour_of_the_class(run_folder, images):
    predictor = Predictor.from_run(run_folder)
    picture = predictor.render(images / "a.png", predictor(images / "a.png"), width=60)
    assert picture.size == (60, 40)
    assert picture._repr_png_().startswith(b"\x89PNG")
    # Half of the sky's colour, half of the image: the muted (200, 0, 0) is (130, 30, 30).
    corner = np.asarray(picture)[1, 1].astype(int)
    assert abs(corner - (np.array(SKY) + np.array((130, 30, 30))) / 2).max() < 3


def test_what_is_saved_is_read_by_panopticapi(run_folder, images, tmp_path):
    evaluation = pytest.importorskip("panopticapi.evaluation")
    predictor = Predictor.from_run(run_folder)
    out = tmp_path / "out"
    json_path = predictor.save_coco_panoptic(out, [images])
    content = json.loads((out / "panoptic.json").read_text())
    assert [image["file_name"] for image in content["images"]] == ["a.png", "deep/b.jpg"]
    assert {c["id"]: c["name"] for c in content["categories"]} == {40: "brick", 9: "sky"}
    assert json_path == str(out / "panoptic.json")
    found, categories = content["annotations"], {c["id"]: c for c in content["categories"]}
    pairs = list(zip(found, found, strict=True))
    pngs = str(out / "panoptic")
    counts = evaluation.pq_compute_single_core(0, pairs, pngs, pngs, categories)
    assert (counts[9].tp, counts[9].iou, counts[9].fp, counts[9].fn) == (2, 2.0, 0, 0)
    assert counts[40].tp == 0, "every pixel is sky, id 9"


def test_saved_images_have_the_ids_of_the_data_set(run_folder, images, tmp_path):
    listed = [{"id": 70, "file_name": "deep/b.jpg"}, {"id": 5, "file_name": "a.png"}]
    (tmp_path / "set.json").write_text(json.dumps({"images": listed}))
    predictor = Predictor.from_run(run_folder)
    predictor.save_coco_panoptic(tmp_path / "out", [images], ids_from=tmp_path / "set.json")
    content = json.loads((tmp_path / "out" / "panoptic.json").read_text())
    assert {image["file_name"]: image["id"] for image in content["images"]} == {
        "a.png": 5,
        "deep/b.jpg": 70,
    }


def test_save_rejects_videos_and_models_without_masks(run_folder, images, tmp_path):
    (images / "v.mp4").touch()
    with pytest.raises(ValueError, match=r"v\.mp4'\] are videos: tools/demo.py"):
        Predictor.from_run(run_folder).save_coco_panoptic(tmp_path / "out", [images])
    cfg = small_cfg("Detr")
    save_sure_model(run_folder / "model_best.pth", cfg, sure=0)
    (run_folder / "config.yaml").write_text(cfg.dump())
    with pytest.raises(ValueError, match="needs a mask head"):
        Predictor.from_run(run_folder).save_coco_panoptic(tmp_path / "out", [images / "a.png"])


@pytest.mark.parametrize(
    ("arch", "dataset", "count", "last"),
    [
        ("PanopticDetr", "coco_2017_val_panoptic", 133, "rug-merged"),
        ("Detr", "coco_2017_val", 80, "toothbrush"),
    ],
)
def test_from_zoo_knows_cocos_categories(tmp_path, monkeypatch, red, arch, dataset, count, last):
    """In a folder without COCO; the "published" weights are those of a tiny model."""
    monkeypatch.setattr(model_zoo, "CONFIGS", tmp_path)
    monkeypatch.setattr(model_zoo, "PUBLISHED", str(tmp_path))
    cfg = small_cfg(arch, classes=0)
    cfg.DATASETS.TEST = (dataset,)
    (tmp_path / "training.yaml").write_text(cfg.dump())
    save_sure_model(tmp_path / "weights.pth", cfg, sure=count - 1)
    text = f'_BASE_: "training.yaml"\nMODEL:\n  WEIGHTS: "{tmp_path}/weights.pth"\n'
    (tmp_path / "tiny.yaml").write_text(text)
    predictor = Predictor.from_zoo("tiny.yaml", device="cpu")
    assert len(predictor.categories) == count
    assert predictor.categories.categories[-1].name == last
    output = predictor(red)
    assert predictor.render(red, output).size == (15, 10)
    if arch == "PanopticDetr":
        assert [s["category_id"] for s in output["panoptic_seg"][1]] == [132]
    else:
        assert set(output["instances"].pred_classes.tolist()) == {79}


def test_a_device_that_was_asked_for_is_taken_or_missed(monkeypatch, echo_cfg):
    """The config has a GPU; both ways to a model keep to what the user names."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    echo_cfg.MODEL.DEVICE = "cuda"
    monkeypatch.setattr(model_zoo, "get_config", lambda name, trained: echo_cfg.clone())
    assert Predictor.from_zoo("any.yaml", device="cpu").model.weight.device.type == "cpu"
    with pytest.raises(ValueError, match=r"MODEL\.DEVICE cuda:1 was asked for, but"):
        Predictor.from_zoo("any.yaml", device="cuda:1")


def test_unknown_categories_are_an_error_only_where_they_are_needed(echo_cfg, red):
    echo_cfg.DATASETS.TRAIN = echo_cfg.DATASETS.TEST = ()
    predictor = Predictor(echo_cfg)
    output = predictor(red)
    with pytest.raises(ValueError, match=r"give Predictor\(categories=...\)"):
        predictor.render(red, output)


def test_categories_that_are_not_those_of_the_model_are_rejected(tiny_set, register, tmp_path):
    cfg = small_cfg(classes=0)
    cfg.DATASETS.TRAIN = (register(**tiny_set.paths()),)
    give_weights(cfg, tmp_path)
    others = [
        {**c, "name": "cloud"} if c["name"] == "sky" else c for c in tiny_set.content["categories"]
    ]
    message = r"are \['pipe', 'brick', 'cloud', 'soil'\]; the model's .* \['pipe', 'brick', 'sky',"
    with pytest.raises(ValueError, match=message):
        Predictor(cfg, CategoryTable(others))
