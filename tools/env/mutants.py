"""Change the code in one place at a time, and count the changes that its tests notice.

pip install cosmic-ray==8.7.0
python tools/env/mutants.py --count 60
python tools/env/mutants.py modeling ops --count 20 --seed 3

cosmic-ray makes the changes, in a copy of the package, after it has seen the tests pass without
any: else every change would count as noticed. A change that cannot be made or tried does not count.
Exit status: 0 at least --wanted per cent were noticed, 1 fewer, 2 not run.
"""

import argparse
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Parts of the package, and the folders of tests that are to notice a change in them.
PARTS = {
    "modeling": ["tests/modeling"],
    "ops": ["tests/ops"],
    "evaluation": ["tests/evaluation"],
    "conversion": ["tests/conversion"],
    "data": ["tests/data"],
    "engine": ["tests/engine"],
}
COPIED = ("detr_d2", "tests", "tools", "configs", "datasets", "docs", "pyproject.toml", "setup.py")
# Changes that no test can notice: of annotations (X | None), and of decorators.
HARMLESS = ("%BitOr%", "%RemoveDecorator%")
TIMEOUT = 600.0


def argument_parser() -> argparse.ArgumentParser:
    """The tool's arguments."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--count", type=int, default=60, help="changes that are tried, in all")
    parser.add_argument("--seed", type=int, default=0, help="which are chosen")
    parser.add_argument("--wanted", type=float, default=85.0, help="per cent to be noticed")
    return parser


def prepare(folder: Path, part: str) -> Path:
    """List all changes of a part: returns cosmic-ray's session file."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", *PARTS[part]]
    lines = [
        "[cosmic-ray]",
        f'module-path = "detr_d2/{part}"',
        f"timeout = {TIMEOUT}",
        "excluded-modules = []",
        f"test-command = {json.dumps(' '.join(command))}",
        '[cosmic-ray.distributor]\nname = "local"',
    ]
    (folder / f"{part}.toml").write_text("\n".join(lines) + "\n")
    session = folder / f"{part}.sqlite"
    run(folder, "init", f"{part}.toml", session.name)
    return session


def check_tests(folder: Path, part: str) -> bool:
    """Whether the tests of a part pass as the code is."""
    print(f"{part}: {' '.join(PARTS[part])} without a change", flush=True)
    return run(folder, "baseline", f"{part}.toml", check=False) == 0


def choose(sessions: dict[str, Path], count: int, seed: int) -> dict[str, int]:
    """Keep `count` random changes of all sessions together; how many are left of each."""
    jobs = []
    for part, session in sessions.items():
        with sqlite3.connect(session) as database:
            for pattern in HARMLESS:
                database.execute("DELETE FROM mutation_specs WHERE operator_name LIKE ?", [pattern])
            # cosmic-ray lists files in another order each time.
            found = database.execute(
                "SELECT job_id FROM mutation_specs ORDER BY module_path, operator_name, "
                "operator_args, occurrence"
            )
            jobs += [(part, job) for (job,) in found]
    print(f"{len(jobs)} possible changes of {', '.join(sessions)}")
    kept = set(random.Random(seed).sample(range(len(jobs)), min(count, len(jobs))))
    for part, session in sessions.items():
        with sqlite3.connect(session) as database:
            dropped = [
                (job,)
                for number, (job_part, job) in enumerate(jobs)
                if job_part == part and number not in kept
            ]
            database.executemany("DELETE FROM mutation_specs WHERE job_id = ?", dropped)
            database.execute(
                "DELETE FROM work_items WHERE job_id NOT IN (SELECT job_id FROM mutation_specs)"
            )
    chosen = Counter(jobs[number][0] for number in kept)
    return {part: chosen[part] for part in sessions}


def outcomes(session: Path) -> tuple[int, list[str]]:
    """How many changes were noticed, and those that no test noticed, as diffs."""
    with sqlite3.connect(session) as database:
        rows = database.execute("SELECT test_outcome, diff FROM work_results").fetchall()
    noticed = sum(outcome == "KILLED" for outcome, _ in rows)
    return noticed, [diff for outcome, diff in rows if outcome == "SURVIVED"]


def run(folder: Path, *arguments: str, check: bool = True) -> int:
    """Run a command of cosmic-ray in the copy; its exit status."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    tool = shutil.which("cosmic-ray", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if tool is None:
        print("error: cosmic-ray is not installed: pip install cosmic-ray==8.7.0", file=sys.stderr)
        sys.exit(2)
    return subprocess.run([tool, *arguments], cwd=folder, env=environment, check=check).returncode


def main(arguments: list[str] | None = None) -> int:
    """Run; the exit status."""
    args = argument_parser().parse_args(arguments)
    parts = args.parts or list(PARTS)
    if unknown := set(parts) - PARTS.keys():
        print(f"error: unknown parts {sorted(unknown)}, allowed: {list(PARTS)}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for entry in COPIED:
            copy = shutil.copytree if (ROOT / entry).is_dir() else shutil.copyfile
            copy(ROOT / entry, folder / entry)
        sessions = {part: prepare(folder, part) for part in parts}
        chosen = choose(sessions, args.count, args.seed)
        tried = noticed = 0
        for part, session in sessions.items():
            if not chosen[part]:
                continue
            if not check_tests(folder, part):
                print(
                    f"error: {part}: its tests fail without a change, or take over {TIMEOUT:.0f} s",
                    file=sys.stderr,
                )
                return 2
            run(folder, "exec", f"{part}.toml", session.name)
            found, unnoticed = outcomes(session)
            tried, noticed = tried + found + len(unnoticed), noticed + found
            print(f"{part}: {found} of {found + len(unnoticed)} noticed", flush=True)
            print("\n".join(unnoticed), flush=True)
        if not tried:
            print("error: no change could be tried", file=sys.stderr)
            return 2
    share = 100 * noticed / tried
    print(f"{noticed} of {tried} changes noticed: {share:.0f} %")
    return 0 if share >= args.wanted else 1


if __name__ == "__main__":
    sys.exit(main())
