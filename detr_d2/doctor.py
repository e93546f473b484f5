"""`python -m detr_d2.doctor`: what this environment has, what detr_d2 needs, and how to fix it.

Prints a table, remarks and commands; the exit status is 1 if something needed is missing or wrong.
It runs without detectron2, torch or any other package. `examine` looks; the verdicts are pure
functions of what it found.
"""

import importlib
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata

from detr_d2 import _requirements as commands

# Package, and the module whose import shows that it works.
PROBES = {
    "numpy": "numpy",
    "torch": "torch",
    "torchvision": "torchvision.ops",
    "fvcore": "fvcore.nn",
    "pycocotools": "pycocotools.mask",
    "scipy": "scipy.optimize",
    "opencv": "cv2",
    "safetensors": "safetensors.torch",
    "hotcoco": "hotcoco",
    # It imports most of what detectron2 depends on.
    "detectron2": "detectron2.modeling",
}
ANY_VERSION = ("fvcore", "pycocotools", "scipy", "opencv", "safetensors")
# Verdicts of what detr_d2 cannot do without.
BAD = ("missing", "wrong")
TESTED_DETECTRON2 = {("sal-detectron2", (0, 7, 2)), ("detectron2", (0, 6))}


@dataclass(frozen=True)
class Package:
    """What was found of one package. `version` None: it is not there at all."""

    version: str | None = None
    distributions: tuple[str, ...] = ()
    path: str | None = None
    # Why it cannot be used, None if it can; and the other module that it lacks, if that is why.
    error: str | None = None
    lacks: str | None = None


@dataclass(frozen=True)
class Findings:
    """What was found in one environment."""

    python: tuple[int, ...]
    packages: Mapping[str, Package] = field(default_factory=dict)
    # That torch was built for; the names of the devices that it sees.
    cuda: str | None = None
    devices: tuple[str, ...] = ()
    # Its official source has called itself 0.6 since 2021, but grew what detr_d2 uses only later.
    detectron2_outdated: bool = False


@dataclass(frozen=True)
class Row:
    """One line of the table; the verdict is "ok", "note" or one of BAD, `fix` a command."""

    name: str
    found: str
    needed: str
    verdict: str
    remark: str = ""
    fix: str = ""


def examine() -> Findings:
    """Import each package and note what happens: takes the seconds that the imports take."""
    owners = metadata.packages_distributions()
    packages = {name: probe(module, owners) for name, module in PROBES.items()}
    cuda: str | None = None
    devices: tuple[str, ...] = ()
    outdated = False
    if not packages["torch"].error:
        import torch

        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        cuda = torch.version.cuda
        devices = tuple(torch.cuda.get_device_name(i) for i in range(count))
    if not packages["torchvision"].error:
        from torchvision.ops import nms

        try:
            nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
        except (RuntimeError, NotImplementedError) as error:
            # Compiled operators may fail to load though the import succeeds.
            packages["torchvision"] = replace(packages["torchvision"], error=str(error))
    if not packages["detectron2"].error:
        from detectron2.engine import HookBase

        # The latest of the additions that detr_d2 needs.
        outdated = not hasattr(HookBase, "after_backward")
    return Findings(tuple(sys.version_info[:3]), packages, cuda, devices, outdated)


def probe(module_name: str, owners: Mapping[str, Sequence[str]]) -> Package:
    """Import a module and note what happens; `owners` are the distributions by top module."""
    top = module_name.split(".")[0]
    distributions = tuple(sorted(set(owners.get(top, []))))
    version = metadata.version(distributions[0]) if distributions else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module(module_name)
    except Exception as error:  # a broken compiled package raises whatever it likes
        name = error.name if isinstance(error, ModuleNotFoundError) else None
        lacks = None if (name or top).split(".")[0] == top else name
        message = " ".join(f"{type(error).__name__}: {error}".split())
        return Package(version, distributions, error=message, lacks=lacks)
    module = sys.modules[top]
    # The package's own word names the build too: 2.13.0+cpu.
    version = str(getattr(module, "__version__", version) or "unknown")
    return Package(version, distributions, getattr(module, "__file__", None))


def judge(found: Findings) -> list[Row]:
    """Return one row for each thing that detr_d2 needs or cares about."""
    python = ".".join(map(str, found.python))
    fits = (3, 10) <= found.python[:2] <= (3, 12)
    remark = "" if fits else "make the environment with another Python: see INSTALL.md"
    torch = ("torch", "2.3 or newer", commands.install_torch())
    version = found.packages["numpy"].version
    install = {name: commands.install_beside_numpy(name, version) for name in ANY_VERSION}
    coco, slower = found.packages["hotcoco"], ("note", "pycocotools measures AP, ten times slower")
    numpy = _judge_version(found, "numpy", "any version", commands.pip("install", "numpy<2"))
    asks = "sal-detectron2" in found.packages["detectron2"].distributions
    if numpy.verdict == "ok" and asks and numbers(version) >= (2,):
        warning = "sal-detectron2 asks for numpy below 2; all but its SemSegEvaluator runs with 2"
        numpy = replace(numpy, verdict="note", remark=warning)
    return [
        Row("Python", python, "3.10 to 3.12", "ok" if fits else "wrong", remark),
        # The first with loss scaling for any device, torch.amp.GradScaler.
        _judge_version(found, *torch, numbers(found.packages["torch"].version) >= (2, 3)),
        _judge_torchvision(found),
        _judge_cuda(found),
        _judge_detectron2(found),
        *(_judge_version(found, name, "any version", fix) for name, fix in install.items()),
        numpy,
        Row("hotcoco", coco.version or "none", "optional", *(slower if coco.error else ("ok",))),
    ]


