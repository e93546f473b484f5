"""Whole models where something is missing, at its limit, or in 16 bits."""

import pytest
import torch
from detectron2.engine import create_ddp_model
from detectron2.structures import Boxes, Instances
from detectron2.utils import comm
from kills import start_child
from tiny_model import build, make_input, processes, tiny_cfg

from detr_d2.engine import launch
from detr_d2.modeling.losses import class_loss
from detr_d2.modeling.panoptic_merge import panoptic_inference

ARCHITECTURES = ["Detr", "PanopticDetr"]


def with_detr_keys(arch="PanopticDetr", **keys):
    cfg = tiny_cfg(arch)
    for name, value in keys.items():
        cfg.MODEL.DETR[name] = value
    return cfg


def train_step(model, batch):
    """Losses; the gradients are left in the model."""
    losses = model(batch)
    sum(losses.values()).backward()
    return losses


def learning_parts(model):
    """Names of the top modules whose gradients are there and finite; all of a part or none."""
    parts = {}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            assert parameter.grad.isfinite().all(), name
            parts.setdefault(name.split(".")[0], []).append(name)
    return set(parts)


@pytest.mark.parametrize("freeze", [False, True])
def test_bfloat16_trains_with_losses_in_float32(half_empty_batch, freeze):
    model = build(with_detr_keys(FREEZE=freeze))
    with torch.autocast("cpu", torch.bfloat16):
        losses = model(half_empty_batch)
    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    sum(losses.values()).backward()
    parts = learning_parts(model)
    assert parts >= {"bbox_attention", "mask_head"}
    assert ("transformer" in parts) != freeze


@pytest.mark.parametrize("freeze", [False, True])
def test_pairs_are_found_in_float32(half_empty_batch, freeze, monkeypatch):
    model = build(with_detr_keys(FREEZE=freeze))
    one = torch.ones(1, 1)
    found = spy_on(monkeypatch, model.criterion.matcher, "_cost", lambda: (one @ one).dtype)
    with torch.autocast("cpu", torch.bfloat16):
        assert (one @ one).dtype == torch.bfloat16
        model(half_empty_batch)
    assert found == [torch.float32] * 2


@pytest.mark.parametrize("freeze", [False, True])
def test_mask_losses_and_their_gradients_are_found_in_float32(
    half_empty_batch, freeze, monkeypatch
):
    model = build(with_detr_keys(FREEZE=freeze))
    one = torch.ones(1, 1)
    found = spy_on(monkeypatch, model.criterion, "mask_losses", lambda: (one @ one).dtype)
    with torch.autocast("cpu", torch.bfloat16):
        model(half_empty_batch)
    assert found == [torch.float32]


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_bfloat16_keeps_boxes_and_scores_in_float32(arch):
    model = build(tiny_cfg(arch)).eval()
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        state = model.forward_detr(model.preprocess([make_input(64, 96, 0)]))
    assert state.logits.dtype == state.boxes.dtype == torch.float32
    # bfloat16 has 8 significant bits: its numbers do not change when they are rounded to it.
    assert not torch.equal(state.boxes, state.boxes.bfloat16().float())


def test_a_mask_whose_sum_overflows_costs_nothing_where_it_is_not_wanted():
    model = build(tiny_cfg())
    targets = model.targets([make_input(8, 8, 0)], with_masks=True)
    matching = model.criterion.matcher(torch.zeros(1, 1, 7, 6), torch.rand(1, 1, 7, 4), targets)
    huge = torch.full((1, 2, 2), 60000.0, dtype=torch.float16, requires_grad=True)
    losses = model.criterion.mask_losses([huge], targets, matching, [(8, 8)])
    assert losses["loss_focal"] == losses["loss_dice"] == 0
    sum(losses.values()).backward()
    assert huge.grad.tolist() == torch.zeros(1, 2, 2).tolist()


def test_more_objects_than_queries():
    cfg = with_detr_keys(NUM_QUERIES=2)
    model = build(cfg)
    losses = train_step(model, [make_input(64, 96, 5), make_input(80, 72, 1)])
    assert all(loss.isfinite() for loss in losses.values())
    assert learning_parts(model) >= {"query_embed", "mask_head"}


def test_no_mask_loss_leaves_the_mask_head_alone(half_empty_batch, monkeypatch):
    model = build(with_detr_keys(FOCAL_WEIGHT=0.0, DICE_WEIGHT=0.0))
    monkeypatch.setattr(model.mask_head, "forward", pytest.fail)
    # Nor are masks needed.
    for x in half_empty_batch:
        x["instances"].remove("gt_masks")
    losses = train_step(model, half_empty_batch)
    assert "loss_class" in losses and not {"loss_focal", "loss_dice"} & set(losses)
    assert not {"mask_head", "bbox_attention"} & learning_parts(model)


