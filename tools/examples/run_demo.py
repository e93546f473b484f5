"""The main job on a synthetic building site: render it, train both stages, evaluate, look.

python tools/examples/run_demo.py [--out output/demo] [--picture docs/pictures/demo.png]

Several seeds, each in a folder of its own, with the worst and the mean of every figure:

python tools/examples/run_demo.py --out output/seeds --seeds 1 2 3 4 5
"""

import argparse
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from detr_d2.utils.files import write_json

from tabulate import tabulate
from two_stages import CONFIGS, ROOT, DataSet, Job

FIGURES = ("PQ", "PQ_th", "PQ_st", "box_AP", "mask_AP")
COSTS = ("train_seconds", "train_cpu_seconds", "calibration_seconds")


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "output/demo")
    parser.add_argument("--picture", type=Path, help="a small picture for the documents, too")
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[1], help="several: one after the other, OUT/seed_N"
    )
    args = parser.parse_args()
    datasets = prepare(args.out / "data")
    results = {}
    for seed in dict.fromkeys(args.seeds):
        out = args.out if len(args.seeds) == 1 else args.out / f"seed_{seed}"
        results[seed] = run(out, datasets, seed, args.picture if not results else None)
    if len(results) > 1:
        write_json(args.out / "seeds.json", results, indent=2)
        print("\n" + summary(results))


def prepare(data: Path) -> list[DataSet]:
    """Render the data set unless it is there; always the same, whatever the seed of training."""
    command = [sys.executable, str(ROOT / "datasets/prepare_site.py")]
    subprocess.run([*command, "--out", str(data), "--train", "2000", "--val", "200"], check=True)
    return [
        DataSet(f"site_{s}", data / s, data / f"panoptic_{s}", data / f"panoptic_{s}.json")
        for s in ("train", "val")
    ]


def run(out: Path, datasets: list[DataSet], seed: int, picture: Path | None) -> dict[str, Any]:
    """Train and evaluate once; returns the metrics."""
    return Job(
        out=out,
        box_config=CONFIGS / "Site/site_boxes.yaml",
        panoptic_config=CONFIGS / "Site/site_panoptic.yaml",
        datasets=datasets,
        pictures=8,
        picture=picture,
        seed=seed,
    ).run()


def summary(results: Mapping[int, Mapping[str, Any]]) -> str:
    """Table of the metrics of every seed, with worst (least) and mean of the figures."""
    rows = [[seed, *(metrics[x] for x in (*FIGURES, *COSTS))] for seed, metrics in results.items()]
    columns = list(zip(*(row[1 : 1 + len(FIGURES)] for row in rows), strict=True))
    rows.append(["worst", *map(min, columns)])
    rows.append(["mean", *(round(sum(column) / len(column), 2) for column in columns)])
    return tabulate(rows, ("seed", *FIGURES, *COSTS), "simple_outline")


if __name__ == "__main__":
    main()
