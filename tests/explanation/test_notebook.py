"""docs/explained.ipynb runs, cell by cell, on a tiny model."""

import json

from documents import ROOT
from tiny_run import write_tiny_run


def test_every_cell_runs(tmp_path):
    write_tiny_run(tmp_path)
    notebook = json.loads((ROOT / "docs/explained.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
    names: dict = {}
    for cell in cells:
        exec(compile(cell, "docs/explained.ipynb", "exec"), names)
        if "config" in names and "recorded" not in names:
            names |= {"config": str(tmp_path), "image": str(tmp_path / "image.png")}
            names["page"] = str(tmp_path / "explain.html")
    assert (tmp_path / "explain.html").stat().st_size > 100_000
    assert names["weights"].shape == (8, 7, 15) and names["grid"].ndim == 3
