"""Prepare an existing environment: run by `make TARGET VENV=/path` with that environment's Python.

Installs detr_d2 itself as an editable package if it is not there yet, and nothing else: no torch,
no detectron2, no other dependency.

    python tools/env/use_env.py [MODULE ...]    the modules must be there, the tools of the target
"""

import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIND = """
import importlib.util
spec = importlib.util.find_spec("detr_d2")
print(spec.origin if spec else "")
"""


def installed_at() -> str:
    """The file that `import detr_d2` would read in this environment, "" if none."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    # In an empty folder, so that the checkout itself is not taken for an installed package.
    with tempfile.TemporaryDirectory() as folder:
        answer = subprocess.run(
            [sys.executable, "-c", FIND],
            cwd=folder,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        )
    return answer.stdout.strip()


def install() -> None:
    """Install this checkout as an editable package without its dependencies."""
    for tool in ("pip", "setuptools"):
        if find_spec(tool) is None:
            sys.exit(f"{sys.executable} has no {tool}, which installs detr_d2 into it.")
    command = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-build-isolation", "-e", str(ROOT)]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    if subprocess.run(command, env=environment, check=False).returncode != 0:
        sys.exit(f"detr_d2 could not be installed into {sys.prefix}.")


def main() -> None:
    """Check the Python and the tools, then install detr_d2 if it is not there."""
    if not (3, 10) <= sys.version_info[:2] <= (3, 12):
        sys.exit(f"{sys.executable} is Python {sys.version.split()[0]}; needed: 3.10 to 3.12")
    missing = [name for name in sys.argv[1:] if find_spec(name) is None]
    if missing:
        sys.exit(
            f"{sys.prefix} has no {', '.join(missing)}. Install the tools with\n"
            f"    {sys.executable} -m pip install -r {ROOT / 'requirements' / 'dev.txt'}"
        )
    found = installed_at()
    if found == str(ROOT / "detr_d2" / "__init__.py"):
        return
    replaced = f" (until now: {found})" if found else ""
    sys.stdout.write(f"Installing {ROOT} into {sys.prefix}{replaced}\n")
    install()


if __name__ == "__main__":
    main()