def test_weights_that_leave_nothing_to_learn_are_rejected():
    with pytest.raises(ValueError, match="FOCAL_WEIGHT and DICE_WEIGHT are both 0"):
        build(with_detr_keys(FREEZE=True, FOCAL_WEIGHT=0.0, DICE_WEIGHT=0.0))
    off = dict.fromkeys(["CLASS", "L1", "GIOU", "FOCAL", "DICE"], 0.0)
    with pytest.raises(ValueError, match="all losses are off"):
        build(with_detr_keys("Detr", **{f"{name}_WEIGHT": value for name, value in off.items()}))


def test_masks_alone_teach_the_whole_model(half_empty_batch):
    model = build(with_detr_keys(CLASS_WEIGHT=0.0, L1_WEIGHT=0.0, GIOU_WEIGHT=0.0))
    assert set(train_step(model, half_empty_batch)) == {"loss_focal", "loss_dice"}
    assert learning_parts(model) >= {"transformer", "query_embed", "mask_head"}
    assert "box_head" not in learning_parts(model)


def test_no_object_weight_zero_and_no_object_is_zero_not_nan():
    logits = torch.randn(2, 1, 3, 4, requires_grad=True)
    loss = class_loss(logits, torch.full((2, 1, 3), 3), no_object_weight=0.0)
    assert loss.tolist() == [0.0, 0.0]


def test_the_frozen_stage_decodes_the_first_query_group_only(half_empty_batch):
    model = build(with_detr_keys(FREEZE=True, QUERY_GROUPS=3)).train()
    state = model.forward_detr(model.preprocess(half_empty_batch))
    assert len(state.all_logits) == 1
    expected = build(with_detr_keys(FREEZE=True)).train()
    expected.load_state_dict(model.state_dict(), strict=False)
    torch.testing.assert_close(model(half_empty_batch), expected(half_empty_batch))


def test_masks_are_those_of_the_first_query_group(half_empty_batch):
    model = build(with_detr_keys(QUERY_GROUPS=2, DROPOUT=0.0)).train()
    images = model.preprocess(half_empty_batch)
    before = model.forward_detr(images)
    model.extra_queries[0].data += 1.0
    after = model.forward_detr(images)
    assert not torch.equal(before.all_logits[1], after.all_logits[1])
    for name in ("box_embeddings", "logits", "boxes"):
        torch.testing.assert_close(getattr(before, name), getattr(after, name), msg=name)


@pytest.mark.parametrize("freeze", [False, True])
def test_losses_without_gradients_keep_nothing_for_them(half_empty_batch, freeze, monkeypatch):
    model = build(with_detr_keys(FREEZE=freeze))
    found = spy_on(monkeypatch, model, "forward_detr", torch.is_grad_enabled)
    model(half_empty_batch)
    with torch.no_grad():
        model(half_empty_batch)
    assert found == [not freeze, False]


def spy_on(monkeypatch, owner, name, look):
    """List that grows by `look()` at each call of a method, which does its work as always."""
    found, method = [], getattr(owner, name)

    def spied(*args):
        found.append(look())
        return method(*args)

    monkeypatch.setattr(owner, name, spied)
    return found


@pytest.mark.parametrize("things", [frozenset(), frozenset(range(5))], ids=["stuff", "things"])
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_data_with_stuff_only_and_with_things_only(arch, things):
    model = build(tiny_cfg(arch)).eval()
    model.postprocess.thing_ids = things
    model.box_head.class_embed.bias.data[-1] = -10.0
    model.postprocess.score_thresh = 0.0
    with torch.no_grad():
        output = model([make_input(64, 96, 0)])[0]
    assert (len(output["instances"]) > 0) == bool(things)
    segments = output.get("panoptic_seg", (None, []))[1]
    assert {s["isthing"] for s in segments} <= {bool(things)}
    assert bool(segments) == (arch == "PanopticDetr")


