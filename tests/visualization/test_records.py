import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BitMasks, Boxes, BoxMode, Instances
from PIL import Image

from detr_d2.visualization import (
    Palette,
    comparison_row,
    read_image,
    render_ground_truth,
    render_output,
    render_targets,
)

RED, GREEN = (220, 20, 20), (20, 200, 20)
PALETTE = Palette(["barrel", "grass"], [RED, GREEN], thing_ids=[0])


def grey():
    return np.full((40, 60, 3), 100, np.uint8)


def looks_like(pixel, color):
    return int(np.argmax(pixel)) == int(np.argmax(color))


def test_ground_truth_and_an_equal_prediction_look_alike_but_for_the_score(tiny_set, register):
    name = register(**tiny_set.paths())
    record = DatasetCatalog.get(name)[0]
    palette = Palette.from_metadata(MetadataCatalog.get(name))
    image = read_image(record["file_name"])
    ids = torch.from_numpy(tiny_set.id_maps["a"])
    output = {"panoptic_seg": (ids, record["segments_info"])}
    ground_truth = render_ground_truth(image, record, palette, 240)
    assert np.array_equal(ground_truth, render_output(image, output, palette, 240))
    # The brick: rows 8..12, columns 4..9, ten times as large; its upper left, off the label.
    assert looks_like(ground_truth[88, 46], (200, 60, 50))


def test_a_row_holds_image_ground_truth_and_prediction_in_one_size(tiny_set, register):
    name = register(**tiny_set.paths())
    palette = Palette.from_metadata(MetadataCatalog.get(name))
    for record in DatasetCatalog.get(name):
        ids = torch.zeros((record["height"], record["width"]), dtype=torch.int32)
        row = comparison_row(record, {"panoptic_seg": (ids, [])}, palette, width=96)
        height = round(96 * record["height"] / record["width"])
        assert [picture.shape for picture in row] == [(height, 96, 3)] * 3


def test_instances_are_rendered_when_there_is_no_map_and_only_the_sure_ones():
    instances = Instances((40, 60))
    instances.pred_boxes = Boxes(torch.tensor([[5.0, 5, 20, 30], [35, 5, 55, 30]]))
    instances.scores = torch.tensor([0.9, 0.5])
    instances.pred_classes = torch.tensor([0, 0])
    picture = render_output(grey(), {"instances": instances}, PALETTE)
    assert picture[25, 5].tolist() == list(RED)
    assert picture[25, 35].tolist() == [100, 100, 100]


def test_boxes_of_the_model_show_their_scores_and_those_of_the_data_have_none():
    instances = Instances((40, 60))
    instances.pred_boxes = Boxes(torch.tensor([[5.0, 5, 55, 35]]))
    instances.scores, instances.pred_classes = torch.tensor([0.9]), torch.tensor([0])
    found = render_output(grey(), {"instances": instances}, PALETTE, 240)
    box = {"bbox": [5, 5, 55, 35], "bbox_mode": BoxMode.XYXY_ABS, "category_id": 0}
    given = render_ground_truth(grey(), {"annotations": [box]}, PALETTE, 240)
    ends = [np.nonzero((p > 240).all(axis=2))[1].max() for p in (found, given)]
    assert ends[0] > ends[1] + 10, "barrel 90% is longer than barrel"


def test_of_overlapping_targets_the_smaller_lies_on_top():
    masks = torch.zeros((2, 40, 60), dtype=torch.bool)
    masks[0, 15:25, 25:45], masks[1] = True, True
    for order in ([0, 1], [1, 0]):
        instances = Instances((40, 60))
        instances.gt_classes = torch.tensor(order)
        instances.gt_masks = BitMasks(masks[order])
        instances.gt_boxes = instances.gt_masks.get_bounding_boxes()
        picture = render_targets(grey(), instances, PALETTE, 120)
        # The barrel in the middle, twice as large; rows 30 to 49.
        assert picture.shape == (80, 120, 3)
        assert looks_like(picture[46, 84], RED) and looks_like(picture[60, 84], GREEN)


def test_an_output_with_nothing_to_render_is_an_error():
    with pytest.raises(ValueError, match=r"nothing to render in \['sem_seg'\]"):
        render_output(grey(), {"sem_seg": None}, PALETTE)


