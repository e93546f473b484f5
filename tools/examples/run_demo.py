"""The main job on a synthetic building site: render it, train both stages, evaluate, look.

python tools/examples/run_demo.py [--out output/demo] [--picture docs/pictures/demo.png]
"""

import argparse
import subprocess
import sys
from pathlib import Path

from two_stages import CONFIGS, ROOT, DataSet, Job


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "output/demo")
    parser.add_argument("--picture", type=Path, help="a small picture for the documents, too")
    args = parser.parse_args()
    data = args.out / "data"
    command = [sys.executable, str(ROOT / "datasets/prepare_site.py")]
    subprocess.run([*command, "--out", str(data), "--train", "2000", "--val", "200"], check=True)
    splits = [
        DataSet(f"site_{s}", data / s, data / f"panoptic_{s}", data / f"panoptic_{s}.json")
        for s in ("train", "val")
    ]
    Job(
        out=args.out,
        box_config=CONFIGS / "Site/site_boxes.yaml",
        panoptic_config=CONFIGS / "Site/site_panoptic.yaml",
        datasets=splits,
        pictures=8,
        picture=args.picture,
    ).run()


if __name__ == "__main__":
    main()
