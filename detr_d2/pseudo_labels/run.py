"""Label whole data sets: custom masks in, a COCO-panoptic set with labels everywhere out.

    OUT/
      images/  panoptic/    images and id PNGs
      panoptic.json         or panoptic_NAME.json for each of several sets
      classes.json          what became of every class
      labelling.json        the report
      review/index.html     pictures to inspect, the worst first

Files are written to a hidden folder beside OUT (see `PartialFolder`) that takes its place when all
is done.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.utils import comm
from torch import distributed as dist

from detr_d2.conversion.formats.base import Skipped
from detr_d2.data.image_io import check_image_mode
from detr_d2.pseudo_labels.classes import model_classes, plan_classes
from detr_d2.pseudo_labels.label_images import (
    JOURNALS,
    Labelling,
    LabelTask,
    Progress,
    custom_categories,
    fingerprint_of,
    images_of,
    label_images,
)
from detr_d2.pseudo_labels.merge import MergeRules
from detr_d2.pseudo_labels.result import LabellingReport, write_result
from detr_d2.utils.files import read_json, write_json
from detr_d2.utils.partial_folder import PartialFolder

REPORT = "labelling.json"
PATIENCE = timedelta(days=365)


def label_stuff(
    cfg: CfgNode,
    datasets: Sequence[str],
    out: str | os.PathLike[str],
    *,
    rules: MergeRules | None = None,
    stuff: str = "names",
    things: str = "misc",
    mapping: Mapping[str, str | None] | None = None,
    batch: int = 1,
    images: str = "link",
    review: int = 200,
    replace: bool = False,
    progress: Progress | None = None,
) -> LabellingReport | None:
    """Label what the custom masks of registered sets leave open; to be called in every process.

    Interrupted, it goes on where it was when called again with the same arguments and inputs.

    Args:
        cfg: the pretrained model's config, with MODEL.WEIGHTS; any model of Detectron2 that gives
            `panoptic_seg`.
        datasets: names of registered COCO-panoptic sets with the same classes.
        out: folder of the result.
        rules: how custom masks displace the prediction.
        stuff, things, mapping: what becomes of the model's classes, see `plan_classes`.
        batch: images that the model gets at a time, in each process.
        images: "link" or "copy" the images.
        review: how many images, those of the lowest score, the review shows; 0 = no review.
        replace: a result of other arguments or inputs in `out` is replaced, once the new one is
            whole; people may have corrected it manually.
        progress: called with (images done, images in all) of this process.

    Returns:
        The report, in the main process; None in the others.

    Raises:
        ValueError: an argument is wrong, or no image could be labelled.
        FileExistsError: `out` holds something else, or a result that is not to be replaced.
    """
    check_image_mode(images)
    if batch < 1 or review < 0:
        raise ValueError(f"batch {batch}, must be 1 or more; review {review}, must be 0 or more")
    rules = rules or MergeRules()
    custom = custom_categories(datasets)
    names = [*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST]
    plan = plan_classes(custom, model_classes(names), stuff=stuff, things=things, mapping=mapping)
    tasks = images_of(datasets)
    settings = {
        "datasets": list(datasets),
        "architecture": cfg.MODEL.META_ARCHITECTURE,
        "weights": cfg.MODEL.WEIGHTS,
        "stuff": stuff,
        "things": things,
        "mapping": mapping,
        "rules": asdict(rules),
        "batch": batch,
        "images": images,
        "review": review,
    }
    folder = PartialFolder(out, REPORT, (JOURNALS,))
    labelling = Labelling(cfg, folder.path, custom, plan, rules, images)
    return _label(labelling, tasks, folder, settings, replace, progress)


def _label(
    labelling: Labelling,
    tasks: Sequence[LabelTask],
    folder: PartialFolder,
    settings: dict[str, Any],
    replace: bool,
    progress: Progress | None,
) -> LabellingReport | None:
    """Label in every process; the main one writes the result and returns the report."""
    decisive = [settings, labelling.plan.mapping(), _model_settings(labelling.cfg)]
    fingerprint = fingerprint_of(tasks, decisive)
    finished = _finished_report(folder.target, fingerprint, replace)
    # None prepares before all have looked, and none works before it is prepared.
    comm.synchronize()
    if finished is not None:
        return finished if comm.is_main_process() else None
    if comm.is_main_process():
        folder.prepare(fingerprint)
    comm.synchronize()
    group = patient_group()
    skipped_here = label_images(labelling, tasks, settings["batch"], progress)
    # It arrives when all processes are done.
    gathered: list[list[Skipped]] = comm.gather(skipped_here, group=group)
    if not comm.is_main_process():
        return None
    skipped = [item for part in gathered for item in part]
    report = write_result(folder.path, labelling, tasks, skipped, settings["review"])
    content = {"fingerprint": fingerprint, "settings": settings, **asdict(report)}
    write_json(folder.path / REPORT, content, indent=1)
    folder.finish()
    return report


def patient_group() -> Any:
    """The group of all processes, waiting as long as it takes; None where there is only one.

    PyTorch's own limit of half an hour would end all of them when one has images left that long.
    """
    if comm.get_world_size() == 1:
        return None
    group: dist.ProcessGroup = dist.new_group(backend="gloo", timeout=PATIENCE)  # type: ignore[assignment]
    return group


def _finished_report(target: Path, fingerprint: str, replace: bool) -> LabellingReport | None:
    """The report of an earlier run with the same arguments and inputs, if it is there.

    Raises:
        FileExistsError: that of another run is there, and not to be replaced.
    """
    path = target / REPORT
    if not path.is_file():
        return None
    content = read_json(path)
    content.pop("settings", None)
    if content.pop("fingerprint", None) != fingerprint:
        if replace:
            return None
        raise FileExistsError(
            f"{target} holds labels of other options or inputs (see {REPORT} there); choose "
            "another folder, or ask for replacing"
        )
    content["skipped"] = [Skipped(**item) for item in content["skipped"]]
    return LabellingReport(**content)


def _model_settings(cfg: CfgNode) -> list[Any]:
    """The parts of a model's config and weights that decide its predictions."""
    own = cfg.clone()
    own.defrost()
    own.MODEL.DEVICE = ""
    path = own.MODEL.WEIGHTS
    state = os.stat(path) if os.path.isfile(path) else None
    return [own.MODEL.dump(), own.INPUT.dump(), state and (state.st_size, state.st_mtime_ns)]
