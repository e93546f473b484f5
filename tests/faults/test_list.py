"""The list of faults names a test of each, and each of these tests is there."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| (\d+) \| .+ \| `(.+)::(\w+)` \|$", re.MULTILINE)


def test_every_fault_has_a_test():
    rows = ROW.findall(Path(__file__).with_name("README.md").read_text(encoding="utf-8"))
    assert {int(number) for number, _, _ in rows} == set(range(1, 55)) - {25, 27}
    for number, file, name in rows:
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        assert name in {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}, (number, file)
