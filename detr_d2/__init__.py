"""DETR panoptic segmentation for Detectron2.

Importing this registers the model classes with Detectron2 and does nothing else: no data set, no
file access. Anything beyond the names of `__all__` is reached by its module, such as
`detr_d2.model_zoo`.
"""

import warnings
from typing import Any

__version__ = "0.2.0"
__all__ = ["Predictor", "add_detr_config", "register_dataset", "register_masks"]

# fvcore, which detectron2 imports, still uses torch.jit.script: nothing that a user could change.
warnings.filterwarnings("ignore", r"`torch\.jit\.script` is deprecated", FutureWarning)

_import_error: Exception | None = None
try:
    from detr_d2 import modeling  # noqa: F401  only registration
    from detr_d2.config import add_detr_config
    from detr_d2.register import register_dataset, register_masks
except Exception as error:  # a broken compiled package raises whatever it likes
    # Raised by the first use, not here: `python -m detr_d2.doctor` imports this file too, and must
    # start in a broken environment.
    from detr_d2._requirements import import_advice

    _import_error = error
    warnings.warn(import_advice(error), RuntimeWarning, stacklevel=2)


def __getattr__(name: str) -> Any:
    """Import what is slow to import when it is used; tell why what cannot be imported is absent."""
    if name not in __all__:
        raise AttributeError(f"module 'detr_d2' has no attribute {name!r}")
    if _import_error is not None:
        from detr_d2._requirements import import_advice

        raise ImportError(import_advice(_import_error)) from _import_error
    from detr_d2.engine import Predictor

    return Predictor
