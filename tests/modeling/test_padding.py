"""With ERASE_PADDING an image gives the same alone and in any padded batch."""

import pytest
import torch
from detectron2.layers import FrozenBatchNorm2d
from tiny_model import build, make_input, tiny_cfg
from torch import nn
from torch.nn import functional as F

from detr_d2.modeling.padding import PaddingEraser, own_cells, stride_of

EXACT = {"atol": 1e-7, "rtol": 1e-7}
# Odd sizes, none a multiple of a stride; the last image is one cell of the coarsest feature.
SIZES = [(65, 97), (80, 71), (31, 45), (17, 9)]


def erasing_cfg(**keys):
    cfg = tiny_cfg()
    cfg.MODEL.DETR.ERASE_PADDING = True
    for name, value in keys.items():
        cfg.MODEL.DETR[name] = value
    return cfg


def test_strides_are_found_from_the_shape():
    assert stride_of((80, 97), (20, 25)) == (4, 4)
    assert own_cells((65, 71), (80, 97), (20, 25)) == (17, 18)
    # One row: of all strides that fit the least, and every image has that row.
    assert stride_of((9, 64), (1, 2)) == (16, 32)
    with pytest.raises(ValueError, match="80 pixels became 19 cells"):
        stride_of((80, 97), (19, 25))


@pytest.mark.parametrize(
    ("fold", "depth", "dilation"), [(False, 50, 1), (True, 50, 2), (True, 18, 1)]
)
def test_features_alone_are_those_in_a_padded_batch(fold, depth, dilation):
    """Stem, max pooling, all stages, DC5, odd sizes; double, so that only padding can differ.

    After the pooling ResNet-50 has 1 x 1 convolutions, which see no padding, and ResNet-18 3 x 3.
    """
    cfg = tiny_cfg("Detr")
    if depth == 18:
        cfg.MODEL.RESNETS.DEPTH, cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 18, 64
    cfg.MODEL.RESNETS.RES5_DILATION, cfg.MODEL.DETR.FOLD_FROZEN_NORMS = dilation, fold
    backbone = build(cfg).backbone.double()
    for norm in backbone.modules():
        if isinstance(norm, FrozenBatchNorm2d):
            norm.bias.normal_()
    eraser = PaddingEraser(backbone)
    images = [torch.rand(3, *size, dtype=torch.double) for size in SIZES]
    batch = torch.zeros(len(SIZES), 3, 80, 97, dtype=torch.double)
    for row, image in zip(batch, images, strict=True):
        row[:, : image.shape[1], : image.shape[2]] = image
    with torch.no_grad():
        without = backbone(batch)
        with eraser.images(SIZES, (80, 97)):
            together = backbone(batch)
        for i, image in enumerate(images):
            for name, alone in backbone(image[None]).items():
                height, width = own_cells(SIZES[i], (80, 97), together[name].shape[-2:])
                assert alone.shape[-2:] == (height, width)
                own = together[name][i : i + 1, :, :height, :width]
                torch.testing.assert_close(own, alone, atol=1e-9, rtol=1e-9)
                assert together[name][i, :, height:].eq(0).all()
                assert together[name][i, :, :, width:].eq(0).all()
        assert not torch.allclose(without["res5"], together["res5"])


@pytest.mark.parametrize("other", [(64, 70), (50, 96)], ids=["narrower", "lower"])
def test_one_side_that_is_shorter_is_padding_enough(other):
    model = build(erasing_cfg()).eval().double()
    inputs = [make_input(64, 96, 0, seed=1), make_input(*other, 0, seed=2)]
    together, alone = model.raw_outputs(inputs), model.raw_outputs(inputs[1:])
    torch.testing.assert_close(together.boxes[1], alone.boxes[0], **EXACT)
    # The next batch, without padding, sees no trace of it.
    alike = model.raw_outputs([inputs[0], inputs[0]])
    torch.testing.assert_close(alike.boxes[1], together.boxes[0], **EXACT)


@pytest.mark.parametrize("dilation", [1, 2])
def test_all_raw_outputs_alone_are_those_in_a_padded_batch(dilation):
    cfg = erasing_cfg()
    cfg.MODEL.RESNETS.RES5_DILATION = dilation
    # In float32 the order of sums, which depends on the processor, shows.
    model = build(cfg).eval().double()
    inputs = [make_input(*size, 0, seed=i) for i, size in enumerate(SIZES)]
    together = model.raw_outputs(inputs)
    for i, x in enumerate(inputs):
        alone = model.raw_outputs([x])
        torch.testing.assert_close(together.logits[i], alone.logits[0], **EXACT)
        torch.testing.assert_close(together.boxes[i], alone.boxes[0], **EXACT)
        height, width = alone.masks.shape[-2:]
        own = together.masks[i, :, :height, :width]
        torch.testing.assert_close(own, alone.masks[0], **EXACT)


