"""Our model against DETR of the `transformers` package, with the same random weights.

The weights go through a file that transformers writes, so that loading is tested along the way.
"""

import os

import pytest
import torch
from detectron2.config import get_cfg
from detectron2.modeling import build_model
from detectron2.structures import BitMasks, Boxes, Instances
from torch import nn

from detr_d2 import add_detr_config
from detr_d2.checkpoint import load_weights, open_weights

os.environ.setdefault("HF_HUB_OFFLINE", "1")
transformers = pytest.importorskip("transformers")
transformers.logging.disable_progress_bar()

BASE = os.path.join(os.path.dirname(__file__), "../../configs/Base-DETR.yaml")
NAMES = ["pipe", "person", "crane", "sky"]
QUERIES = 30
CLOSE = {"atol": 1e-4, "rtol": 0}


def their_model(kind):
    """DetrForSegmentation with random weights that keep all numbers of ordinary size."""
    config = {
        "id2label": dict(enumerate(NAMES)),
        "label2id": {name: i for i, name in enumerate(NAMES)},
        "dropout": 0.0,
        "num_queries": QUERIES,
    }
    if kind == "native":
        backbone = transformers.ResNetConfig(out_features=[f"stage{i}" for i in (1, 2, 3, 4)])
        config |= {"use_timm_backbone": False, "backbone_config": backbone}
    else:
        pytest.importorskip("timm")
        config |= {"backbone": kind.removesuffix("-dc5"), "dilation": kind.endswith("-dc5")}
    torch.manual_seed(0)
    model = transformers.DetrForSegmentation(transformers.DetrConfig(**config)).eval()
    for name, tensor in model.state_dict().items():
        shape = tensor.shape
        if name.endswith("running_var"):
            tensor.copy_(torch.rand(shape) + 0.5)
        elif name.endswith(("running_mean", "bias")):
            tensor.copy_(torch.randn(shape) * 0.1)
        elif "backbone" in name and tensor.dim() == 1:
            last = ".bn3." in name or ".layer.2." in name
            tensor.copy_((torch.rand(shape) + 0.5) * (0.2 if last else 1))
        elif "query_position" in name:
            tensor.copy_(torch.randn(shape))
    return model


@pytest.fixture(scope="module")
def native(tmp_path_factory):
    """Their model with their own ResNet, and its folder."""
    folder = tmp_path_factory.mktemp("native")
    theirs = their_model("native")
    theirs.save_pretrained(folder)
    return theirs, folder


def our_model(path, kind, **options):
    cfg = get_cfg()
    add_detr_config(cfg)
    cfg.merge_from_file(BASE)
    cfg.MODEL.META_ARCHITECTURE = "PanopticDetr"
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.DETR.NUM_CLASSES = len(NAMES)
    cfg.MODEL.DETR.NUM_QUERIES = QUERIES
    cfg.MODEL.DETR.DROPOUT = 0.0
    cfg.MODEL.RESNETS.DEPTH = 101 if "101" in kind else 50
    cfg.MODEL.RESNETS.RES5_DILATION = 2 if kind.endswith("-dc5") else 1
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = ()
    for key, value in options.items():
        cfg.MODEL.DETR[key] = value
    model = build_model(cfg).eval()
    report = load_weights(model, open_weights(str(path)), cfg=cfg)
    assert report.names("re-initialised") == report.names("unused") == []
    return model


def images(*sizes):
    generator = torch.Generator().manual_seed(1)
    return [
        {"image": torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8)}
        for size in sizes
    ]


def run_theirs(theirs, ours, inputs, **more):
    """Their model on the batch as ours prepares it: normalised, padded at right and bottom."""
    batch = ours.preprocess(inputs)
    mask = torch.zeros(len(inputs), *batch.tensor.shape[-2:], dtype=torch.int64)
    for row, (height, width) in zip(mask, batch.image_sizes, strict=True):
        row[:height, :width] = 1
    return theirs(pixel_values=batch.tensor.contiguous(), pixel_mask=mask, **more)


@pytest.mark.parametrize("kind", ["resnet50", "native", "resnet101", "resnet50-dc5"])
def test_logits_boxes_and_masks_agree(tmp_path, request, kind):
    if kind == "native":
        theirs, folder = request.getfixturevalue("native")
    else:
        theirs, folder = their_model(kind), tmp_path
        theirs.save_pretrained(folder)
    ours = our_model(folder, kind)
    # A padded size of whole strides; see the last test for others.
    for sizes in ([(96, 128)], [(96, 64), (64, 128)]):
        inputs = images(*sizes)
        mine = ours.raw_outputs(inputs)
        with torch.no_grad():
            expected = run_theirs(theirs, ours, inputs)
        assert expected.logits.std() > 0.1 and expected.pred_masks.std() > 0.1, "a weak test"
        torch.testing.assert_close(mine.logits, expected.logits, **CLOSE)
        torch.testing.assert_close(mine.boxes, expected.pred_boxes, **CLOSE)
        torch.testing.assert_close(mine.masks, expected.pred_masks, **CLOSE)


