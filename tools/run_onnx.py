"""Run an exported panoptic DETR on images; needs numpy, Pillow and onnxruntime, and no PyTorch.

python run_onnx.py --model FOLDER --output FOUND [--ids-from val.json] image.jpg ...
"""

import argparse
import hashlib
import io
import json
import os
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

# In the info of the JSON, by which it is told from somebody's ground truth.
FINDINGS = "found by detr_d2"
# Modes of Pillow with 8 bits a channel: others would be read as white.
IMAGE_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"}
# Of a picture, coloured at a time: as numbers with a point they take eight times the memory.
ROWS = 64


class PanopticModel:
    """The folder that `export_onnx.py` wrote."""

    def __init__(self, folder: str) -> None:
        # Errors only: the optimizer remarks on every graph that has a loop.
        onnxruntime.set_default_logger_severity(3)
        run = onnxruntime.get_available_providers()
        self.detect, self.masks = (
            onnxruntime.InferenceSession(os.path.join(folder, name), providers=run)
            for name in ("detect.onnx", "masks.onnx")
        )
        self.settings = json.loads(self.detect.get_modelmeta().custom_metadata_map["detr_d2"])
        self.categories = json.loads(Path(folder, "categories.json").read_text("utf-8-sig"))

    def resized(self, image: Image.Image) -> np.ndarray:
        """Scale the shortest edge as Detectron2's ResizeShortestEdge does: (h, w, 3) uint8."""
        (width, height), shortest = image.size, self.settings["min_size"]
        if shortest == 0:
            return np.asarray(image)
        scale = shortest / min(height, width)
        sizes = (shortest, scale * width) if height < width else (scale * height, shortest)
        if max(sizes) > self.settings["max_size"]:
            scale = self.settings["max_size"] / max(sizes)
            sizes = (sizes[0] * scale, sizes[1] * scale)
        return np.asarray(image.resize((int(sizes[1] + 0.5), int(sizes[0] + 0.5)), Image.BILINEAR))

    def __call__(self, image: Image.Image) -> tuple[np.ndarray, list[dict]]:
        """Return segment ids int32 (H, W), 0 = nothing, and the segments of an RGB image."""
        names = [value.name for value in self.detect.get_outputs()]
        found = dict(zip(names, self.detect.run(None, {"image": self.resized(image)}), strict=True))
        thresh = self.settings["score_thresh"]
        keep = np.flatnonzero(found["is_object"] & (found["scores"] > thresh))
        if not len(keep):
            return np.zeros(image.size[::-1], np.int32), []
        wanted = {value.name for value in self.masks.get_inputs()}
        inputs = {name: value for name, value in found.items() if name in wanted}
        inputs["embeddings"] = found["embeddings"][keep]
        inputs["kept_classes"] = classes = found["classes"][keep]
        inputs["kept_is_thing"] = found["is_thing"][keep]
        inputs["output_size"] = np.array(image.size[::-1])
        inputs["min_area"] = np.array([self.settings["min_area"]])
        ids, owners, areas = self.masks.run(["id_map", "query_ids", "areas"], inputs)
        segments = []
        for number in range(1, owners.max() + 1):
            rows = np.flatnonzero(owners == number)
            ys, xs = (np.flatnonzero((ids == number).any(axis)) for axis in (1, 0))
            box = [xs[0], ys[0], xs[-1] - xs[0] + 1, ys[-1] - ys[0] + 1]
            segments.append(
                {
                    "id": number,
                    "category_id": self.categories[classes[rows[0]]]["id"],
                    "iscrowd": 0,
                    "area": int(areas[rows].sum()),
                    "bbox": [int(value) for value in box],
                    "score": float(found["scores"][keep][rows].max()),
                }
            )
        return ids, segments


def render(image: Image.Image, ids: np.ndarray, segments: list[dict], categories: list) -> Image:
    """Lay the colours of the classes over an image, with white outlines."""
    colors = {c["id"]: c["color"] for c in categories}
    table = np.array([[34, 36, 40], *(colors[s["category_id"]] for s in segments)])
    picture = np.array(image)
    for top in range(0, len(picture), ROWS):
        rows = slice(top, top + ROWS)
        picture[rows] = (0.45 * picture[rows] + 0.55 * table[ids[rows]]).astype(np.uint8)
    picture[:, 1:][ids[:, 1:] != ids[:, :-1]] = 255
    picture[1:][ids[1:] != ids[:-1]] = 255
    return Image.fromarray(picture)


