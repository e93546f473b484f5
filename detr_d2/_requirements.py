"""Pip commands that install detectron2 and what it needs. Standard library only, no import of ours:
it is read before anything is installed."""

import shlex
import sys
import sysconfig
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
# What to install for a module or package of another name.
_OPENCV = "opencv-python-headless"
_INSTALL_AS = {"cv2": _OPENCV, "opencv": _OPENCV, "PIL": "pillow", "yaml": "PyYAML"}


def pip(*arguments: str) -> str:
    """Return a pip command of the running interpreter, quoted for a shell."""
    return shlex.join([sys.executable, "-m", "pip", *arguments])


def install_beside_numpy(module: str, numpy: str | None) -> str:
    """Return the command that installs a module and holds numpy, on which compiled ones depend.

    Args:
        module: a module or package, for example "yaml".
        numpy: the version that is there, None if there is none.
    """
    top = module.split(".")[0]
    pin = f"numpy=={numpy}" if numpy else "numpy<2"
    return pip("install", _INSTALL_AS.get(top, top), pin)


INSTALL_OFFICIAL_DETECTRON2 = pip(
    *("install", "--no-deps", "--no-build-isolation"),
    "git+https://github.com/facebookresearch/detectron2.git",
)


def requirement_file(name: str) -> str:
    """Return the path of `requirements/NAME.txt`: the package's copy, or that of the checkout."""
    paths = [folder / "requirements" / f"{name}.txt" for folder in (_PACKAGE, _PACKAGE.parent)]
    return str(next(path for path in paths if path.is_file()))


def install_torch() -> str:
    """Return the command that installs the pinned torch and the torchvision that fits it."""
    return pip("install", "-r", requirement_file("torch"))


def install_detectron2() -> str:
    """Return `detectron2_install_command` as text, quoted for a shell."""
    return shlex.join(detectron2_install_command())


def detectron2_install_command(
    python: str = sys.executable, site_packages: str | None = None
) -> list[str]:
    """Return the pip call that installs the pinned detectron2 of the package index, hash checked.

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


def import_advice(error: Exception) -> str:
    """Say why detr_d2 cannot be used here and what to do about it.

    Args:
        error: what the import of the package, or of detectron2 in it, raised.
    """
    advice = (
        f"detr_d2 cannot be used with {sys.executable}: {type(error).__name__}: {error}\n"
        f"What is wrong, and how to fix it: {sys.executable} -m detr_d2.doctor"
    )
    if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] == "detectron2":
        advice += (
            f"\nInstall detectron2: {install_detectron2()}\n"
            "or build it from its official source, see INSTALL.md."
        )
    return advice
