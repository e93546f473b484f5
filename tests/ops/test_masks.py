import pytest
import torch

from detr_d2.ops.masks import (
    BilinearSampler,
    cut_padding,
    padding_mask,
    resize,
    unpad,
    unpad_and_resize,
)

CPU = torch.device("cpu")


def test_padding_mask_keeps_the_cells_that_see_the_image():
    # Padded to 64 x 96, stride 32: image 33 x 64 reaches into row 2 and fills 2 columns.
    mask = padding_mask([(64, 96), (33, 64)], (2, 3), 32, CPU)
    assert not mask[0].any()
    assert mask[1].tolist() == [[False, False, True], [False, False, True]]


def test_padding_mask_keeps_as_many_cells_as_the_image_has_alone():
    # A padded size that is no multiple of the stride: nearest sampling of pixels would keep 2 rows.
    mask = padding_mask([(26, 100)], (4, 4), 32, CPU)
    assert (~mask[0, :, 0]).sum() == 1
    # The same along the other side: 33 columns reach into the second one.
    assert padding_mask([(64, 33)], (2, 4), 32, CPU).tolist() == [[[False] * 2 + [True] * 2] * 2]


def test_a_square_in_a_padded_batch_comes_back_at_its_place():
    # Image 40 x 60 padded to 80 x 120, logits at a quarter: rows 3..6, columns 6..10 of it
    # are pixels 12..27, 24..43. The output is twice the image: pixels 24..55, 48..87.
    logits = torch.full((1, 20, 30), -10.0)
    logits[0, 3:7, 6:11] = 10.0
    mask = unpad_and_resize(logits, (80, 120), (40, 60), (80, 120))[0] > 0
    expected = torch.zeros(80, 120, dtype=torch.bool)
    expected[24:56, 48:88] = True
    # Only corners, rounded by the bilinear resize, may differ.
    assert (mask != expected).sum() <= 4 * 8


def test_unpad_cuts_right_and_bottom():
    ramp = torch.arange(4.0).repeat(4, 1)[None]
    assert unpad(ramp, (4, 4), (2, 3)).tolist() == [[[0.0, 1.0, 2.0], [0.0, 1.0, 2.0]]]


@pytest.mark.parametrize("size", [(8, 10), (6, 12), (6, 10)])
def test_masks_of_an_image_that_is_padded_in_any_side_are_cut_at_full_size(size):
    masks = torch.rand(2, 4, 6, generator=torch.Generator().manual_seed(0))
    cut = cut_padding(masks, (8, 12), size)
    torch.testing.assert_close(cut, resize(masks, (8, 12))[:, : size[0], : size[1]])
    assert cut_padding(masks, (8, 12), (8, 12)) is masks


def test_no_masks():
    assert unpad_and_resize(torch.zeros(0, 5, 5), (20, 20), (10, 20), (7, 9)).shape == (0, 7, 9)


@pytest.mark.parametrize(
    ("shape", "size"), [((3, 5), (12, 20)), ((3, 5), (7, 23)), ((1, 4), (5, 4)), ((6, 5), (4, 2))]
)
def test_sampled_values_are_those_of_the_resized_maps(shape, size):
    maps = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    sampler = BilinearSampler(shape, size, CPU)
    pixels = torch.arange(size[0] * size[1]).flip(0)
    sampled = sampler.sample(maps.flatten(1).T.contiguous(), pixels)
    torch.testing.assert_close(sampled.T.flip(1), resize(maps, size).flatten(1))


def test_every_pixel_gets_the_entry_of_the_cell_before_it():
    # Two cells on six pixels: centres at 0.5 / 3 - 0.5 < 0, ..., 2.5 / 3 - 0.5 = 0.33, then 0.67
    # and beyond 1 from the fifth pixel on.
    sampler = BilinearSampler((1, 2), (1, 6), CPU)
    assert sampler.spread(torch.tensor([[7, 8]])).tolist() == [[7, 7, 7, 7, 8, 8]]
