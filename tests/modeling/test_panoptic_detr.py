from collections import Counter
from itertools import pairwise

import pytest
import torch
from detectron2.utils.events import EventStorage
from tiny_model import build, make_input, tiny_cfg

from detr_d2.modeling.postprocess import PostProcess

MASK_LOSSES = {"loss_focal", "loss_dice"}


def test_joint_training_adds_mask_losses(half_empty_batch):
    losses = build(tiny_cfg())(half_empty_batch)
    assert set(losses) > MASK_LOSSES and "loss_class_0" in losses
    sum(losses.values()).backward()


def test_frozen_stage_trains_masks_only_and_detr_is_in_evaluation_mode(half_empty_batch):
    cfg = tiny_cfg()
    cfg.MODEL.DETR.FREEZE = True
    cfg.MODEL.DETR.DROPOUT = 0.9
    model = build(cfg).train()
    assert not model.transformer.training and model.mask_head.training
    with EventStorage() as storage:
        losses = model(half_empty_batch)
    assert set(losses) == MASK_LOSSES and "class_error" in storage.latest()
    sum(losses.values()).backward()
    learning = {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert learning == {"bbox_attention", "mask_head"}
    graded = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None}
    assert graded == learning
    # Without dropout noise the losses are the same again.
    torch.testing.assert_close(model(half_empty_batch), losses)


def test_a_frozen_model_is_matched_by_its_last_decoder_layer(half_empty_batch, monkeypatch):
    cfg = tiny_cfg()
    cfg.MODEL.DETR.FREEZE = True
    model = build(cfg).train()
    forward, matcher, states, matched = model.forward_detr, model.criterion.matcher, [], []
    monkeypatch.setattr(model, "forward_detr", lambda x: states.append(forward(x)) or states[-1])
    monkeypatch.setattr(
        model.criterion, "matcher", lambda *args: matched.append(args) or matcher(*args)
    )
    model(half_empty_batch)
    (logits, boxes, _), (state,) = matched[0], states
    assert torch.equal(logits, state.logits[None]) and torch.equal(boxes, state.boxes[None])
    assert not torch.equal(state.all_boxes[0, 0], state.boxes)


@pytest.mark.parametrize("freeze", [False, True])
def test_all_images_empty_trains(freeze):
    cfg = tiny_cfg()
    cfg.MODEL.DETR.FREEZE = freeze
    losses = build(cfg)([make_input(64, 96, 0), make_input(80, 72, 0)])
    assert losses["loss_focal"] == 0 and losses["loss_dice"] == 0
    sum(losses.values()).backward()


def test_mask_head_runs_on_matched_queries_in_training(half_empty_batch, monkeypatch):
    model = build(tiny_cfg())
    counts = spy_on_mask_head(model, monkeypatch)
    model(half_empty_batch)
    assert counts == [3, 0]


def test_mask_head_runs_on_kept_queries_at_inference(half_empty_batch, monkeypatch):
    model = build(tiny_cfg()).eval()
    raw = model.raw_outputs(half_empty_batch[:1])
    probabilities = raw.logits[0].softmax(-1)
    best = probabilities[:, :-1].max(-1).values.sort().values
    model.postprocess.score_thresh = model.postprocess.instance_score_thresh = best[4].item() - 1e-6
    counts = spy_on_mask_head(model, monkeypatch)
    with torch.no_grad():
        output = model(half_empty_batch[:1])[0]
    is_object = probabilities.argmax(-1) != 5
    assert counts == [3] and len(output["instances"]) == 3
    assert len(output["panoptic_seg"][1]) <= is_object.sum()


def spy_on_mask_head(model, monkeypatch) -> list[int]:
    counts: list[int] = []
    forward = model.mask_head.forward

    def counted(image, attention, features):
        counts.extend(len(maps) for maps in attention)
        return forward(image, attention, features)

    monkeypatch.setattr(model.mask_head, "forward", counted)
    return counts


def make_it_see(model) -> None:
    """Let random weights find things: no threshold in the way."""
    model.postprocess.score_thresh = model.postprocess.instance_score_thresh = 0.0
    model.box_head.class_embed.bias.data[-1] = -10.0