def test_one_query_may_be_the_whole_image():
    panoptic, segments = panoptic_inference(
        torch.zeros(1, 2, 3),
        torch.tensor([0.9]),
        torch.tensor([1]),
        thing_ids=frozenset(),
        min_area=0,
    )
    assert panoptic.tolist() == [[1] * 3] * 2 and segments[0]["area"] == 6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_float_images_give_what_bytes_give(arch, dtype):
    model = build(tiny_cfg(arch)).eval()
    image = make_input(64, 96, 0)
    expected = model.raw_outputs([image])
    found = model.raw_outputs([{"image": image["image"].to(dtype)}])
    torch.testing.assert_close(found.logits, expected.logits)
    assert found.boxes.dtype == torch.float32


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_outputs_have_the_size_of_the_image_where_no_other_is_given(arch):
    model = build(tiny_cfg(arch)).eval()
    with torch.no_grad():
        output = model([{"image": make_input(64, 96, 0)["image"]}])[0]
    assert output["instances"].image_size == (64, 96)
    if arch == "PanopticDetr":
        assert output["panoptic_seg"][0].shape == (64, 96)


@pytest.mark.parametrize("size", [(1, 1), (33, 7)])
def test_very_small_images(size):
    model = build(with_detr_keys(SEM_SEG_ON=True, SCORE_THRESH=0.0)).eval()
    with torch.no_grad():
        output = model([{"image": make_input(*size, 0)["image"]}])[0]
    assert output["panoptic_seg"][0].shape == size
    assert output["sem_seg"].shape == (5, *size)


def without_masks(x):
    bare = Instances(x["instances"].image_size)
    bare.gt_boxes, bare.gt_classes = x["instances"].gt_boxes, x["instances"].gt_classes
    return {**x, "instances": bare, "file_name": "images/a.jpg"}


def test_boxes_need_no_masks(half_empty_batch):
    bare = [without_masks(x) for x in half_empty_batch]
    model, same = build(tiny_cfg("Detr")), build(tiny_cfg("Detr"))
    torch.manual_seed(1)
    losses = model(bare)
    torch.manual_seed(1)
    torch.testing.assert_close(losses, same(half_empty_batch))


@pytest.mark.parametrize("freeze", [False, True])
def test_masks_cannot_be_learnt_from_boxes(half_empty_batch, freeze):
    model = build(with_detr_keys(FREEZE=freeze))
    with pytest.raises(ValueError, match=r"images/a\.jpg have boxes but no masks.*ARCHITECTURE"):
        model([half_empty_batch[0], without_masks(half_empty_batch[1])])


@pytest.mark.parametrize("wrong", [5, -1])
def test_a_class_that_the_model_does_not_know_is_named(half_empty_batch, wrong):
    half_empty_batch[0]["instances"].gt_classes[1] = wrong
    half_empty_batch[0]["file_name"] = "images/b.jpg"
    with pytest.raises(ValueError, match=rf"b\.jpg has an object of class {wrong}.*0 to 4"):
        build(tiny_cfg("Detr"))(half_empty_batch)


def test_an_object_of_one_pixel():
    x = make_input(64, 96, 1)
    x["instances"].gt_masks.tensor[:] = False
    x["instances"].gt_masks.tensor[0, 5, 9] = True
    x["instances"].gt_boxes = Boxes(torch.tensor([[9.0, 5.0, 10.0, 6.0]]))
    model = build(tiny_cfg())
    assert all(loss.isfinite() for loss in train_step(model, [x]).values())
    assert "mask_head" in learning_parts(model)


CASES = {
    "joint": {"QUERY_GROUPS": 2},
    "frozen": {"FREEZE": True, "QUERY_GROUPS": 2},
    "without mask losses": {"FOCAL_WEIGHT": 0.0, "DICE_WEIGHT": 0.0, "GIOU_WEIGHT": 0.0},
}


def train_in_processes(args):
    """Two steps of each case in each of two processes; the first sees no object, the second two."""
    start_child()
    rank = comm.get_rank()
    for case, keys in CASES.items():
        model = build(with_detr_keys(DROPOUT=0.0, **keys))
        wrapped = create_ddp_model(
            model, broadcast_buffers=False, find_unused_parameters=True, device_ids=None
        )
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 1e-3)
        for _ in range(2):
            optimizer.zero_grad()
            sum(wrapped([make_input(64, 96, 2 * rank, seed=rank)]).values()).backward()
            optimizer.step()
        torch.save(model.state_dict(), args.folder / f"{case}{rank}.pth")


@pytest.mark.usefixtures("forked")
def test_two_processes_of_which_one_has_no_object_stay_equal(tmp_path):
    launch(train_in_processes, processes(2, folder=tmp_path))
    for case, keys in CASES.items():
        first, second = (torch.load(tmp_path / f"{case}{rank}.pth") for rank in range(2))
        start = build(with_detr_keys(**keys)).state_dict()
        for name, value in first.items():
            assert torch.equal(value, second[name]), (case, name)
        assert any(not torch.equal(value, start[name]) for name, value in first.items()), case
