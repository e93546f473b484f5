"""Both stages on the three real COCO-panoptic images of the test data, evaluated on the same.

Shows that the whole chain can overfit real images; it says nothing about other images.

python tools/examples/run_overfit.py [--data DIR] [--out output/overfit] [--picture PNG]
"""

import argparse
import subprocess
import sys
from pathlib import Path

from two_stages import CONFIGS, ROOT, DataSet, Job


def main() -> None:
    """Run the job; exit with the status of the data preparation where the test data is absent."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", help="folder of the test data (default: $DETR_D2_TEST_DATA)")
    parser.add_argument("--out", type=Path, default=ROOT / "output/overfit")
    parser.add_argument(
        "--picture", type=Path, help="a small picture for the documents, too: maps without images"
    )
    args = parser.parse_args()
    data = args.out / "data"
    command = [sys.executable, str(ROOT / "datasets/prepare_coco_samples.py"), "--out", str(data)]
    if args.data:
        command += ["--data", args.data]
    status = subprocess.run(command).returncode
    if status:
        sys.exit(status)
    Job(
        out=args.out,
        box_config=CONFIGS / "Overfit/overfit_boxes.yaml",
        panoptic_config=CONFIGS / "Overfit/overfit_panoptic.yaml",
        datasets=[
            DataSet("coco_samples", data / "images", data / "panoptic", data / "panoptic.json")
        ],
        pictures=3,
        picture=args.picture,
        # The licences of the images are not all known: maps alone.
        show_images=False,
    ).run()


if __name__ == "__main__":
    main()
