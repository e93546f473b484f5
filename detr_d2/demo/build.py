"""Make the outputs that the options of the demo ask for."""

import argparse
from collections.abc import Sequence

from detectron2.config import CfgNode

from detr_d2.annotation_export import WRITERS, AnnotationWriter
from detr_d2.data.categories import CategoryTable
from detr_d2.data.coco_writer import PanopticFolder
from detr_d2.data.image_ids import ImageIds
from detr_d2.demo.inputs import is_url, reject_videos
from detr_d2.demo.outputs import Annotations, Output, Panoptic, Pictures, picture_targets
from detr_d2.demo.rank import LOWEST_SCORE, Rank
from detr_d2.utils.files import reject_overwriting
from detr_d2.visualization import Palette
from detr_d2.visualization.video import Source


def choose_instances(cfg: CfgNode, rank: bool) -> None:
    """Let the model make those `instances` that the outputs use: each takes a mask of the image.

    --rank counts the objects that were nearly found. Else they are for models without a panoptic
    map only.
    """
    detr = cfg.MODEL.DETR
    if rank:
        detr.INSTANCE_ON = True
        detr.INSTANCE_SCORE_THRESH = min(detr.INSTANCE_SCORE_THRESH, LOWEST_SCORE)
    elif cfg.MODEL.META_ARCHITECTURE == "PanopticDetr" and detr.PANOPTIC_ON:
        detr.INSTANCE_ON = False


def make_writers(args: argparse.Namespace, table: CategoryTable) -> list[AnnotationWriter]:
    """One writer for each --export."""
    return [WRITERS[name](folder, table, args.resume) for name, folder in args.export]


def make_outputs(
    args: argparse.Namespace,
    sources: Sequence[Source],
    table: CategoryTable,
    writers: Sequence[AnnotationWriter],
    cfg: CfgNode,
) -> tuple[Pictures | None, list[Output]]:
    """The pictures, if asked for, and all outputs; what cannot be written is rejected here.

    Raises:
        ValueError: an output would overwrite an input, lacks an image's id, cannot
            hold its name, or takes no videos.
    """
    outputs: list[Output] = []
    inputs = [source.path for source in sources]
    pictures = None
    if args.output and args.webcam is None:
        targets = picture_targets(sources, args.output)
        reject_overwriting(inputs, targets.values())
        palette = Palette.from_categories(table.categories)
        pictures = Pictures(targets, palette, args.width)
        outputs.append(pictures)
    if args.coco_panoptic:
        ids = ImageIds(args.ids_from)
        if args.ids_from:
            reject_videos(sources, "--ids-from")
            ids.check(source.name for source in sources)
        folder = PanopticFolder(args.coco_panoptic, table, resume=args.resume, image_ids=ids)
        reject_overwriting(inputs, (folder.png(s.name) for s in sources if not s.is_video))
        outputs.append(Panoptic(folder))
    if args.export or args.rank:
        reject_videos(sources, "--export" if args.export else "--rank")
        if any(map(is_url, args.input)):
            raise ValueError("--export and --rank name the images' files: download them first")
    for writer in writers:
        writer.check(source.name for source in sources)
        outputs.append(Annotations(writer))
    if args.rank:
        outputs.append(_rank(args, cfg, pictures))
    return pictures, outputs


def _rank(args: argparse.Namespace, cfg: CfgNode, pictures: Pictures | None) -> Rank:
    detr = cfg.MODEL.DETR
    return Rank(args.rank, detr.SCORE_THRESH, pictures, args.resume, detr.DUPLICATE_IOU)
