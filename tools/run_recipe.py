"""Your own things, labelled stuff, a panoptic model: the recipe of GETTING_STARTED, start to end.

On the drawn building site, with the demo's weights in the place of published ones: they know brick,
pipe and barrel. Of 200 photos only the crates have masks. The full truth is known here, so the
labels and the model are measured against it at the end.

python tools/run_recipe.py [--out output/recipe] [--compare]
"""

import argparse
import json
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tabulate import tabulate
from two_stages import CONFIGS, ROOT, device

from detr_d2.ops.files import write_json

DEMO = ROOT / "output/demo"
THINGS = ("brick", "pipe", "barrel", "crate", "crate")
PARTS = {"train": 200, "val": 100}
SEED = 7
Command = list[str | Path]


class Recipe:
    """The commands, one after the other; everything goes below `out`."""

    def __init__(self, out: Path, demo: Path) -> None:
        self.out = out
        self.demo = demo
        self.data = out / "data"
        self.labelled = out / "labelled"
        self.seconds: dict[str, float] = {}

    def run(self, compare: bool) -> None:
        """Every step of the recipe; an earlier run's results are replaced.

        Args:
            compare: train on the full truth too, with the same schedule.

        Raises:
            subprocess.CalledProcessError: a step failed; its own message stands above.
        """
        if self.out.exists():
            shutil.rmtree(self.out)
        self.draw()
        self.step("convert masks", *(self.convert(part) for part in PARTS))
        self.step("label stuff", self.label())
        self.step("check", ["tools/check_dataset.py", self.labelled])
        self.step("measure the labels", self.measure_labels())
        self.train("labels", self.labelled_sets())
        self.step("look", self.look())
        if compare:
            self.train("truth", {f"own_{part}": self.truth(part) for part in PARTS})
        self.report()

    def draw(self) -> None:
        """What a user brings: photos, and masks of the crates alone."""
        size = [f"--{part}={count}" for part, count in PARTS.items()]
        options = ["--seed", str(SEED), "--things", *THINGS, "--masks", "crate"]
        command: Command = ["datasets/prepare_site.py", "--out", self.data, *size, *options]
        self.step("photos and masks of crates", command)

    def convert(self, part: str) -> Command:
        """Masks into a COCO-panoptic set of crates."""
        return [
            *("tools/convert_masks.py", "binary-masks", "--images", self.data / part),
            *("--masks", self.data / f"masks_{part}", "--pattern", "{photo}_{class}_{n}"),
            *("--all-things", "--keep-unlabelled", "--out", self.out / f"own_{part}"),
        ]

    def label(self) -> Command:
        """All that is no crate, by the demo's model."""
        command: Command = ["tools/label_stuff.py"]
        for part in PARTS:
            folder = self.out / f"own_{part}"
            files = (folder / "images", folder / "panoptic", folder / "panoptic.json")
            command += ["--dataset", f"own_{part}", *files]
        model: Command = ["--config-file", self.demo / "config.yaml"]
        model += ["--weights", self.demo / "model_ema.pth"]
        return [*command, *model, "--things", "keep", "--batch", "8", "--out", self.labelled]

    def measure_labels(self) -> Command:
        """Labels against the truth, which only a drawn set has."""
        own, labels = self.out / "own_train", self.labelled
        return [
            *("tools/label_quality.py", "--truth", *self.truth("train")[1:]),
            *("--custom", own / "panoptic", own / "panoptic.json"),
            *("--labels", labels / "panoptic", labels / "panoptic_own_train.json"),
            *("--out", self.out / "labels.json"),
        ]

    def truth(self, part: str) -> tuple[Path, Path, Path]:
        """Photos, PNGs and JSON of the full truth."""
        data = self.data
        return data / part, data / f"panoptic_{part}", data / f"panoptic_{part}.json"

    def labelled_sets(self) -> dict[str, tuple[Path, Path, Path]]:
        """Photos, PNGs and JSON of the labels, by the name of the set."""
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
        """Boxes, then masks; evaluated on the sets themselves, and on the truth of "val"."""
        boxes, masks = self.out / name / "boxes", self.out / name / "panoptic"
        start = self.demo / "model_ema.pth"
        self.step(f"{name}: boxes", self.train_net("boxes", sets, boxes, start))
        step = self.train_net("masks", sets, masks, boxes / "model_ema.pth")
        self.step(f"{name}: masks", step)
        # Both names, since the classes may be numbered in another order: weights go by name.
        truth = {"own_train": self.truth("train"), "own_val": self.truth("val")}
        step = self.train_net("masks", truth, self.out / name / "truth", masks / "model_ema.pth")
        self.step(f"{name}: evaluation on the truth", [step[0], "--eval-only", *step[1:]])

    def train_net(
        self, stage: str, sets: dict[str, tuple[Path, Path, Path]], out: Path, weights: Path
    ) -> Command:
        """One call of train_net.py."""
        command: Command = ["tools/train_net.py"]
        command += ["--config-file", CONFIGS / f"Site/recipe_{stage}.yaml"]
        for name, files in sets.items():
            command += ["--dataset", name, *files]
        return [*command, "MODEL.WEIGHTS", weights, "MODEL.DEVICE", device(), "OUTPUT_DIR", out]

    def look(self) -> Command:
        """The model's pictures of the photos of "val"."""
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
        (labels,) = json.loads((self.out / "labels.json").read_text()).values()
        figures: dict[str, Any] = {
            "labels": {key: round(value, 2) for key, value in labels.items()},
            "model": {
                f"trained on {name}, measured on the truth": _quality(self.out / name / "truth")
                for name in ("labels", "truth")
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
    parser.add_argument("--compare", action="store_true", help="train on the full truth as well")
    args = parser.parse_args()
    if not (args.demo / "model_ema.pth").is_file():
        parser.error(f"{args.demo / 'model_ema.pth'} is not there; `make demo` trains it")
    Recipe(args.out.resolve(), args.demo.resolve()).run(args.compare)


if __name__ == "__main__":
    main()
