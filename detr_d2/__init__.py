"""DETR panoptic segmentation for Detectron2.

Importing this registers the model classes with Detectron2 and does nothing else: no data set, no
file access. Anything beyond the two functions here is reached by its module.
"""

import sys
import warnings

__version__ = "0.1.0"
__all__ = ["add_detr_config", "register_dataset"]


def _asked_for_doctor() -> bool:
    """Whether the process is `python -m detr_d2.doctor`: it must start in a broken environment."""
    return sys.argv[:1] == ["-m"] and "detr_d2.doctor" in sys.orig_argv


# fvcore, which detectron2 imports, still uses torch.jit.script: nothing that a user could mend.
warnings.filterwarnings("ignore", r"`torch\.jit\.script` is deprecated", FutureWarning)

if not _asked_for_doctor():
    from detr_d2._requirements import require_detectron2

    require_detectron2()

    from detr_d2 import modeling  # noqa: F401  only registration
    from detr_d2.config import add_detr_config
    from detr_d2.register import register_dataset
