"""`torch.compile` of the parts of a model that are worth it."""

from typing import Any

from torch import nn


def compile_parts(model: nn.Module, **options: Any) -> list[str]:
    """Compile backbone, transformer and mask head in place; parameters keep their names.

    The code between them chooses queries by their values, on which the shapes that follow depend,
    so that one graph cannot hold the whole model. The three parts hold most of the time.

    Args:
        model: a `Detr` or `PanopticDetr`; it may be trained or run as before.
        options: of `torch.compile`, such as `mode` and `backend`. `dynamic=True` is the default:
            every image has a size, and a number of queries, of its own.

    Returns:
        The names of the parts, those that the model has.
    """
    options.setdefault("dynamic", True)
    names = [n for n in ("backbone", "transformer", "mask_head") if hasattr(model, n)]
    for name in names:
        getattr(model, name).compile(**options)
    return names
