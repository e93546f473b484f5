"""Change the code in one place at a time, and count the changes that its tests notice.

pip install cosmic-ray==8.7.0 coverage==7.17.5
python tools/env/mutants.py --count 60
python tools/env/mutants.py modeling ops --count 20 --seed 3

The tests first run without a change, and have to pass: else every change would count as noticed.
That run also finds which test files execute which lines, so that a change is tried with those
that execute it, the one of the module's name first, up to the first that fails. cosmic-ray
makes the changes, in a copy. Tests that take four times as long as without a change have noticed
it too, so that nothing else should keep the machine busy.
Exit status: 0 at least --wanted per cent were noticed, 1 fewer, 2 not run.
"""

import argparse
import ast
import difflib
import itertools
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from measured_tests import Measured, measure, run_tests

ROOT = Path(__file__).resolve().parents[2]
# Parts of the package, and the folders of tests that are to notice a change in them.
PARTS = {
    "modeling": ["tests/modeling"],
    "ops": ["tests/ops"],
    "evaluation": ["tests/evaluation"],
    "conversion": ["tests/conversion", "tests/test_register.py", "tests/test_guess_tool.py"],
    "data": ["tests/data", "tests/conversion", "tests/faults", "tests/test_register.py"],
    "engine": ["tests/engine"],
}
COPIED = ("detr_d2", "tests", "tools", "configs", "datasets", "docs", "pyproject.toml", "setup.py")
# `==` and `is` are the same for most small numbers and words.
HARMLESS = {f"core/ReplaceComparisonOperator_{a}_{b}" for a, b in (("Eq", "Is"), ("Is", "Eq"))}
HARMLESS |= {name.replace("Eq", "NotEq").replace("Is", "IsNot") for name in HARMLESS}
INSTALL = "pip install cosmic-ray==8.7.0 coverage==7.17.5"
Span = tuple[tuple[int, int], tuple[int, int]]
# A part, and what cosmic-ray says of a change of it.
Change = tuple[str, Any]


def argument_parser() -> argparse.ArgumentParser:
    """The tool's arguments."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--count", type=int, default=60, help="changes that are tried, in all")
    parser.add_argument("--seed", type=int, default=0, help="which are chosen")
    parser.add_argument("--wanted", type=float, default=85.0, help="per cent to be noticed")
    return parser


def harmless_spans(source: str) -> list[Span]:
    """Places whose change no test can notice.

    Annotations, decorators, messages for the log, and the checks of `zip`.
    """
    spans = []
    for node in ast.walk(ast.parse(source)):
        places = [getattr(node, name, None) for name in ("annotation", "returns")]
        # The @ before a decorator belongs to it.
        places += getattr(node, "decorator_list", [])
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("logger."):
            places.append(node)
        if isinstance(node, ast.keyword) and node.arg == "strict":
            places.append(node)
        for place in places:
            if place is not None:
                start = place.lineno, max(place.col_offset - 1, 0)
                spans.append((start, (place.end_lineno, place.end_col_offset)))
    return spans


def statement_lines(source: str, line: int) -> tuple[int, int]:
    """First and last line of the statement around a line; of a compound one, of its head."""
    found = line, line
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or 0):
            body = getattr(node, "body", None)
            last = body[0].lineno - 1 if body else node.end_lineno
            if line <= max(last, node.lineno):
                found = node.lineno, max(last, node.lineno)
    return found


def possible_changes(part: str) -> Iterator[Change]:
    """All changes of a part that a test could notice, as cosmic-ray describes them."""
    from cosmic_ray.commands import init
    from cosmic_ray.work_db import use_db

    files = sorted(Path("detr_d2", part).rglob("*.py"))
    with use_db(f"{part}.sqlite") as database:
        init(files, database, {})
        found = [item.mutations[0] for item in database.work_items]
    spans = {str(path): harmless_spans(path.read_text()) for path in files}
    # The data base has an order of its own.
    for spec in sorted(found, key=lambda s: (str(s.module_path), s.operator_name, s.occurrence)):
        inside = any(
            a <= spec.start_pos and spec.end_pos <= b for a, b in spans[str(spec.module_path)]
        )
        if spec.operator_name not in HARMLESS and not inside:
            yield part, spec


def changed_code(spec: Any) -> str | None:
    """The code of a file after a change; None if that is no Python, or says the same."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    operator = get_operator(spec.operator_name)(**spec.operator_args)
    before = spec.module_path.read_text()
    after = mutate_code(before, operator, spec.occurrence)
    try:
        same = after is None or ast.dump(ast.parse(before)) == ast.dump(ast.parse(after))
    except SyntaxError:
        return None
    return None if same else after


