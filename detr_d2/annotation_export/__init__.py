"""Predictions as files of annotation programs: to be corrected there and converted again."""

from detr_d2.annotation_export.base import AnnotationWriter, Finding
from detr_d2.annotation_export.coco import CocoWriter
from detr_d2.annotation_export.cvat import CvatWriter
from detr_d2.annotation_export.labelme import LabelmeWriter
from detr_d2.annotation_export.yolo import YoloWriter

WRITERS: dict[str, type[AnnotationWriter]] = {
    writer.name: writer for writer in (LabelmeWriter, CocoWriter, CvatWriter, YoloWriter)
}

__all__ = ["WRITERS", "AnnotationWriter", "Finding"]
