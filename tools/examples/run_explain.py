"""Explain the demo's model on a synthetic image: page, pictures for slides, pictures of the guide.

python tools/examples/run_explain.py [--run output/demo] [--out output/explain]

Trains the demo first where its weights are absent.
"""

import argparse
import subprocess
import sys
from pathlib import Path

# detr_d2 before detectron2, since it silences a warning of that import.
from detr_d2.explanation.explain import explain_image, write_page
from detr_d2.explanation.pictures import write_pictures

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs/pictures/explained"


def main() -> None:
    """Write page and pictures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--run", type=Path, default=ROOT / "output/demo", help="the demo's folder")
    parser.add_argument("--out", type=Path, default=ROOT / "output/explain")
    parser.add_argument("--image", type=Path, help="without it the demo's first validation image")
    parser.add_argument("--guide", type=Path, default=GUIDE, help="where docs/EXPLAINED.md looks")
    args = parser.parse_args()
    if not (args.run / "panoptic/model_ema.pth").is_file():
        command = [sys.executable, str(ROOT / "tools/examples/run_demo.py")]
        subprocess.run([*command, "--out", str(args.run)], check=True)
    image = args.image or min((args.run / "data/val").glob("*.jpg"))
    recorded = explain_image(str(args.run / "panoptic"), str(image))
    page = args.out / "explain.html"
    payload = write_page(recorded, page)
    write_pictures(recorded, payload, args.out / "pictures")
    written = write_pictures(recorded, payload, args.guide, width=132, colors=256)
    print(f"{page}: {page.stat().st_size / 1e6:.1f} MB; {args.out / 'pictures'}")
    print(f"{args.guide}: {sum(path.stat().st_size for path in written) / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