def test_outputs_do_not_depend_on_the_batch_and_it_is_not_split():
    model = build(erasing_cfg(SEM_SEG_ON=True, SCORE_THRESH=0.0)).eval()
    model.box_head.class_embed.bias.data[-1] = -10.0
    inputs = [make_input(*size, 0, seed=i) for i, size in enumerate(SIZES)]
    alone = [model([x])[0] for x in inputs]
    batches = []
    model.backbone.register_forward_pre_hook(lambda _, args: batches.append(len(args[0])))
    for found, expected in zip(model(inputs), alone, strict=True):
        torch.testing.assert_close(found["sem_seg"], expected["sem_seg"], atol=1e-4, rtol=1e-4)
        masks = [x["instances"].pred_masks for x in (found, expected)]
        assert (masks[0] == masks[1]).float().mean() > 0.999
    assert batches == [len(SIZES)]


@pytest.mark.parametrize("freeze", [False, True])
def test_losses_of_a_padded_batch_are_those_of_its_images(freeze):
    """Mask and box losses are sums over objects, divided by their number in the batch."""
    model = build(erasing_cfg(FREEZE=freeze, DROPOUT=0.0, DEEP_SUPERVISION=False)).train()
    inputs = [make_input(65, 97, 3, seed=1), make_input(80, 71, 1, seed=2)]
    together, one, other = model(inputs), model(inputs[:1]), model(inputs[1:])
    for name in set(together) - {"loss_class"}:
        expected = (3 * one[name] + 1 * other[name]) / 4
        torch.testing.assert_close(together[name], expected, atol=1e-5, rtol=1e-4)
    sum(together.values()).backward()
    assert all(p.grad is not None for p in model.mask_head.parameters())
    published = build(tiny_cfg()).train()
    published.load_state_dict(model.state_dict())
    assert not torch.allclose(published(inputs)["loss_dice"], together["loss_dice"], atol=1e-4)


def test_batch_norms_count_the_cells_of_the_images_alone():
    """Statistics of 2 x 3 + 4 x 2 cells, not of 2 x 4 x 3; in evaluation nothing is counted."""
    norm = nn.BatchNorm2d(5, momentum=1.0)
    norm.weight.data.uniform_(1, 2)
    norm.bias.data.normal_()
    eraser = PaddingEraser(nn.Sequential(norm))
    batch = torch.randn(2, 5, 4, 3)
    own = torch.cat([batch[0, :, :2].flatten(1), batch[1, :, :, :2].flatten(1)], dim=1)
    with eraser.images([(2, 3), (4, 2)], (4, 3)):
        together = norm(batch)
        torch.testing.assert_close(norm.running_mean, own.mean(1))
        torch.testing.assert_close(norm.running_var, own.var(1))
        scale = norm.weight / (own.var(1, correction=0) + norm.eps).sqrt()
        expected = (batch - own.mean(1)[:, None, None]) * scale[:, None, None]
        expected += norm.bias[:, None, None]
        torch.testing.assert_close(together[0, :, :2], expected[0, :, :2])
        torch.testing.assert_close(together[1, :, :, :2], expected[1, :, :, :2])
        assert together[0, :, 2:].eq(0).all()
        before = norm.running_mean.clone()
        norm.eval()(batch + 7)
        assert norm.running_mean.equal(before)
    whole = norm.train()(batch)
    assert whole.mean((0, 2, 3)).allclose(norm.bias, atol=1e-5)


@pytest.mark.parametrize("norm", ["BN", "FrozenBN"])
def test_gradients_are_those_without_padding(norm):
    """Two images of one size, once as they are and once in a larger batch; in double."""
    cfg = tiny_cfg("Detr")
    cfg.MODEL.RESNETS.NORM, cfg.MODEL.BACKBONE.FREEZE_AT = norm, 0
    backbone = build(cfg).backbone.double().train()
    eraser = PaddingEraser(backbone)
    images = torch.rand(2, 3, 33, 49, dtype=torch.double)
    gradients = []
    for padding in ((0, 0), (15, 31)):
        backbone.zero_grad()
        batch = F.pad(images, (0, padding[1], 0, padding[0]))
        with eraser.images([(33, 49)] * 2, batch.shape[-2:]):
            features = backbone(batch)
        for x in features.values():
            # Odd and even powers, so that no gradient is zero.
            (x + x**2).sum().backward(retain_graph=True)
        gradients.append({n: p.grad.clone() for n, p in backbone.named_parameters()})
    for name, expected in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], expected, rtol=1e-8, atol=1e-8, msg=name)


def test_a_group_norm_is_rejected():
    with pytest.raises(ValueError, match=r"allowed .* are FrozenBN, BN, SyncBN"):
        PaddingEraser(nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4)))


def test_padding_cannot_be_erased_and_shown():
    cfg = erasing_cfg()
    cfg.MODEL.DETR.POSTPROCESS.CROP_PADDING = False
    with pytest.raises(ValueError, match=r"ERASE_PADDING is True and .*CROP_PADDING False"):
        build(cfg)
