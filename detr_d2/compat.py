"""The one place for differences between builds of Detectron2."""

from collections.abc import Mapping

from detectron2.utils.events import get_event_storage


def put_scalars(scalars: Mapping[str, float]) -> None:
    """Log scalars into the current event storage, or nowhere outside of training.

    Only newer builds can be asked whether there is a storage; all raise AssertionError without.
    """
    try:
        storage = get_event_storage()
    except AssertionError:
        return
    storage.put_scalars(**scalars)


def has_compiled_ops() -> bool:
    """Whether detectron2's compiled operators can be used: COCO evaluation is faster with them.

    A build from source has them, the wheel of the package index only in a few environments.
    """
    try:
        import detectron2._C  # noqa: F401
    except ImportError:
        return False
    return True
