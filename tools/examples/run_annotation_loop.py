"""The annotation loop on the building site: is it better to correct what the model is unsure of?

docs/ANNOTATION_LOOP.md, start to end, with the ground truth in the place of the annotator. Twenty
random images are labelled and a model is trained. Then, again and again, twenty more: in one run
those that demo.py --rank puts first, in the other random ones. Both train equally long, from the
demo's weights, which know brick, pipe and barrel, but no crate.

python tools/examples/run_annotation_loop.py [--out output/annotation_loop]
"""

import argparse
import json
import random
import subprocess
import sys
from pathlib import Path

from detr_d2.annotation_export import Finding
from detr_d2.annotation_export.coco import CocoWriter
from detr_d2.data.categories import CategoryTable
from detr_d2.data.coco_panoptic import load_records, read_panoptic_json
from detr_d2.data.image_io import place_image
from detr_d2.ops.panoptic_ids import read_ids
from detr_d2.utils.files import replacing, write_json
from detr_d2.utils.partial_folder import remove_folder

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from two_stages import CONFIGS, ROOT

DEMO = ROOT / "output/demo/panoptic"
THINGS = ("brick", "pipe", "barrel", "crate", "crate")
CHOICES = {"unsure": "the least sure images", "random": "random images"}
# Both stages at once, a few minutes on one core.
TRAINING = ("MODEL.DETR.FREEZE", "False", "SOLVER.BASE_LR", "0.0005", "SOLVER.EMA.DECAY", "0.99")


class Loop:
    """The commands of the guide; everything goes below `out`."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.out: Path = args.out
        self.weights: Path = args.demo / "model_ema.pth"
        self.pool, self.test, self.step = args.pool, args.test, args.step
        self.iterations, self.rounds, self.seed = args.iterations, args.rounds, args.seed
        self.data = self.out / "data"
        self.results: dict[str, dict[int, float]] = {choice: {} for choice in CHOICES}

    def run(self) -> None:
        """Every round of both ways to choose; what an interrupted run has trained is kept."""
        size = [f"--train={self.pool}", f"--val={self.test}", f"--seed={self.seed}"]
        python("datasets/prepare_site.py", "--out", self.data, *size, "--things", *THINGS)
        path = self.data / "panoptic_train.json"
        self.table = CategoryTable(read_panoptic_json(path)["categories"])
        folders = (str(self.data / "train"), str(self.data / "panoptic_train"))
        records = load_records(str(path), *folders, self.table)
        self.records = {Path(record["file_name"]).name: record for record in records}
        order = random.Random(self.seed).sample(sorted(self.records), self.pool)
        for choice in CHOICES:
            labelled = order[: self.step]
            # The first model is the same for both.
            model = self.train("first", labelled)
            self.results[choice][len(labelled)] = panoptic_quality(model)
            for _ in range(self.rounds):
                left = [name for name in order if name not in labelled]
                if choice == "unsure":
                    left = self.ranked(model, left, f"{choice}_{len(labelled)}")
                labelled = labelled + left[: self.step]
                model = self.train(f"{choice}_{len(labelled)}", labelled)
                self.results[choice][len(labelled)] = panoptic_quality(model)
        write_json(self.out / "metrics.json", self.results, indent=1)

    def train(self, name: str, labelled: list[str]) -> Path:
        """Convert what the annotator has labelled, train on it; the training's folder."""
        model = self.out / name / "model"
        if (model / "model_ema.pth").is_file():
            return model
        folder = self.annotate(name, labelled)
        converted = self.out / name / "converted"
        writer = CocoWriter(folder, self.table, resume=True)
        words = writer.conversion(str(folder / "images"))
        python("tools/convert_masks.py", *words, "--out", converted, "--no-sheet")
        sets = {
            "own_train": [converted / part for part in ("images", "panoptic", "panoptic.json")],
            "own_val": [self.data / part for part in ("val", "panoptic_val", "panoptic_val.json")],
        }
        options = [word for key, paths in sets.items() for word in ("--dataset", key, *paths)]
        python(
            *("tools/train_net.py", "--config-file", CONFIGS / "Site/recipe_masks.yaml", *options),
            *("MODEL.WEIGHTS", self.weights, "OUTPUT_DIR", model, *TRAINING),
            *("SOLVER.MAX_ITER", self.iterations, "SEED", self.seed + 1),
        )
        return model

    def annotate(self, name: str, labelled: list[str]) -> Path:
        """Do the annotator's work: correct the polygons of these images, which are COCO JSON."""
        folder = self.out / name / "labelled"
        remove_folder(folder)
        writer = CocoWriter(folder, self.table)
        for image in labelled:
            record = self.records[image]
            place_image(record["file_name"], folder / "images" / image)
            ids = read_ids(record["pan_seg_file_name"])
            writer.add(Finding(image, folder / "images" / image, ids, record["segments_info"]))
        writer.finish()
        return folder

    def ranked(self, model: Path, images: list[str], name: str) -> list[str]:
        """Predict the images that have no labels yet; their names, the least sure first."""
        folder = self.out / name / "predicted"
        paths = [self.data / "train" / image for image in images]
        python(
            *("tools/demo.py", "--config-file", model, "--input", *paths, "--batch", "8"),
            *("--export", "coco", folder / "to_correct", "--rank", folder / "rank"),
        )
        lines = (folder / "rank/rank.txt").read_text().splitlines()
        return [Path(line).name for line in lines]