def save(content: Image.Image | dict, path: Path) -> None:
    """Write a picture or JSON under a temporary name, then rename it; OSError names the file."""
    temporary = path.with_name(f".partial-{os.getpid()}-{path.name}")
    encoded = io.BytesIO()
    if isinstance(content, dict):
        encoded.write(json.dumps(content).encode())
    else:
        # Not into the file: Pillow's JPEG writer does not notice that a disk is full.
        content.save(encoded, Image.registered_extensions()[path.suffix])
    try:
        temporary.write_bytes(encoded.getbuffer())
        temporary.replace(path)
    except OSError as error:
        if temporary.exists():
            temporary.unlink()
        raise OSError(error.errno, error.strerror, str(path)) from error


def images_of(paths: list[Path], ids_from: str | None) -> list[dict]:
    """Id and file name of each image: of a set's JSON, or hashes of the names, no ids of any set.

    Raises:
        ValueError: the set has no image of that name, or several.
    """
    if ids_from is None:
        digests = [hashlib.sha256(os.fsencode(path.name)).digest()[:6] for path in paths]
        pairs = zip(paths, digests, strict=True)
        return [{"id": int.from_bytes(d, "big"), "file_name": path.name} for path, d in pairs]
    images = json.loads(Path(ids_from).read_text("utf-8-sig"))["images"]
    entries = []
    for path in paths:
        same = [image for image in images if Path(image["file_name"]).name == path.name]
        if len(same) != 1:
            raise ValueError(f"{ids_from} has {len(same)} images of the name {path.name}")
        entries.append({name: same[0][name] for name in ("id", "file_name")})
    return entries


def check_image(path: Path) -> None:
    """Raise OSError if a file is no image, or has more than 8 bits a channel."""
    with Image.open(path) as image:
        if image.mode not in IMAGE_MODES:
            raise OSError(f"{path}: image mode {image.mode}; images must have 8 bits a channel")


def reject_ground_truth(path: Path) -> None:
    """Raise ValueError if a JSON is there that holds no findings of a model."""
    if path.exists():
        content = json.loads(path.read_text("utf-8-sig"))
        if not isinstance(content, dict) or content.get("info") != {"description": FINDINGS}:
            raise ValueError(f"{path} was not written by a model; choose another --output")


def reject_overwriting(read: list[str | Path], written: list[Path]) -> None:
    """Raise ValueError if a file that will be written is one that is read."""
    inputs = {os.path.realpath(path) for path in read}
    for path in written:
        if os.path.realpath(path) in inputs:
            raise ValueError(
                f"{path} is an input and would be overwritten; choose another --output"
            )


def main() -> None:
    """Write panoptic.json, panoptic/STEM.png (segment ids) and pictures/STEM.jpg."""
    parser = argparse.ArgumentParser(description=__doc__)
    here = os.path.dirname(os.path.abspath(__file__))
    parser.add_argument("--model", default=here, help="what export_onnx.py wrote")
    parser.add_argument("--output", required=True)
    parser.add_argument("--ids-from", help="a COCO JSON with the ids of the images")
    parser.add_argument("images", nargs="+")
    args = parser.parse_args()
    paths = [Path(name) for name in args.images]
    if len({path.stem for path in paths}) < len(paths):
        parser.error("two images have the same name; run them into two folders")
    output = Path(args.output)
    pngs, pictures = (
        [output / folder / f"{path.stem}.{suffix}" for path in paths]
        for folder, suffix in (("panoptic", "png"), ("pictures", "jpg"))
    )
    try:
        known = [] if args.ids_from is None else [args.ids_from]
        reject_overwriting([*paths, *known], [output / "panoptic.json", *pngs, *pictures])
        reject_ground_truth(output / "panoptic.json")
        images = images_of(paths, args.ids_from)
        for path in paths:
            check_image(path)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    model = PanopticModel(args.model)
    for folder in ("panoptic", "pictures"):
        (output / folder).mkdir(parents=True, exist_ok=True)
    annotations = []
    for path, entry, png, picture in zip(paths, images, pngs, pictures, strict=True):
        image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
        ids, segments = model(image)
        rgb = np.stack([(ids >> shift & 255).astype(np.uint8) for shift in (0, 8, 16)], -1)
        save(Image.fromarray(rgb), png)
        save(render(image, ids, segments, model.categories), picture)
        entry |= {"height": image.height, "width": image.width}
        names = {"image_id": entry["id"], "file_name": png.name}
        annotations.append({**names, "segments_info": segments})
        print(f"{path}: {len(segments)} segments")
    content = {
        "info": {"description": FINDINGS},
        "categories": model.categories,
        "images": images,
        "annotations": annotations,
    }
    save(content, output / "panoptic.json")


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        sys.exit(f"run_onnx.py: {error}")
