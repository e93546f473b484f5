import pytest
import torch
from detectron2.layers import Conv2d, FrozenBatchNorm2d
from tiny_model import build, make_input, tiny_cfg

from detr_d2.modeling import detr_resnet
from detr_d2.modeling.backbone import FoldedConv2d, fold_norms


def randomize_norms(module):
    """Scales, shifts and statistics that are not those of a fresh model."""
    torch.manual_seed(1)
    for norm in module.modules():
        if isinstance(norm, FrozenBatchNorm2d):
            for buffer in (norm.weight, norm.bias, norm.running_mean):
                buffer.normal_()
            norm.running_var.uniform_(0.5, 2.0)


@pytest.mark.parametrize(("depth", "dc5"), [(18, False), (50, True)])
def test_folded_features_and_gradients_are_those_of_conv_and_norm(depth, dc5):
    torch.manual_seed(0)
    backbone = detr_resnet(depth, dc5=dc5).double()
    randomize_norms(backbone)
    image = torch.rand(2, 3, 65, 97, dtype=torch.double)
    state = {name: value.clone() for name, value in backbone.state_dict().items()}

    def run():
        backbone.zero_grad()
        features = backbone(image)
        sum(x.abs().mean() for x in features.values()).backward()
        return features, [p.grad for p in backbone.parameters() if p.grad is not None]

    expected = run()
    fold_norms(backbone)
    assert all(isinstance(block.conv2, FoldedConv2d) for block in backbone.res3)
    torch.testing.assert_close(run(), expected, rtol=1e-9, atol=1e-9)
    after = backbone.state_dict()
    assert after.keys() == state.keys()
    assert all(torch.equal(after[name], value) for name, value in state.items())


def test_folding_follows_changed_weights():
    backbone = detr_resnet(18)
    fold_norms(backbone)
    image = torch.rand(1, 3, 64, 64)
    before = backbone(image)["res2"]
    randomize_norms(backbone)
    assert not torch.allclose(backbone(image)["res2"], before)


def test_a_norm_that_learns_is_not_folded():
    backbone = detr_resnet(18, norm="BN", freeze_at=0)
    fold_norms(backbone)
    assert not any(isinstance(m, FoldedConv2d) for m in backbone.modules())


class Doubled(Conv2d):
    """Computes something else, as deformable convolutions do."""

    def forward(self, x):
        return 2 * super().forward(x)


@pytest.mark.parametrize(
    ("kind", "bias", "folded"),
    [(Conv2d, False, True), (Conv2d, True, False), (Doubled, False, False)],
)
def test_what_is_no_plain_convolution_without_bias_stays_as_it_is(kind, bias, folded):
    conv = kind(3, 4, 1, bias=bias, norm=FrozenBatchNorm2d(4))
    fold_norms(conv)
    assert type(conv) is (FoldedConv2d if folded else kind)


@pytest.mark.parametrize("fold", [False, True])
def test_the_config_switches_it(fold):
    cfg = tiny_cfg()
    cfg.MODEL.DETR.FOLD_FROZEN_NORMS = fold
    model = build(cfg)
    assert any(isinstance(m, FoldedConv2d) for m in model.modules()) == fold
    expected = build(tiny_cfg())
    expected.load_state_dict(model.state_dict())
    batch = [make_input(64, 96, 0), make_input(80, 72, 0)]
    found, wanted = (m.eval().raw_outputs(batch).logits for m in (model, expected))
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
