"""Make the environment `.venv` from the pinned files in requirements/. Standard library only.

`make env` runs this with the Python that tools/env/find_python.sh finds. An environment
that is finished and up to date is left alone at once; an interrupted or outdated one is made anew;
one that this script did not begin is never touched.
"""

import fcntl
import hashlib
import os
import runpy
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "requirements"
ENV = ROOT / ".venv"
PYTHON = ENV / "bin" / "python"
# The environment is ours if it holds one of these; it is finished if the second has the right text.
BEGUN = ENV / "detr_d2-begun"
FINISHED = ENV / "detr_d2-finished"
# Settings that would send packages elsewhere, or bring in others.
HARMFUL = ("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PYTHONPATH", "PYTHONHOME")


def fingerprint() -> str:
    """What the environment must agree with: the requirement files and, as environments cannot be
    moved, the folder."""
    digest = hashlib.sha256(str(ROOT).encode())
    for path in sorted(REQUIREMENTS.glob("*.txt")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def is_up_to_date() -> bool:
    """Whether `.venv` is finished, of these requirement files, and its Python still exists."""
    return FINISHED.is_file() and FINISHED.read_text() == fingerprint() and PYTHON.exists()


def clear() -> None:
    """Remove an environment that this script began; stop if somebody else made it."""
    if not os.path.lexists(ENV):
        return
    is_ours = ENV.is_dir() and (BEGUN.exists() or FINISHED.exists() or not any(ENV.iterdir()))
    if not is_ours:
        sys.exit(
            f"{ENV} was not made by `make env`, so it is left alone.\n"
            "Use it as it is (make test VENV=.venv), or move it away and run this again."
        )
    # The marks go last: a removal cut short must still be recognised as ours.
    for entry in ENV.iterdir():
        if entry in (BEGUN, FINISHED):
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    shutil.rmtree(ENV)


def run(step: str, command: list[str]) -> None:
    """Run one step of the installation; stop with its name if it fails."""
    sys.stdout.write(f"make env: {step}\n")
    sys.stdout.flush()
    environment = {name: value for name, value in os.environ.items() if name not in HARMFUL}
    environment["PYTHONWARNINGS"] = "ignore"
    status = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
    if status != 0:
        sys.exit(f"make env: this step failed ({step}). `make env` starts anew.")


def build() -> None:
    """Make `.venv` from nothing and mark it as finished."""
    ENV.mkdir()
    BEGUN.write_text("An environment in the making; `make env` starts it anew.\n")
    venv.create(ENV, with_pip=True, symlinks=True)
    quiet = [] if sys.stdout.isatty() else ["-q"]
    install = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", *quiet]
    run("pip and setuptools", [*install, "-r", str(REQUIREMENTS / "build.txt")])
    files = [f"-r{REQUIREMENTS / name}.txt" for name in ("build", "torch", "runtime", "dev")]
    # Some packages are built here from source; that must not take a newer setuptools.
    builds = ["--build-constraint", str(REQUIREMENTS / "build.txt")]
    run("torch and the libraries, about 5 GB", [*install, *builds, *files])
    ask = [str(PYTHON), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site_packages = subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip()
    ours = runpy.run_path(str(ROOT / "detr_d2" / "_requirements.py"))
    detectron2 = ours["detectron2_install_command"](str(PYTHON), site_packages)
    run("detectron2", [*detectron2, *quiet])
    run("detr_d2", [*install, "--no-deps", "--no-build-isolation", "-e", str(ROOT)])
    run("a look at the result", [str(PYTHON), "-m", "detr_d2.doctor"])
    BEGUN.write_text(fingerprint())
    os.replace(BEGUN, FINISHED)


def main() -> None:
    """Make the environment unless it is there; wait for another process that is at it."""
    lock = os.open(REQUIREMENTS, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    if is_up_to_date():
        return
    start = time.monotonic()
    clear()
    build()
    sys.stdout.write(f"make env: {ENV} made in {time.monotonic() - start:.0f} s\n")


if __name__ == "__main__":
    main()