def test_targets_of_the_mapper():
    masks = torch.zeros((2, 40, 60), dtype=torch.bool)
    masks[0, :, :30], masks[1, 10:30, 40:50] = True, True
    instances = Instances((40, 60))
    instances.gt_classes = torch.tensor([1, 0])
    instances.gt_masks = BitMasks(masks)
    instances.gt_boxes = instances.gt_masks.get_bounding_boxes()
    picture = render_targets(grey(), instances, PALETTE)
    assert looks_like(picture[35, 15], GREEN)
    assert looks_like(picture[20, 45], RED)
    # The box's corner lies on the mask's; outside is void.
    assert looks_like(picture[10, 40], RED)
    assert picture[5, 55].max() < 60


def test_targets_and_ground_truth_of_detection_data_are_boxes():
    instances = Instances((40, 60))
    instances.gt_classes = torch.tensor([0])
    instances.gt_boxes = Boxes(torch.tensor([[5.0, 5, 20, 30]]))
    record = {
        "annotations": [
            {"bbox": [5, 5, 15, 25], "bbox_mode": BoxMode.XYWH_ABS, "category_id": 0},
            {
                "bbox": [35, 5, 15, 25],
                "bbox_mode": BoxMode.XYWH_ABS,
                "category_id": 0,
                "iscrowd": 1,
            },
        ]
    }
    targets = render_targets(grey(), instances, PALETTE)
    assert np.array_equal(render_ground_truth(grey(), record, PALETTE), targets)
    assert targets[25, 5].tolist() == list(RED)
    assert targets[25, 35].tolist() == [100, 100, 100]
    assert render_ground_truth(grey(), {"annotations": []}, PALETTE).tolist() == grey().tolist()


def test_targets_of_an_empty_image():
    instances = Instances((40, 60))
    instances.gt_classes = torch.zeros(0, dtype=torch.int64)
    instances.gt_masks = BitMasks(torch.zeros((0, 40, 60), dtype=torch.bool))
    instances.gt_boxes = instances.gt_masks.get_bounding_boxes()
    assert render_targets(grey(), instances, PALETTE).shape == (40, 60, 3)


def test_a_image_is_read_upright_as_rgb(tmp_path):
    turned = Image.new("RGB", (20, 10), (200, 10, 30))
    exif = turned.getexif()
    exif[0x0112] = 6  # turned by 90 degrees
    turned.save(tmp_path / "a.png", exif=exif)
    image = read_image(str(tmp_path / "a.png"))
    assert image.shape == (20, 10, 3)
    assert image[0, 0].tolist() == [200, 10, 30]


def test_boxes_have_the_sides_that_their_mode_says():
    sides = {BoxMode.XYXY_ABS: [5, 5, 20, 30], BoxMode.XYWH_ABS: [5, 5, 15, 25]}
    records = [
        {"annotations": [{"bbox": bbox, "bbox_mode": mode, "category_id": 0}]}
        for mode, bbox in sides.items()
    ]
    one, other = (render_ground_truth(grey(), record, PALETTE) for record in records)
    assert np.array_equal(one, other) and one[29, 12].tolist() == list(RED)


@pytest.mark.parametrize("masks", [False, True])
def test_things_have_shades_and_stuff_has_none(masks):
    instances = Instances((40, 60))
    instances.gt_classes = torch.tensor([0, 0, 1, 1])
    boxes = torch.tensor([[x, 2.0, x + 12, 38] for x in (1.0, 16, 31, 46)])
    instances.gt_boxes = Boxes(boxes)
    if masks:
        inside = torch.zeros((4, 40, 60), dtype=torch.bool)
        for mask, (x, *_) in zip(inside, boxes.int().tolist(), strict=True):
            mask[12:28, x + 3 : x + 9] = True
        instances.gt_masks = BitMasks(inside)
    picture = render_targets(grey(), instances, PALETTE)
    # The outlines of the boxes, which are larger than the masks.
    colors = [picture[34, x].tolist() for x in (1, 16, 31, 46)]
    assert colors == [list(RED), list(PALETTE.shade(0, 1)), list(GREEN), list(GREEN)]


def test_the_images_of_a_row_are_as_wide_as_those_of_the_model(tiny_set, register):
    record = DatasetCatalog.get(register(**tiny_set.paths()))[0]
    palette = Palette(["pipe", "brick", "sky", "soil"], thing_ids=[0, 1])
    instances = Instances((record["height"], record["width"]))
    instances.pred_boxes = Boxes(torch.tensor([[2.0, 2, 20, 14]]))
    instances.scores, instances.pred_classes = torch.tensor([0.51]), torch.tensor([1])
    row = comparison_row(record, {"instances": instances}, palette)
    assert [picture.shape[1] for picture in row] == [400] * 3
    assert not np.array_equal(row[0], row[2]) and not np.array_equal(row[0], row[1])
