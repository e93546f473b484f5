"""Gather the three COCO-panoptic images of the test data into one COCO-panoptic set.

Two images come with panopticapi's sample data (a whole JSON), the third from another project's
test fixtures (a bare list of segments). Segment ids, areas and crowds stay as they are.

    python datasets/prepare_coco_samples.py --out output/coco_samples
"""

import argparse
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from PIL import Image

from detr_d2.data.categories import CategoryTable
from detr_d2.data.coco_panoptic import (
    find_png_faults,
    load_records,
    raise_faults,
    read_panoptic_json,
)
from detr_d2.data.coco_writer import write_panoptic_json
from detr_d2.utils.files import replacing

TEST_DATA_VARIABLE = "DETR_D2_TEST_DATA"
EXIT_NO_TEST_DATA = 3
FOLDER = "coco_panoptic_samples"
SAMPLE_DATA = Path("panopticapi/sample_data")
FIXTURE = Path("transformers_fixture/tests/fixtures/tests_samples/COCO")
FIXTURE_IMAGE_ID = 39769


def find_samples(data: str | os.PathLike[str]) -> Path:
    """The samples' folder: `data` itself or `coco_panoptic_samples` in it.

    Raises:
        FileNotFoundError: the samples are in neither.
    """
    for folder in (Path(data), Path(data) / FOLDER):
        if (folder / SAMPLE_DATA).is_dir() and (folder / FIXTURE).is_dir():
            return folder
    raise FileNotFoundError(
        f"test data not found: neither {data} nor {Path(data) / FOLDER} holds "
        f"{SAMPLE_DATA} and {FIXTURE}; set {TEST_DATA_VARIABLE} or give --data"
    )


def prepare_coco_samples(
    data: str | os.PathLike[str], out: str | os.PathLike[str], all_categories: bool = False
) -> None:
    """Write `out/images`, `out/panoptic` and `out/panoptic.json`, and check the result.

    Args:
        data: the test data's folder, see `find_samples`.
        out: folder to write to.
        all_categories: list COCO's 133 categories, and not only those that occur.

    Raises:
        FileNotFoundError: the test data are absent.
        ValueError: a file of theirs is not as its JSON says.
    """
    samples, target = find_samples(data), Path(out)
    content = read_panoptic_json(samples / SAMPLE_DATA / "panoptic_examples.json")
    images = [
        {key: image[key] for key in ("id", "file_name", "width", "height")}
        for image in content["images"]
    ]
    annotations = list(content["annotations"])
    for image in images:
        _copy(samples / SAMPLE_DATA / "input_images" / image["file_name"], target / "images")
    for annotation in annotations:
        _copy(
            samples / SAMPLE_DATA / "panoptic_examples" / annotation["file_name"],
            target / "panoptic",
        )
    image, annotation = _fixture_entries(samples / FIXTURE)
    images.append(image)
    annotations.append(annotation)
    _copy(samples / FIXTURE / image["file_name"], target / "images")
    _copy(samples / FIXTURE / "coco_panoptic" / annotation["file_name"], target / "panoptic")
    used = {s["category_id"] for a in annotations for s in a["segments_info"]}
    table = CategoryTable([c for c in content["categories"] if all_categories or c["id"] in used])
    write_panoptic_json(
        target / "panoptic.json",
        images=images,
        annotations=annotations,
        categories=table,
        description="three COCO images with panoptic ground truth",
    )
    _check(target, table)


def _fixture_entries(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The image and annotation entries of the image that has only a list of segments."""
    name = f"{FIXTURE_IMAGE_ID:012d}.png"
    with Image.open(folder / name) as png:
        width, height = png.size
    segments = json.loads((folder / "coco_panoptic_annotations.txt").read_text())
    image = {"id": FIXTURE_IMAGE_ID, "file_name": name, "width": width, "height": height}
    return image, {"image_id": FIXTURE_IMAGE_ID, "file_name": name, "segments_info": segments}


def _copy(source: Path, folder: Path) -> None:
    with replacing(folder / source.name) as temporary:
        shutil.copyfile(source, temporary)


def _check(target: Path, table: CategoryTable) -> None:
    json_path = str(target / "panoptic.json")
    records = load_records(json_path, str(target / "images"), str(target / "panoptic"), table)
    raise_faults(json_path, [fault for record in records for fault in find_png_faults(record)])


def main() -> None:
    parser = argparse.ArgumentParser(description="Gather the test data's COCO-panoptic images.")
    parser.add_argument(
        "--data",
        default=os.environ.get(TEST_DATA_VARIABLE),
        help=f"folder of the test data (default: ${TEST_DATA_VARIABLE})",
    )
    parser.add_argument("--out", required=True, help="folder to write to")
    parser.add_argument(
        "--all-categories", action="store_true", help="list all 133 categories of COCO"
    )
    args = parser.parse_args()
    if not args.data:
        print(f"no test data: set {TEST_DATA_VARIABLE} or give --data", file=sys.stderr)
        sys.exit(EXIT_NO_TEST_DATA)
    try:
        prepare_coco_samples(args.data, args.out, args.all_categories)
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_NO_TEST_DATA)


if __name__ == "__main__":
    main()
