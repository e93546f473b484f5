"""Read COCO-panoptic files: one JSON for the set and one RGB PNG of segment ids for each image.

All faults of a set are reported together: whoever fixes a data set wants the whole list.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from detr_d2.data.categories import CategoryTable
from detr_d2.ops.panoptic_ids import compare_segments, read_ids
from detr_d2.utils.files import path_below, read_json

LISTS = ("images", "annotations", "categories")
FAULTS_SHOWN = 20
SEGMENT_KEYS = ("id", "category_id", "iscrowd", "area")


def missing_lists(content: Any) -> list[str]:
    """Name those of the three lists that a JSON's content lacks."""
    lists = content if isinstance(content, dict) else {}
    return [name for name in LISTS if not isinstance(lists.get(name), list)]


def check_coco_lists(content: Any, path: str | os.PathLike[str], annotation_format: str) -> None:
    """Raise ValueError unless a JSON's content has the three lists of COCO's formats."""
    if missing := missing_lists(content):
        raise ValueError(f"{path}: no list {', '.join(missing)}; {annotation_format} has {LISTS}")


def read_panoptic_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the JSON of a COCO-panoptic set.

    Raises:
        ValueError: not valid JSON, or one of the three lists is missing.
        OSError: the file cannot be read.
    """
    content = read_json(path)
    check_coco_lists(content, path, "COCO-panoptic")
    return content


def load_records(
    panoptic_json: str,
    image_root: str,
    panoptic_root: str,
    categories: CategoryTable,
) -> list[dict[str, Any]]:
    """Read a COCO-panoptic set into Detectron2's panoptic records.

    An image without segments keeps its record: evaluation needs it. Leaving it out of training
    is the trainer's choice; Detectron2's own filter looks at "annotations" and never sees it.

    Args:
        panoptic_json: the set's JSON.
        image_root: folder that the images' `file_name` is relative to; any extension, any depth.
        panoptic_root: folder that the annotations' `file_name` (the PNG) is relative to.
        categories: the table that gives the contiguous ids; the JSON's own must agree with it.

    Returns:
        One dict an annotation: `file_name`, `image_id`, `height`, `width`, `pan_seg_file_name`
        and `segments_info`, whose entries hold `id`, `category_id` (contiguous), `iscrowd`,
        `area`, `bbox` (if given) and `isthing` (a Python bool: Detectron2 compares with `is`).

    Raises:
        ValueError: the faults found, each with the name of its file.
    """
    content = read_panoptic_json(panoptic_json)
    faults: list[str] = []
    own = CategoryTable(content["categories"], panoptic_json)
    if own.thing_flags() != categories.thing_flags():
        faults.append("its categories (ids, isthing) differ from those given at registration")
    images = {image.get("id"): image for image in content["images"]}
    if len(images) < len(content["images"]):
        faults.append("two images have the same id")
    records = []
    for annotation in content["annotations"]:
        image = images.get(annotation.get("image_id"))
        found = _annotation_faults(annotation, image, categories)
        faults += found
        if not found and image is not None:
            records.append(_record(annotation, image, image_root, panoptic_root, categories))
    faults += _set_faults(records)
    if not content["annotations"]:
        faults.append("it has no annotations")
    raise_faults(panoptic_json, faults)
    return records


def spot_check(records: Sequence[Mapping[str, Any]], count: int = 4) -> list[str]:
    """Faults between JSON and PNG in a few records from first to last.

    Cheap enough for every start; `detr_d2.validation.check` looks at all of them.
    """
    places = sorted({round(i * (len(records) - 1) / max(1, count - 1)) for i in range(count)})
    return [fault for i in places for fault in find_png_faults(records[i])]


def raise_faults(source: str, faults: list[str]) -> None:
    """Raise one ValueError that lists the faults, or return when there are none."""
    if not faults:
        return
    shown = faults[:FAULTS_SHOWN]
    if len(faults) > FAULTS_SHOWN:
        shown.append(f"... and {len(faults) - FAULTS_SHOWN} more")
    raise ValueError(f"{source}: {len(faults)} fault(s):\n  " + "\n  ".join(shown))


def _annotation_faults(
    annotation: Mapping[str, Any], image: Mapping[str, Any] | None, categories: CategoryTable
) -> list[str]:
    """Faults of one annotation and of its image entry that the JSON alone shows."""
    name = annotation.get("file_name")
    if not isinstance(name, str):
        return [f"annotation of image {annotation.get('image_id')!r}: no file_name of its PNG"]
    if image is None:
        return [f"{name}: image_id {annotation.get('image_id')!r} is not among the images"]
    found = []
    if not isinstance(image.get("file_name"), str):
        found.append(f"{name}: image {image.get('id')!r} has no file_name")
    else:
        found += _leaving_names(name, image["file_name"])
    for side in ("height", "width"):
        if not isinstance(image.get(side), int) or image[side] < 1:
            found.append(f"{name}: {side} {image.get(side)!r}, must be an integer from 1")
    segments = annotation.get("segments_info")
    if not isinstance(segments, list):
        return [*found, f"{name}: no list segments_info"]
    for segment in segments:
        found += [f"{name}: {fault}" for fault in _segment_faults(segment, categories)]
    ids = [segment.get("id") for segment in segments]
    if len(set(ids)) < len(ids):
        found.append(f"{name}: a segment id occurs more than once")
    return found


def _leaving_names(*names: str) -> list[str]:
    """Faults of the names that do not lie below the folder of the images or PNGs."""
    found = []
    for name in names:
        try:
            path_below("the set's folder", name)
        except ValueError as error:
            found.append(str(error))
    return found


def _segment_faults(segment: Mapping[str, Any], categories: CategoryTable) -> list[str]:
    missing = [key for key in SEGMENT_KEYS if key not in segment]
    if missing:
        return [f"segment {segment.get('id')!r}: no {', '.join(missing)}"]
    found = []
    if not isinstance(segment["id"], int) or segment["id"] < 1:
        found.append(f"segment id {segment['id']!r}, must be an integer from 1 (0 is void)")
    if segment["category_id"] not in categories.contiguous_ids:
        allowed = sorted(categories.contiguous_ids)
        found.append(
            f"segment {segment['id']}: category_id {segment['category_id']!r}, allowed: {allowed}"
        )
    return found


def _record(
    annotation: Mapping[str, Any],
    image: Mapping[str, Any],
    image_root: str,
    panoptic_root: str,
    categories: CategoryTable,
) -> dict[str, Any]:
    segments = annotation["segments_info"]
    for segment in segments:
        # In place: copies of the 1.3 million of COCO would take 4 s and 100 MB.
        segment["category_id"] = index = categories.contiguous_ids[segment["category_id"]]
        segment["isthing"] = categories.categories[index].isthing
    return {
        "file_name": os.path.join(image_root, image["file_name"]),
        "image_id": image["id"],
        "height": image["height"],
        "width": image["width"],
        "pan_seg_file_name": os.path.join(panoptic_root, annotation["file_name"]),
        "segments_info": segments,
    }


def _set_faults(records: list[dict[str, Any]]) -> list[str]:
    """Faults that show only in the set as a whole: absent files and names that collide."""
    found = []
    for key, kind in (("file_name", "image"), ("pan_seg_file_name", "PNG")):
        # One listing per folder is far cheaper than one look-up per file on a network disk.
        present = _files_in({os.path.dirname(record[key]) for record in records})
        found += [f"{r[key]}: {kind} not found" for r in records if r[key] not in present]
    stems: dict[str, str] = {}
    for record in records:
        path = record["file_name"]
        stem = os.path.splitext(os.path.basename(path))[0]
        if stem in stems:
            # Detectron2's evaluator names its PNGs by the stem alone: one would replace the other.
            found.append(f"{path}: same base name as {stems[stem]}; base names must be unique")
        stems[stem] = path
    return found


def _files_in(folders: Collection[str]) -> set[str]:
    return {
        os.path.join(folder, entry.name)
        for folder in folders
        if os.path.isdir(folder or ".")
        for entry in os.scandir(folder or ".")
    }


def find_png_faults(record: Mapping[str, Any]) -> list[str]:
    """Compare a record with the content of its PNG: size, ids and areas.

    This decodes the whole file, so it is for preparing and checking data, not for every epoch.
    The area matters: the code of panoptic quality trusts the JSON's.
    """
    name = record["pan_seg_file_name"]
    id_map = read_ids(name)
    if id_map.shape != (record["height"], record["width"]):
        expected = f"{record['width']}x{record['height']}"
        return [f"{name}: size {id_map.shape[1]}x{id_map.shape[0]}, the JSON says {expected}"]
    faults = compare_segments(id_map, record["segments_info"], boxes=False)
    return [f"{name}: {fault}" for fault in faults]
