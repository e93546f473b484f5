"""Masks of one class, pseudo-labels for stuff, both stages: docs/PSEUDO_LABELS.md, start to end.

On the drawn building site, with the demo's weights in the place of published ones: they know brick,
pipe and barrel. Of 200 images only the crates have masks. The full ground truth is known, so the
labels and the model are measured against it at the end.

python tools/examples/run_recipe.py [--out output/recipe] [--compare]

With --labels-only it ends after the labels; there the naive rule (cut the masks out, keep the rest)
stands beside ours.
"""

import argparse
import json
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detr_d2.utils.files import write_json

from tabulate import tabulate
from two_stages import CONFIGS, ROOT

DEMO = ROOT / "output/demo"
THINGS = ("brick", "pipe", "barrel", "crate", "crate")
PARTS = {"train": 200, "val": 100}
SEED = 7
# What people did before: the model as published, its map with the masks cut out.
NAIVE = ("--overlap=1", "--halo=0", "--min-area=0", "--min-confidence=0", "--min-score=0.85")
Command = list[str | Path]


class Recipe:
    """The commands, one after the other; everything goes below `out`."""

    def __init__(self, out: Path, demo: Path, things: Sequence[str], seed: int = SEED) -> None:
        self.out = out
        self.demo = demo
        self.things = things
        self.seed = seed
        self.data = out / "data"
        self.labelled = out / "labelled"
        self.seconds: dict[str, float] = {}

    def run(self, labels_only: bool, compare: bool) -> None:
        """Every step of the recipe; an earlier run's results are replaced.

        Args:
            labels_only: end after the labels.
            compare: label by the naive rule, and train on the full ground truth, too.

        Raises:
            subprocess.CalledProcessError: a step failed; its own message stands above.
        """
        if self.out.exists():
            shutil.rmtree(self.out)
        self.draw()
        self.step("convert masks", *(self.convert(part) for part in PARTS))
        self.step("label stuff", self.label(self.labelled))
        self.step("check", ["tools/check_dataset.py", self.labelled])
        folders = [self.labelled]
        if compare or labels_only:
            folders.append(self.out / "naive")
            self.step("label by the naive rule", [*self.label(folders[1]), "--review=0", *NAIVE])
        self.step("measure the labels", self.measure_labels(folders))
        if not labels_only:
            self.train("labels", self.labelled_sets())
            self.step("look", self.look())
        if compare:
            self.train(
                "ground_truth",
                {f"own_{part}": self.ground_truth(part) for part in PARTS},
            )
        self.report()

    def draw(self) -> None:
        """What a user brings: images, and masks of the crates alone."""
        size = [f"--{part}={count}" for part, count in PARTS.items()]
        options = ["--seed", str(self.seed), "--things", *self.things, "--masks", "crate"]
        command: Command = ["datasets/prepare_site.py", "--out", self.data, *size, *options]
        self.step("images and masks of crates", command)

    def convert(self, part: str) -> Command:
        """Masks into a COCO-panoptic set of crates."""
        return [
            *("tools/convert_masks.py", "binary-masks", "--images", self.data / part),
            *("--masks", self.data / f"masks_{part}", "--pattern", "{image}_{class}_{n}"),
            *("--all-things", "--keep-unlabelled", "--out", self.out / f"own_{part}"),
        ]

    def label(self, out: Path) -> Command:
        """All that is no crate, by the demo's model."""
        command: Command = ["tools/label_stuff.py"]
        for part in PARTS:
            folder = self.out / f"own_{part}"
            files = (folder / "images", folder / "panoptic", folder / "panoptic.json")
            command += ["--dataset", f"own_{part}", *files]
        model: Command = ["--config-file", self.demo / "config.yaml"]
        model += ["--weights", self.demo / "model_ema.pth"]
        return [*command, *model, "--things", "keep", "--batch", "8", "--out", out]

    def measure_labels(self, folders: Sequence[Path]) -> Command:
        """Labels against the ground truth, which only a drawn set has."""
        own = self.out / "own_train"
        command: Command = [
            "tools/label_quality.py",
            "--ground-truth",
            *self.ground_truth("train")[1:],
        ]
        command += ["--custom", own / "panoptic", own / "panoptic.json"]
        for folder in folders:
            command += ["--labels", folder / "panoptic", folder / "panoptic_own_train.json"]
        return [*command, "--out", self.out / "labels.json"]

    def ground_truth(self, part: str) -> tuple[Path, Path, Path]:
        """Images, PNGs and JSON of the full ground truth."""
        data = self.data
        return data / part, data / f"panoptic_{part}", data / f"panoptic_{part}.json"

    def labelled_sets(self) -> dict[str, tuple[Path, Path, Path]]:
        """Images, PNGs and JSON of the labels, by the name of the set."""
        folder = self.labelled
        return {
            f"own_{part}": (
                folder / "images",
                folder / "panoptic",
                folder / f"panoptic_own_{part}.json",
            )
            for part in PARTS
        }

    def train(self, name: str, sets: dict[str, tuple[Path, Path, Path]]) -> None:
        """Boxes, then masks; evaluated on the sets themselves, and on the ground truth of "val"."""
        boxes, masks = self.out / name / "boxes", self.out / name / "panoptic"
        start = self.demo / "model_ema.pth"
        self.step(f"{name}: boxes", self.train_net("boxes", sets, boxes, start))
        step = self.train_net("masks", sets, masks, boxes / "model_ema.pth")
        self.step(f"{name}: masks", step)
        # Both names, since the classes may be numbered in another order: weights go by name.
        ground_truth = {
            "own_train": self.ground_truth("train"),
            "own_val": self.ground_truth("val"),
        }
        step = self.train_net(
            "masks",
            ground_truth,
            self.out / name / "ground_truth",
            masks / "model_ema.pth",
        )
        self.step(f"{name}: evaluation on the ground truth", [step[0], "--eval-only", *step[1:]])

    def train_net(
        self, stage: str, sets: dict[str, tuple[Path, Path, Path]], out: Path, weights: Path
    ) -> Command:
        """One call of train_net.py."""
        command: Command = ["tools/train_net.py"]
        command += ["--config-file", CONFIGS / f"Site/recipe_{stage}.yaml"]
        for name, files in sets.items():
            command += ["--dataset", name, *files]
        return [*command, "MODEL.WEIGHTS", weights, "OUTPUT_DIR", out]

    def look(self) -> Command:
        """The model's pictures of the images of "val"."""
        model = self.out / "labels/panoptic"
        return [
            *("tools/demo.py", "--config-file", model / "config.yaml"),
            *("--input", self.data / "val", "--output", self.out / "pictures", "--width", "480"),
            *("MODEL.WEIGHTS", model / "model_ema.pth"),
        ]

    def step(self, title: str, *commands: Command) -> None:
        """Run commands, each shown as it would be typed."""
        begin = time.perf_counter()
        for command in commands:
            typed = " ".join(shlex.quote(_shown(part)) for part in command)
            print(f"\n=== {title}\npython {typed}", flush=True)
            subprocess.run([sys.executable, *map(str, command)], check=True, cwd=ROOT)
        self.seconds[title] = round(time.perf_counter() - begin, 1)

    def report(self) -> None:
        """Write and print the figures."""
        labels = json.loads((self.out / "labels.json").read_text())
        figures: dict[str, Any] = {
            "labels": {
                Path(path).parent.name: {key: round(value, 2) for key, value in of_set.items()}
                for path, of_set in labels.items()
            },
            "model": {
                f"trained on {name}, measured on the ground truth": _quality(
                    self.out / name / "ground_truth"
                )
                for name in ("labels", "ground_truth")
                if (self.out / name).is_dir()
            },
            "seconds": self.seconds,
        }
        write_json(self.out / "metrics.json", figures, indent=1)
        for title, rows in figures["model"].items():
            print(f"\n{title}\n" + tabulate(list(rows.items()), tablefmt="simple_outline"))
        print("\n" + tabulate(list(self.seconds.items()), ("step", "seconds"), "simple_outline"))
        print(f"all steps: {sum(self.seconds.values()):.0f} s")
        print(f"figures:  {self.out / 'metrics.json'}")
        print(f"review:   {self.labelled / 'review/index.html'}")
        if (self.out / "pictures").is_dir():
            print(f"pictures: {self.out / 'pictures'}")


def _quality(folder: Path) -> dict[str, float]:
    content = json.loads((folder / "evaluation.json").read_text())
    return {key: round(value, 2) for key, value in content.items() if value is not None}


def _shown(part: str | Path) -> str:
    path = Path(part)
    return str(path.relative_to(ROOT)) if path.is_absolute() and ROOT in path.parents else str(part)


def main() -> None:
    """Run the recipe."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "output/recipe")
    parser.add_argument("--demo", type=Path, default=DEMO / "panoptic", help="the demo's model")
    parser.add_argument(
        "--things", nargs="+", default=THINGS, help="what there is in the images, crate among them"
    )
    parser.add_argument("--seed", type=int, default=SEED, help="of the images")
    parser.add_argument("--labels-only", action="store_true", help="end after the labels")
    parser.add_argument(
        "--compare",
        action="store_true",
        help="label naively, train on the full ground truth, as well",
    )
    args = parser.parse_args()
    if not (args.demo / "model_ema.pth").is_file():
        parser.error(f"{args.demo / 'model_ema.pth'} is not there; `make demo` trains it")
    recipe = Recipe(args.out.resolve(), args.demo.resolve(), args.things, args.seed)
    recipe.run(args.labels_only, args.compare)


if __name__ == "__main__":
    main()
