"""Where detectron2 comes from and how it is installed. Standard library only, no import of ours:
it is read before anything is installed."""

import shlex
import sys
import sysconfig
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]


def requirement_file(name: str) -> str:
    """Path of `requirements/NAME.txt`: absolute where the package is run from its checkout."""
    path = CHECKOUT / "requirements" / f"{name}.txt"
    return str(path) if path.is_file() else f"requirements/{name}.txt"


def detectron2_install_command(
    python: str = sys.executable, site_packages: str | None = None
) -> list[str]:
    """The pip call that installs the pinned detectron2 of the package index, hash checked.

    The only wheel is tagged for CPython 3.10 on any platform, while the Python code in it runs on
    3.10 to 3.12. pip takes a foreign tag only together with --target, which must then be the
    site-packages folder itself. --no-deps, so that neither torch nor numpy is changed.

    Args:
        python: the interpreter to install for.
        site_packages: its site-packages folder; None takes that of the running interpreter.
    """
    target = site_packages or sysconfig.get_path("purelib")
    tags = ["--python-version", "3.10", "--implementation", "cp", "--abi", "none"]
    tags += ["--platform", "any", "--only-binary=:all:"]
    source = ["--require-hashes", "-r", requirement_file("detectron2")]
    return [python, "-m", "pip", "install", "--no-deps", *tags, "--target", target, *source]


def require_detectron2() -> None:
    """Raise one ImportError that says what to do if detectron2 cannot be imported."""
    try:
        import detectron2  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"detr_d2 needs detectron2, which {sys.executable} cannot import ({error}).\n"
            f"What is wrong and what mends it: {sys.executable} -m detr_d2.doctor\n"
            f"Install detectron2: {shlex.join(detectron2_install_command())}\n"
            "or build it from its official source, see INSTALL.md."
        ) from None