def test_outputs_keep_detectron2s_contract(half_empty_batch):
    cfg = tiny_cfg()
    cfg.MODEL.DETR.SEM_SEG_ON = True
    model = build(cfg).eval()
    make_it_see(model)
    half_empty_batch[1] |= {"height": 40, "width": 36}
    with torch.no_grad():
        outputs = model(half_empty_batch)
    for output, size in zip(outputs, [(64, 96), (40, 36)], strict=True):
        panoptic, segments = output["panoptic_seg"]
        assert panoptic.shape == size and panoptic.dtype == torch.int32
        assert {s["id"] for s in segments} == set(panoptic.unique().tolist())
        assert min(s["id"] for s in segments) == 1
        assert all(type(s["isthing"]) is bool and type(s["score"]) is float for s in segments)
        assert output["instances"].pred_masks.shape == (7, *size)
        assert output["sem_seg"].shape == (5, *size)
    switches = model.postprocess
    switches.panoptic_on = switches.sem_seg_on = switches.instance_on = False
    assert model(half_empty_batch[:1]) == [{}]


def test_no_detection_at_all(half_empty_batch):
    model = build(tiny_cfg()).eval()
    model.postprocess.score_thresh = model.postprocess.instance_score_thresh = 1.0
    output = model(half_empty_batch)[1]
    assert output["panoptic_seg"][0].max() == 0 and output["panoptic_seg"][1] == []
    assert len(output["instances"]) == 0 and output["instances"].pred_masks.shape == (0, 80, 72)


def test_results_do_not_depend_on_the_batch():
    cfg = tiny_cfg()
    cfg.MODEL.DETR.SEM_SEG_ON = True
    model = build(cfg).eval()
    make_it_see(model)
    images = [make_input(64, 96, 0, 1), make_input(80, 72, 0, 2), make_input(64, 96, 0, 3)]
    with torch.no_grad():
        together = model(images)
        alone = [model([image])[0] for image in images]
    for a, b in zip(together, alone, strict=True):
        close = {"atol": 1e-4, "rtol": 0}
        torch.testing.assert_close(a["sem_seg"], b["sem_seg"], **close)
        torch.testing.assert_close(a["instances"].scores, b["instances"].scores, **close)
        boxes = (a["instances"].pred_boxes.tensor, b["instances"].pred_boxes.tensor)
        torch.testing.assert_close(*boxes, atol=1e-4 * 96, rtol=0)


def test_raw_outputs_have_masks_and_attention_of_all_queries(half_empty_batch):
    model = build(tiny_cfg()).eval()
    outputs = model.raw_outputs(half_empty_batch)
    # Padded to 80 x 96: stride 32 gives 3 x 3, stride 4 gives 20 x 24.
    assert outputs.attention.shape == (2, 7, 8, 3, 3)
    assert outputs.masks.shape == (2, 7, 20, 24)
    torch.testing.assert_close(outputs.attention.flatten(2).sum(-1), torch.ones(2, 7))
    assert outputs.attention[0, :, :, 2].abs().max() == 0


def test_a_box_checkpoint_is_a_part_of_the_panoptic_model():
    boxes = build(tiny_cfg("Detr")).state_dict()
    missing, unexpected = build(tiny_cfg()).load_state_dict(boxes, strict=False)
    assert not unexpected
    assert {name.split(".")[0] for name in missing} == {"bbox_attention", "mask_head"}


def published_shapes(classes: int = 250) -> Counter:
    """Shapes of all tensors of the published DETR R-50 panoptic checkpoint."""
    shapes: Counter = Counter()

    def linear(out: int, into: int, times: int = 1) -> None:
        shapes.update({(out, into): times})
        shapes.update({(out,): times})

    def norm(channels: int, times: int, tensors: int) -> None:
        shapes.update({(channels,): times * tensors})

    def conv_bn(out: int, into: int, kernel: int, times: int = 1) -> None:
        shapes.update({(out, into, kernel, kernel): times})
        norm(out, times, tensors=4)  # Weight, bias, running mean and variance.

    conv_bn(64, 3, 7)
    into = 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        conv_bn(width, into, 1)
        conv_bn(width, 4 * width, 1, blocks - 1)
        conv_bn(width, width, 3, blocks)
        conv_bn(4 * width, width, 1, blocks)
        conv_bn(4 * width, into, 1)
        into = 4 * width
    for attentions, norms in ((6, 2 * 6), (2 * 6, 3 * 6 + 1)):
        linear(768, 256, attentions)
        linear(256, 256, attentions)
        norm(256, norms, tensors=2)
    linear(2048, 256, 12)
    linear(256, 2048, 12)
    linear(classes + 1, 256)
    linear(256, 256, 2)
    linear(4, 256)
    shapes.update([(100, 256), (256, 2048, 1, 1), (256,)])
    linear(256, 256, 2)  # Bbox attention: query and key.
    widths = [264, 264, 128, 64, 32, 16]
    for into, out in pairwise(widths):
        shapes.update([(out, into, 3, 3), (out,)])
        norm(out, 1, tensors=2)
    shapes.update([(1, 16, 3, 3), (1,)])
    for out, into in ((128, 1024), (64, 512), (32, 256)):
        shapes.update([(out, into, 1, 1), (out,)])
    return shapes


