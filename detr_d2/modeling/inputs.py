"""The dictionaries of the mapper as the model takes them."""

from detr_d2.ops.masks import Size


def group_by_size(batched_inputs: list[dict]) -> list[list[int]]:
    """Return the indices of the inputs, in groups of equal image size.

    Convolutions see padding (at the image border of every layer, and in GroupNorm's statistics),
    so only a group without padding gives each image the result it would have alone.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, x in enumerate(batched_inputs):
        groups.setdefault(tuple(x["image"].shape), []).append(i)
    return list(groups.values())


def output_size(x: dict) -> Size:
    """Return the (height, width) wanted of an input's outputs; by default that of its image."""
    height, width = x["image"].shape[-2:]
    return x.get("height", height), x.get("width", width)
