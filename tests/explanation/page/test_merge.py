"""The page's merge, run under node, against `panoptic_inference`."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from detr_d2.modeling.panoptic_merge import panoptic_inference

SCRIPTS = Path(__file__).resolve().parents[3] / "detr_d2/explanation/page/scripts"
NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed")


def run_node(scripts: list[str], program: str, value: object) -> list:
    """Result of a function body `program` of `input`, with the page's scripts around it."""
    source = "\n".join((SCRIPTS / name).read_text() for name in scripts)
    source += f"""
const input = JSON.parse(require("fs").readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify((() => {{ {program} }})()));"""
    ran = subprocess.run(
        [NODE, "-e", source], input=json.dumps(value), capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def merge_in_node(cases: list[dict]) -> list[dict]:
    program = """
return input.map((c) => {
  const grow = c.size ? (w) => resizeNearest(w, c.shape, c.size) : undefined;
  const result = panopticInference({ ...c, pixels: c.shape[0] * c.shape[1], grow,
    thingIds: new Set(c.thingIds) });
  return { ids: [...result.ids], segments: result.segments, passes: result.passes };
});"""
    return run_node(["merge.js", "resize.js"], program, cases)


def random_case(seed: int) -> dict:
    """Whole-number logits, so that ties are many; seeds 0, 10, 20 .. keep no query at all."""
    random = np.random.default_rng(seed)
    queries = 0 if seed % 10 == 0 else int(random.integers(1, 9))
    h, w = (int(n) for n in random.integers(2, 12, 2))
    levels = int(random.integers(2, 20))
    return {
        "masks": random.integers(0, levels, (queries, h * w)).tolist(),
        "shape": [h, w],
        "scores": np.round(random.random(queries), 3).tolist(),
        # Of six classes three are stuff, so that one stuff class often comes in parts.
        "classes": random.integers(0, 6, queries).tolist(),
        "thingIds": [0, 2, 4],
        "minArea": int(random.integers(0, h * w // 3)),
        "uniteStuff": ["after_filtering", "before_filtering"][seed % 2],
        "size": [h * 2 + 1, w * 3 - 1] if seed % 3 == 0 else None,
    }


def merge_in_torch(case: dict) -> tuple[list[int], list[dict]]:
    ids, segments = panoptic_inference(
        torch.tensor(case["masks"], dtype=torch.float32).reshape(-1, *case["shape"]),
        torch.tensor(case["scores"], dtype=torch.float64),
        torch.tensor(case["classes"], dtype=torch.int64),
        thing_ids=frozenset(case["thingIds"]),
        min_area=case["minArea"],
        unite_stuff=case["uniteStuff"],
        size=case["size"] and tuple(case["size"]),
    )
    return ids.flatten().tolist(), segments


def without_queries(segments: list[dict]) -> list[dict]:
    return [{k: v for k, v in segment.items() if k != "queries"} for segment in segments]


def test_merge_equals_panoptic_inference_on_200_random_cases():
    cases = [random_case(seed) for seed in range(200)]
    found = merge_in_node(cases)
    for seed, (case, result) in enumerate(zip(cases, found, strict=True)):
        ids, segments = merge_in_torch(case)
        assert result["ids"] == ids, seed
        assert without_queries(result["segments"]) == segments, seed


def test_the_random_cases_cover_what_makes_the_merge_difficult():
    cases = [random_case(seed) for seed in range(200)]
    found = merge_in_node(cases)
    masks = [np.array(case["masks"]) for case in cases if case["masks"]]
    tied = sum(bool(((m == m.max(0)).sum(0) > 1).any()) for m in masks)
    dropped = sum(len(result["passes"]) > 1 for result in found)
    united = sum(any(len(s["queries"]) > 1 for s in result["segments"]) for result in found)
    nothing = sum(not result["segments"] for result in found)
    assert min(tied, dropped, united, nothing) >= 20, (tied, dropped, united, nothing)


def test_at_a_tie_the_first_query_wins_and_small_segments_go_to_the_next_best():
    """Query 2 wins one pixel only, which then goes to query 0; at the last pixel both tie."""
    case = {
        "masks": [[9, 9, 5, 5], [1, 1, 4, 5], [0, 0, 9, 0]],
        "shape": [1, 4],
        "scores": [0.9, 0.8, 0.7],
        "classes": [0, 2, 4],
        "thingIds": [0, 2, 4],
        "minArea": 1,
    }
    tie, small = merge_in_node([case, {**case, "minArea": 2}])
    assert tie["ids"] == [1, 1, 2, 1]
    assert tie["passes"][0] == {"areas": [3, 0, 1], "dropped": [1]}
    assert small["ids"] == [1, 1, 1, 1]
    assert small["passes"][0] == {"areas": [3, 0, 1], "dropped": [1, 2]}


@pytest.mark.parametrize(
    ("shape", "size"), [((3, 5), (12, 20)), ((7, 4), (27, 15)), ((6, 9), (5, 3)), ((1, 1), (4, 2))]
)
def test_bilinear_and_nearest_resizing_are_those_of_torch(shape, size):
    values = np.random.default_rng(3).normal(0, 5, shape).astype(np.float32)
    tensor = torch.from_numpy(values)[None, None]
    program = """
const linear = resizeLinear(input.values, input.shape, input.size);
const nearest = resizeNearest(input.values, input.shape, input.size);
return [[...linear], nearest];"""
    given = {"values": values.flatten().tolist(), "shape": shape, "size": size}
    linear, nearest = run_node(["resize.js"], program, given)
    expected = F.interpolate(tensor, size, mode="bilinear", align_corners=False).flatten()
    torch.testing.assert_close(torch.tensor(linear), expected, atol=1e-5, rtol=0)
    exact = F.interpolate(tensor, size, mode="nearest-exact").flatten()
    torch.testing.assert_close(torch.tensor(nearest), exact, atol=0, rtol=0)
