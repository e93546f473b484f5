"""The configs of small trainings from scratch: two stages that fit, and no key for nothing."""

from pathlib import Path

import pytest
import yaml
from detectron2.config import CfgNode
from detectron2.modeling import build_model

from detr_d2.engine.command_line import load_config

CONFIGS = Path(__file__).parents[1] / "configs"
NAMES = ("Site/site", "Overfit/overfit", "Nuts/nuts")


def config_of(name: str, stage: str) -> CfgNode:
    """A config with the number of classes that a data set would give."""
    options = ["MODEL.DEVICE", "cpu", "MODEL.DETR.NUM_CLASSES", 4]
    return load_config(str(CONFIGS / f"{name}_{stage}.yaml"), [*options, "DATASETS.TRAIN", ()])


@pytest.mark.parametrize("name", NAMES)
def test_the_second_stage_takes_all_of_the_first_and_learns_masks_alone(name):
    boxes, masks = (build_model(config_of(name, stage)) for stage in ("boxes", "panoptic"))
    shapes, more = ({k: v.shape for k, v in m.state_dict().items()} for m in (boxes, masks))
    assert shapes.items() <= more.items()
    new = {key.split(".")[0] for key in set(more) - set(shapes)}
    learning = {k.split(".")[0] for k, v in masks.named_parameters() if v.requires_grad}
    assert new == learning == {"bbox_attention", "mask_head"}
    assert all(parameter.requires_grad for parameter in boxes.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_both_stages_look_at_images_of_one_size(name):
    """Otherwise the masks would be learnt on other features than the boxes were."""
    boxes, masks = (config_of(name, stage) for stage in ("boxes", "panoptic"))
    for key in ("MIN_SIZE_TEST", "MAX_SIZE_TEST", "MIN_SIZE_TRAIN", "MAX_SIZE_TRAIN"):
        assert boxes.INPUT[key] == masks.INPUT[key]
    assert boxes.INPUT.MIN_SIZE_TRAIN == (boxes.INPUT.MIN_SIZE_TEST,)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("stage", ["boxes", "panoptic"])
def test_no_key_repeats_what_the_base_says(name, stage):
    path = CONFIGS / f"{name}_{stage}.yaml"
    own = yaml.safe_load(path.read_text())
    base = path.parent / own.pop("_BASE_")
    before, after = (load_config(str(file), []) for file in (base, path))
    assert repeated(own, before, after) == []


def repeated(own: dict, before: CfgNode, after: CfgNode) -> list[str]:
    """Keys of a config's own nested dictionary whose value is the same before and after it."""
    found = []
    for key, value in own.items():
        if isinstance(value, dict):
            found += [f"{key}.{rest}" for rest in repeated(value, before[key], after[key])]
        elif before[key] == after[key]:
            found.append(key)
    return found