def python(*words: str | Path | int) -> None:
    """Run a tool of the checkout.

    Raises:
        subprocess.CalledProcessError: it failed; its own message stands above.
    """
    subprocess.run([sys.executable, *map(str, words)], check=True, cwd=ROOT)


def panoptic_quality(model: Path) -> float:
    """PQ on the test images, in percent, as the training has measured it at its end."""
    return float(json.loads((model / "evaluation.json").read_text())["PQ"])


def plot(results: dict[str, dict[int, float]], path: Path) -> None:
    """Plot PQ against the number of labelled images, a line for each way to choose."""
    figure, axes = plt.subplots(figsize=(5.2, 3.2), dpi=130, layout="constrained")
    for (choice, points), color in zip(results.items(), ("#c2410c", "#475569"), strict=True):
        counts = list(points)
        axes.plot(counts, [points[n] for n in counts], "o-", color=color, label=CHOICES[choice])
    axes.set(xlabel="labelled images", ylabel="PQ on other images", xticks=counts)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="lower right")
    with replacing(path) as temporary:
        figure.savefig(temporary)


def main() -> None:
    """Run the loop."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "output/annotation_loop")
    parser.add_argument("--demo", type=Path, default=DEMO, help="the demo's model")
    parser.add_argument("--picture", type=Path, help="where the plot goes (default: in --out)")
    parser.add_argument("--pool", type=int, default=200, help="images that could be labelled")
    parser.add_argument("--test", type=int, default=100, help="other images, for the PQ")
    parser.add_argument("--step", type=int, default=20, help="images labelled in a round")
    parser.add_argument("--rounds", type=int, default=2, help="after the first")
    parser.add_argument("--iterations", type=int, default=400, help="of each training")
    parser.add_argument("--seed", type=int, default=11, help="of the images and of the choice")
    args = parser.parse_args()
    args.out, args.demo = args.out.resolve(), args.demo.resolve()
    if not (args.demo / "model_ema.pth").is_file():
        parser.error(f"{args.demo / 'model_ema.pth'} is not there; `make demo` trains it")
    loop = Loop(args)
    loop.run()
    path = args.picture or args.out / "annotation_loop.png"
    plot(loop.results, path)
    for choice, points in loop.results.items():
        figures = ", ".join(f"{count}: {quality:.1f}" for count, quality in points.items())
        print(f"PQ by the number of labelled images, {CHOICES[choice]}: {figures}")
    print(path)


if __name__ == "__main__":
    main()
