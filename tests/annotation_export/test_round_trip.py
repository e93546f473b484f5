"""What is exported and converted again by tools/convert_masks.py is the same but for its edges."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from annotation_findings import TABLE
from converted_sets import Result

from detr_d2.annotation_export import WRITERS
from detr_d2.conversion.formats import FORMATS

TOOL = Path(__file__).parents[2] / "tools/convert_masks.py"
# An outline is simplified as long as it keeps 0.95 of what it covers; neighbours take some more.
LOWEST_IOU = 0.94


@pytest.fixture
def convert():
    spec = importlib.util.spec_from_file_location("tools_convert_masks", TOOL)
    tool = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = tool
    spec.loader.exec_module(tool)
    return lambda *words: tool.main([*map(str, words), "--no-sheet", "--workers", "1"])


def segment_ious(finding, result):
    """IoU of each segment with that segment of the same class that it became."""
    ids = result.ids(finding.name)
    wanted = {result.names[s["category_id"]]: [] for s in result.segments(finding.name)}
    for segment in result.segments(finding.name):
        wanted[result.names[segment["category_id"]]].append(ids == segment["id"])
    ious = {}
    for segment in finding.segments:
        name = TABLE.categories[segment["category_id"]].name
        mask = finding.id_map == segment["id"]
        ious[name, segment["id"]] = max(
            (mask & other).sum() / (mask | other).sum() for other in wanted[name]
        )
    return ious


@pytest.mark.parametrize("name", WRITERS)
def test_there_and_back(name, findings, convert, tmp_path):
    writer = WRITERS[name](tmp_path / "export", TABLE)
    for finding in findings:
        writer.add(finding)
    writer.finish()
    words = writer.conversion(str(tmp_path / "images"))
    if words[0] not in FORMATS:
        pytest.skip(f"there is no reader of {words[0]} yet")

    assert convert(*words, "--out", tmp_path / "back") == 0

    result = Result(tmp_path / "back", None)
    kinds = {c["name"]: c["isthing"] for c in result.content["categories"]}
    assert kinds == {c.name: int(c.isthing) for c in TABLE.categories}
    ious = {}
    for finding in findings:
        ious |= {(finding.name, *key): iou for key, iou in segment_ious(finding, result).items()}
        assert len(result.segments(finding.name)) == len(finding.segments), "no part got lost"
        assert abs((result.ids(finding.name) == 0).mean() - (finding.id_map == 0).mean()) < 0.01
    worst = min(ious, key=ious.get)
    assert ious[worst] > LOWEST_IOU, (worst, ious[worst])
    assert np.mean(list(ious.values())) > 0.97


def test_classes_that_were_not_found_do_not_spoil_the_way_back(findings, convert, tmp_path):
    """labelme's files say nothing of them, and `--stuff` names only classes that there are."""
    writer = WRITERS["labelme"](tmp_path / "export", TABLE)
    writer.add(findings[1])
    words = writer.conversion(str(tmp_path / "images"))
    assert words[-2:] == ["--stuff", "soil"]
    assert convert(*words, "--out", tmp_path / "back") == 0