def test_every_published_tensor_has_a_home_of_its_shape():
    cfg = tiny_cfg()
    cfg.MODEL.RESNETS.STEM_OUT_CHANNELS = 64
    cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 256
    cfg.MODEL.RESNETS.WIDTH_PER_GROUP = 64
    detr = cfg.MODEL.DETR
    detr.NUM_CLASSES, detr.NUM_QUERIES, detr.HIDDEN_DIM = 250, 100, 256
    detr.DIM_FEEDFORWARD, detr.ENC_LAYERS, detr.DEC_LAYERS = 2048, 6, 6
    ours = Counter(tuple(t.shape) for t in build(cfg).state_dict().values())
    assert ours == published_shapes()


def test_published_post_processing_squeezes_masks_of_padded_batches():
    cfg = tiny_cfg()
    cfg.MODEL.DETR.POSTPROCESS.CROP_PADDING = False
    model = build(cfg).eval()
    make_it_see(model)
    wide, tall = make_input(64, 96, 0, 1), make_input(96, 64, 0, 2)

    def left_half(image, attention, features):
        """Every query sees the left half of the padded size and nothing else."""
        masks = torch.full((24, 24), -5.0)
        masks[:, :12] = 5.0
        return [masks.expand(len(maps), 24, 24) for maps in attention]

    model.mask_head.forward = left_half
    with torch.no_grad():
        squeezed = model([wide, tall])[1]["instances"].pred_masks[0]
    # Of the 96 padded columns 48 are seen: 48 of the 64 of the image, but half of it here.
    assert squeezed.shape == (96, 64) and squeezed[0].sum() == 32
    model.postprocess = PostProcess(thing_ids=range(5), score_thresh=0.0)
    model.inference_groups = lambda inputs: [[0, 1]]
    with torch.no_grad():
        cropped = model([wide, tall])[1]["instances"].pred_masks[0]
    assert cropped[0].sum() == 48


@pytest.mark.parametrize("resize", ["masks", "ids"])
def test_masks_compete_at_the_size_of_the_outputs_or_of_the_image(half_empty_batch, resize):
    cfg = tiny_cfg()
    cfg.MODEL.DETR.POSTPROCESS.RESIZE = resize
    cfg.MODEL.DETR.POSTPROCESS.UNITE_STUFF = "before_filtering"
    model = build(cfg).eval()
    make_it_see(model)
    half_empty_batch[0] |= {"height": 128, "width": 192}
    with torch.no_grad():
        panoptic, segments = model(half_empty_batch[:1])[0]["panoptic_seg"]
    assert panoptic.shape == (128, 192)
    assert sum(s["area"] for s in segments) == 128 * 192
    # Enlarged ids come in blocks of 2 x 2 pixels.
    blocks = panoptic.view(64, 2, 96, 2)
    whole = (blocks.amax((1, 3)) == blocks.amin((1, 3))).all()
    assert bool(whole) == (resize == "ids")


def test_bfloat16_inference_is_switched_by_the_config(half_empty_batch, monkeypatch):
    cfg = tiny_cfg()
    cfg.MODEL.DETR.BF16_INFERENCE = True
    model, expected = build(cfg).eval(), build(tiny_cfg()).eval()
    for each in (model, expected):
        make_it_see(each)
    precisions = []
    model.mask_head.register_forward_hook(lambda *args: precisions.append(args[2][0].dtype))
    with torch.no_grad():
        found, wanted = model(half_empty_batch[:1])[0], expected(half_empty_batch[:1])[0]
    assert precisions == [torch.bfloat16]
    assert found["instances"].scores.dtype == torch.float32
    torch.testing.assert_close(
        found["instances"].scores, wanted["instances"].scores, atol=0.05, rtol=0
    )
    same = found["panoptic_seg"][0].bool() == wanted["panoptic_seg"][0].bool()
    assert same.float().mean() > 0.9