def _judge_version(found: Findings, name: str, needed: str, fix: str, fits: bool = True) -> Row:
    """A package that must be importable and, by `fits`, of a version that will do."""
    package = found.packages[name]
    if package.error:
        return _unusable(name, found, needed, fix)
    origin = " and ".join(part for part in package.distributions if part != name)
    version = f"{package.version} of {origin}" if origin else str(package.version)
    return Row(name, version, needed, "ok" if fits else "wrong", fix="" if fits else fix)


def _judge_torchvision(found: Findings) -> Row:
    package, needed = found.packages["torchvision"], "operators load"
    if not package.error:
        return Row("torchvision", f"{package.version}, operators load", needed, "ok")
    install = commands.install_torch()
    row = _unusable("torchvision", found, needed, install)
    if row.verdict == "missing" or not row.fix or package.lacks:
        return row
    remark = (
        f"{row.remark}. It must be built for torch {found.packages['torch'].version} and its CUDA"
    )
    # pip would find the right versions installed and not notice the wrong build.
    fix = f"{commands.pip('uninstall', '-y', 'torch', 'torchvision')} && {install}"
    return replace(row, remark=f"{remark}; the commands may change torch", fix=fix)


def _judge_cuda(found: Findings) -> Row:
    if found.packages["torch"].error:
        return Row("CUDA", "unknown without torch", "optional", "note")
    build = f"torch for CUDA {found.cuda}" if found.cuda else "torch for CPU"
    if not found.devices:
        return Row("CUDA", f"{build}, no device", "optional", "note", "everything runs on the CPU")
    return Row("CUDA", f"{build}, {', '.join(found.devices)}", "optional", "ok")


def _judge_detectron2(found: Findings) -> Row:
    package, needed = found.packages["detectron2"], "sal-detectron2 0.7.2, current official 0.6"
    if len(package.distributions) > 1:
        both = " and ".join(package.distributions)
        fix = commands.pip("uninstall", "-y", *package.distributions)
        remark = f"{both} overwrite each other: remove both, then install one"
        return Row("detectron2", str(package.version), needed, "wrong", remark, fix)
    if package.error:
        return _unusable("detectron2", found, needed, commands.install_detectron2())
    version = f"{package.version} of {next(iter(package.distributions), 'unknown origin')}"
    remark = f"imported from {package.path}"
    if found.detectron2_outdated:
        remark = f"as it was years ago, when its version said the same; {remark}"
        fix = commands.INSTALL_OFFICIAL_DETECTRON2
        return Row("detectron2", version, needed, "wrong", remark, fix)
    if {(name, numbers(package.version)) for name in package.distributions} & TESTED_DETECTRON2:
        return Row("detectron2", version, needed, "ok", remark)
    return Row("detectron2", version, needed, "note", f"not one of the tested builds; {remark}")


def _unusable(name: str, found: Findings, needed: str, fix: str) -> Row:
    """The row of a package that cannot be used: absent, broken, or itself lacking another."""
    package, numpy = found.packages[name], found.packages["numpy"].version
    if package.version is None:
        return Row(name, "none", needed, "missing", fix=fix)
    row = Row(name, package.version, needed, "wrong", f"fails: {package.error}", fix)
    below = {"torchvision": ["torch"], "detectron2": ["torch", "torchvision"]}.get(name, [])
    if package.lacks in found.packages or any(found.packages[other].error for other in below):
        return replace(row, remark=f"{row.remark}; fix the others first", fix="")
    if package.lacks:
        row = replace(row, fix=commands.install_beside_numpy(package.lacks, numpy))
    return row


def numbers(version: str | None) -> tuple[int, ...]:
    """Return the leading numbers of a version: "2.13.0+cpu" gives (2, 13, 0), None gives ()."""
    parts = (version or "").split("+")[0].split(".")
    stop = next((i for i, part in enumerate(parts) if not part.isdigit()), len(parts))
    return tuple(map(int, parts[:stop]))


def render(rows: Sequence[Row]) -> str:
    """Return the table, then the remarks, the commands, and one sentence that sums up."""
    cells = [("", "found", "needed", "verdict")]
    cells += [(row.name, row.found, row.needed, row.verdict) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in cells]
    lines += ["", *(f"{row.name}: {row.remark}" for row in rows if row.remark)]
    for command in dict.fromkeys(row.fix for row in rows if row.fix):
        names = ", ".join(f"{row.name} ({row.verdict})" for row in rows if row.fix == command)
        lines += ["", f"To fix {names}:", f"    {command}"]
    bad = ", ".join(row.name for row in rows if row.verdict in BAD)
    lines += ["", f"detr_d2 cannot run here yet: {bad}." if bad else "detr_d2 can run here."]
    return "\n".join([*lines, ""])


def main() -> int:
    """Examine, judge, print; return the exit status."""
    rows = judge(examine())
    sys.stdout.write(render(rows))
    return int(any(row.verdict in BAD for row in rows))


if __name__ == "__main__":
    sys.exit(main())