def objects(count, size, generator):
    """Random rectangles of random classes; every box is that of its mask."""
    masks = torch.zeros(count, *size, dtype=torch.bool)
    for mask in masks:
        y, x = (int(torch.randint(0, side // 2, (), generator=generator)) for side in size)
        mask[y : y + size[0] // 3, x : x + size[1] // 2] = True
    instances = Instances(size)
    instances.gt_masks = BitMasks(masks)
    instances.gt_boxes = Boxes(instances.gt_masks.get_bounding_boxes().tensor)
    instances.gt_classes = torch.randint(0, len(NAMES), (count,), generator=generator)
    return instances


def their_labels(instances):
    height, width = instances.image_size
    x0, y0, x1, y1 = instances.gt_boxes.tensor.unbind(1)
    boxes = torch.stack([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0], 1)
    return {
        "class_labels": instances.gt_classes,
        "boxes": boxes / torch.tensor([width, height, width, height]),
        "masks": instances.gt_masks.tensor.float(),
    }


def layer_outputs(theirs, run):
    """Logits and boxes (L, N, Q, .) after every decoder layer, by the decoder's own norm."""
    decoder, states = theirs.detr.model.decoder, []
    hooks = [
        layer.register_forward_hook(lambda _, __, output: states.append(output))
        for layer in decoder.layers
    ]
    outputs = run()
    for hook in hooks:
        hook.remove()
    normed = decoder.layernorm(torch.stack(states))
    return (
        outputs,
        theirs.detr.class_labels_classifier(normed),
        theirs.detr.bbox_predictor(normed).sigmoid(),
    )


def test_all_losses_agree(native):
    theirs, folder = native
    weights = ("CLASS", "L1", "GIOU", "FOCAL", "DICE")
    ours = our_model(folder, "native", **{f"{name}_WEIGHT": 1.0 for name in weights})
    generator = torch.Generator().manual_seed(2)
    inputs = images((96, 128), (96, 128))
    for x, count in zip(inputs, (4, 2), strict=True):
        x["instances"] = objects(count, (96, 128), generator)
    with torch.no_grad():
        mine = ours.losses(inputs)
        outputs, logits, boxes = layer_outputs(theirs, lambda: run_theirs(theirs, ours, inputs))
        theirs.config.auxiliary_loss = True
        _, expected, _ = theirs.loss_function(
            outputs.logits,
            [their_labels(x["instances"]) for x in inputs],
            torch.device("cpu"),
            outputs.pred_boxes,
            outputs.pred_masks,
            theirs.config,
            logits,
            boxes,
        )
        theirs.config.auxiliary_loss = False
    names = {"class": "ce", "l1": "bbox", "giou": "giou", "focal": "mask", "dice": "dice"}
    same = {}
    for name in mine:
        _, kind, *layer = name.split("_")
        same[name] = "_".join(["loss", names[kind], *layer])
    assert len(same) == 6 * 3 + 2
    assert {name for name in expected if name.startswith("loss")} == set(same.values())
    for name, their_name in same.items():
        assert mine[name].item() == pytest.approx(expected[their_name].item(), abs=1e-4), name


def test_their_auxiliary_losses_feed_the_normed_output_to_the_next_layer(native):
    """Why the test above collects the layers itself: a switch of the loss changes their model.

    With `auxiliary_loss` transformers 5 norms the state between decoder layers, and the last
    one twice; the original and we norm only what leaves the decoder.
    """
    theirs, _ = native
    pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain = theirs(pixels).logits
        theirs.config.auxiliary_loss = True
        changed = theirs(pixels).logits
        theirs.config.auxiliary_loss = False
    assert (plain - changed).abs().max() > 1e-3


def test_names_in_memory_load_too(tmp_path, native):
    """transformers 5 has other names in memory than in its files; people save both."""
    theirs, folder = native
    torch.save(theirs.state_dict(), tmp_path / "state.pth")
    memory, files = open_weights(str(tmp_path / "state.pth")), open_weights(str(folder))
    assert memory.layout == files.layout == "Hugging Face DETR" and not memory.unknown
    assert memory.tensors.keys() == files.tensors.keys()
    assert all(torch.equal(memory.tensors[k], files.tensors[k]) for k in files.tensors)
    assert files.classes == tuple(NAMES)


def test_padding_of_a_part_of_a_cell_is_rounded_otherwise(tmp_path):
    """The one difference: which cells of the last feature map are padding.

    They (and the original) sample the mask of pixels at each cell's nearest pixel, over the whole
    padded size; we keep as many cells as the image has when it is run alone. At a padded size of
    80 pixels (3 cells, sampled at rows 0, 26, 53) an image of 60 keeps 3 of theirs, all but padding
    or not, and ceil(60 / 32) = 2 of ours. Only padded batches are concerned; there are none here
    in inference.
    """
    from detr_d2.ops.masks import padding_mask

    pixels = torch.zeros(1, 1, 80, 96)
    pixels[..., :60, :] = 1
    sampled = nn.functional.interpolate(pixels, size=(3, 3))[0, 0, :, 0]
    assert sampled.tolist() == [1, 1, 1]
    ours = padding_mask([(60, 96)], (3, 3), 32, torch.device("cpu"))
    assert (~ours[0, :, 0]).tolist() == [True, True, False]
    alone = padding_mask([(60, 96)], (2, 3), 32, torch.device("cpu"))
    assert not alone.any()
