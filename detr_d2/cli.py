"""The command `detr-d2`: `detr-d2 train ...` is `python tools/train_net.py ...`, from any folder.

An installed package holds a copy of the checkout's tools; each is run as the program that it is.
"""

import difflib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

_PACKAGE = Path(__file__).parent
_PACKAGED = _PACKAGE / "tools"
TOOLS = _PACKAGED if _PACKAGED.is_dir() else _PACKAGE.parent / "tools"
DOCTOR = "doctor"
# Command: the tool's file.
COMMANDS = {
    "train": "train_net",
    "demo": "demo",
    "convert": "convert_masks",
    "check": "check_dataset",
    "label": "label_stuff",
    "label-quality": "label_quality",
    "visualize": "visualize_data",
    "plot": "plot_training",
    "explain": "explain",
    "weights": "convert_weights",
    "export": "export_onnx",
    "run-onnx": "run_onnx",
}
EXIT_USAGE = 2


def main(words: Sequence[str] | None = None) -> int:
    """Run a command in place of this process; return the exit status where there is none to run.

    Args:
        words: the command and its arguments; None takes those of the process.
    """
    words = sys.argv[1:] if words is None else list(words)
    if not words or words[0] in ("-h", "--help"):
        (sys.stdout if words else sys.stderr).write(usage())
        return 0 if words else EXIT_USAGE
    command, *arguments = words
    if command == DOCTOR:
        return _run_doctor()
    if command in COMMANDS:
        # In place of this process, so that a tool that starts others is the program they start.
        os.execv(sys.executable, [sys.executable, str(tool_path(command)), *arguments])
    near = difflib.get_close_matches(command, [*COMMANDS, DOCTOR], n=1)
    hint = f"did you mean {near[0]!r}?" if near else "detr-d2 --help lists all"
    sys.stderr.write(f"detr-d2: no command {command!r}; {hint}\n")
    return EXIT_USAGE


def tool_path(command: str) -> Path:
    """Path of the tool that a command runs."""
    return TOOLS / f"{COMMANDS[command]}.py"


def usage() -> str:
    """List the commands, each with the first line of its tool."""
    lines = ["usage: detr-d2 COMMAND ...", "", "DETR panoptic segmentation for Detectron2.", ""]
    for command in COMMANDS:
        lines.append(f"  {command:14} {_summary(tool_path(command))}")
    lines.append(f"  {DOCTOR:14} What this environment has, what is needed, and how to fix it.")
    return "\n".join([*lines, "", "detr-d2 COMMAND --help lists the options of a command.", ""])


def _summary(path: Path) -> str:
    """The first line of a file's docstring, read without running it."""
    text = path.read_text(encoding="utf-8").split('"""', 2)[1]
    return text.strip().splitlines()[0]


def _run_doctor() -> int:
    from detr_d2 import doctor

    return doctor.main()


if __name__ == "__main__":
    sys.exit(main())