def choose(found: list[Change], count: int, seed: int) -> list[Change]:
    """Choose up to `count` random changes that give other code."""
    shuffled = random.Random(seed).sample(found, len(found))
    sound = (change for change in shuffled if changed_code(change[1]) is not None)
    return list(itertools.islice(sound, count))


def try_change(spec: Any, measured: Measured) -> tuple[int | None, str]:
    """Make one change: what `run_tests` gives, and its diff."""
    path, before, after = str(spec.module_path), spec.module_path.read_text(), changed_code(spec)
    tests = measured.related(path, *statement_lines(before, spec.start_pos[0]))
    seconds = 30 + 4 * sum(measured.seconds[test] for test in tests)
    spec.module_path.write_text(after)
    status = run_tests(tests, seconds)
    spec.module_path.write_text(before)
    lines = difflib.unified_diff(
        before.split("\n"), after.split("\n"), path, path, n=1, lineterm=""
    )
    return status, "\n".join([*lines, f"tried with {' '.join(tests)}"])


def run_parts(parts: list[str], count: int, seed: int) -> tuple[int, int]:
    """Try changes in the copy, which is the working directory: how many, and how many noticed."""
    found = [change for part in parts for change in possible_changes(part)]
    print(f"{len(found)} possible changes of {', '.join(parts)}", flush=True)
    chosen = choose(found, count, seed)
    tried = noticed = 0
    for part in parts:
        specs = [spec for of, spec in chosen if of == part]
        if not specs:
            continue
        print(f"{part}: {' '.join(PARTS[part])} without a change", flush=True)
        measured = measure(PARTS[part])
        if measured is None:
            sys.stderr.write(Path("pytest.log").read_text()[-3000:])
            print(f"error: {part}: its tests fail without a change", file=sys.stderr)
            return 0, 0
        own = late = 0
        for spec in specs:
            status, diff = try_change(spec, measured)
            own, late = own + (status != 0), late + (status is None)
            if status == 0:
                print(diff, flush=True)
        # Endless loops, or a machine that others use too.
        print(f"{part}: {own} of {len(specs)} noticed, {late} of them by the time", flush=True)
        tried, noticed = tried + len(specs), noticed + own
    return tried, noticed


def copy_code(folder: Path) -> None:
    """Copy what the tests need."""
    for entry in COPIED:
        if (ROOT / entry).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / entry, folder / entry, ignore=ignored)
        else:
            shutil.copyfile(ROOT / entry, folder / entry)


def main(arguments: list[str] | None = None) -> int:
    """Run; the exit status."""
    args = argument_parser().parse_args(arguments)
    parts = args.parts or list(PARTS)
    if unknown := set(parts) - PARTS.keys():
        print(f"error: unknown parts {sorted(unknown)}, allowed: {list(PARTS)}", file=sys.stderr)
        return 2
    missing = [name for name in ("cosmic_ray", "coverage") if find_spec(name) is None]
    if missing:
        print(f"error: not installed: {', '.join(missing)}; {INSTALL}", file=sys.stderr)
        return 2
    # The tests' processes are forked from this one. Not detr_d2, which is to be that of the copy.
    os.environ["OMP_NUM_THREADS"] = "1"
    import_module("detectron2.modeling")
    with tempfile.TemporaryDirectory() as name:
        copy_code(Path(name))
        os.chdir(name)
        tried, noticed = run_parts(parts, args.count, args.seed)
    if not tried:
        return 2
    share = 100 * noticed / tried
    print(f"{noticed} of {tried} changes noticed: {share:.0f} %")
    return 0 if share >= args.wanted else 1


if __name__ == "__main__":
    sys.exit(main())
