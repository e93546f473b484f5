"""Judge what was found: pure functions from findings to the rows of the table."""

import shlex
from dataclasses import dataclass
from typing import Literal

from detr_d2._requirements import detectron2_install_command, requirement_file
from detr_d2.doctor.look import Findings, Package
from detr_d2.doctor.mend import (
    OFFICIAL_DETECTRON2,
    OFFICIAL_PANOPTICAPI,
    install_beside_numpy,
    pip_install,
    pip_uninstall,
)

Verdict = Literal["ok", "note", "missing", "wrong"]

TESTED_DETECTRON2 = {("sal-detectron2", (0, 7, 2)), ("detectron2", (0, 6))}


@dataclass(frozen=True)
class Row:
    """One line of the table. `mend` is a command, `remark` a sentence; both may be empty."""

    name: str
    found: str
    needed: str
    verdict: Verdict
    remark: str = ""
    mend: str = ""


def judge(found: Findings) -> list[Row]:
    """One row for each thing that detr_d2 needs or cares about."""
    plain = ("fvcore", "pycocotools", "scipy", "opencv")
    return [
        judge_python(found),
        judge_torch(found),
        judge_torchvision(found),
        judge_cuda(found),
        judge_detectron2(found),
        judge_compiled(found),
        *(judge_plain(found, name) for name in plain),
        judge_panopticapi(found),
        judge_numpy(found),
        judge_setuptools(found),
    ]


def judge_python(found: Findings) -> Row:
    """Python 3.10 to 3.12."""
    fits = (3, 10) <= found.python[:2] <= (3, 12)
    remark = "" if fits else "make the environment with another Python: see INSTALL.md"
    version = ".".join(map(str, found.python))
    return Row("Python", version, "3.10 to 3.12", "ok" if fits else "wrong", remark)


def judge_torch(found: Findings) -> Row:
    """torch 2.3 or newer, the first with loss scaling for any device (torch.amp.GradScaler)."""
    torch = found.get("torch")
    mend = pip_install("-r", requirement_file("torch"))
    needed = "2.3 or newer"
    if torch.error:
        return unusable("torch", found, needed, mend)
    verdict: Verdict = "ok" if numbers(torch.version) >= (2, 3) else "wrong"
    return Row("torch", str(torch.version), needed, verdict, mend="" if verdict == "ok" else mend)


def judge_torchvision(found: Findings) -> Row:
    """torchvision whose compiled operators load, which takes the build that fits torch's."""
    needed = "operators load"
    package = found.get("torchvision")
    if not package.error:
        return Row("torchvision", f"{package.version}, operators load", needed, "ok")
    install = pip_install("-r", requirement_file("torch"))
    row = unusable("torchvision", found, needed, install)
    if row.verdict == "missing" or not row.mend or package.lacks:
        return row
    remark = (
        f"{row.remark}. It must be built for torch {found.get('torch').version} and the same "
        "CUDA (or CPU); the commands install a pair that fits, and so may change torch"
    )
    # pip would find the right versions installed and not notice the wrong build.
    remove = pip_uninstall("torch", "torchvision")
    return Row(row.name, row.found, needed, row.verdict, remark, f"{remove} && {install}")


def judge_cuda(found: Findings) -> Row:
    """CUDA is optional."""
    if found.get("torch").error:
        return Row("CUDA", "unknown without torch", "optional", "note")
    build = f"torch for CUDA {found.cuda}" if found.cuda else "torch for CPU"
    if found.devices:
        return Row("CUDA", f"{build}, {', '.join(found.devices)}", "optional", "ok")
    remark = "everything runs on the CPU: MODEL.DEVICE cpu"
    return Row("CUDA", f"{build}, no device", "optional", "note", remark)


def judge_detectron2(found: Findings) -> Row:
    """One detectron2 that imports; a remark if it is not one of the two tested builds."""
    needed = "sal-detectron2 0.7.2, current official 0.6"
    package = found.get("detectron2")
    if len(package.distributions) > 1:
        names = " and ".join(package.distributions)
        mend = pip_uninstall(*package.distributions)
        remark = f"{names} overwrite each other: remove both, then install one"
        return Row("detectron2", str(package.version), needed, "wrong", remark, mend)
    if package.error:
        return unusable("detectron2", found, needed, shlex.join(detectron2_install_command()))
    version = f"{package.version} of {next(iter(package.distributions), 'unknown origin')}"
    remark = f"imported from {package.path}"
    if found.detectron2_outdated:
        remark = f"as it was years ago, when its version said the same; {remark}"
        mend = pip_install("--no-deps", "--no-build-isolation", OFFICIAL_DETECTRON2)
        return Row("detectron2", version, needed, "wrong", remark, mend)
    tested = {(name, numbers(package.version)) for name in package.distributions}
    if not tested & TESTED_DETECTRON2:
        return Row("detectron2", version, needed, "note", f"not one of the tested builds; {remark}")
    return Row("detectron2", version, needed, "ok", remark)


def judge_compiled(found: Findings) -> Row:
    """detectron2's compiled operators: detr_d2 uses none of them."""
    if found.get("detectron2").version is None:
        return Row("detectron2._C", "none", "not used", "note")
    if found.detectron2_compiled:
        return Row("detectron2._C", "yes", "not used", "ok")
    remark = "no deformable convolutions and rotated boxes, which detr_d2 does not use"
    return Row("detectron2._C", "no", "not used", "note", remark)


def judge_plain(found: Findings, name: str) -> Row:
    """A package of which any version will do."""
    if found.get(name).error:
        return unusable(name, found, "any version", install_beside_numpy(found, name))
    return Row(name, with_origin(name, found.get(name)), "any version", "ok")


def judge_panopticapi(found: Findings) -> Row:
    """panopticapi, which measures panoptic quality."""
    needed = "any version, to measure PQ"
    mend = install_beside_numpy(found, "panopticapi")
    if is_numpy_2(found):
        mend = pip_install(OFFICIAL_PANOPTICAPI)
    if found.get("panopticapi").error:
        return unusable("panopticapi", found, needed, mend)
    return Row("panopticapi", with_origin("panopticapi", found.get("panopticapi")), needed, "ok")


def judge_numpy(found: Findings) -> Row:
    """numpy below 2 where a package is installed that asks for it."""
    installed = [*found.get("detectron2").distributions, *found.get("panopticapi").distributions]
    asking = [name for name in installed if name in ("sal-detectron2", "panopticapi-lite")]
    needed = "below 2" if asking else "any version"
    numpy = found.get("numpy")
    if numpy.error:
        return unusable("numpy", found, needed, pip_install("numpy<2"))
    if asking and is_numpy_2(found):
        remark = f"{' and '.join(asking)} must have numpy below 2"
        return Row("numpy", str(numpy.version), needed, "wrong", remark, pip_install("numpy<2"))
    return Row("numpy", str(numpy.version), needed, "ok")


def judge_setuptools(found: Findings) -> Row:
    """setuptools with pkg_resources, which only detectron2.model_zoo wants: never wrong."""
    package = found.get("setuptools")
    if not package.error:
        return Row("setuptools", str(package.version), "below 81", "ok")
    remark = "detectron2.model_zoo (not used by detr_d2) imports pkg_resources, which is not there"
    mend = pip_install("setuptools<81")
    return Row("setuptools", package.version or "none", "below 81", "note", remark, mend)


def unusable(name: str, found: Findings, needed: str, mend: str) -> Row:
    """The row of a package that cannot be used: absent, broken, or itself lacking another."""
    package = found.get(name)
    if package.version is None:
        return Row(name, "none", needed, "missing", mend=mend)
    if package.lacks in found.packages or _rests_on_broken_torch(name, found):
        return Row(
            name, package.version, needed, "wrong", f"fails: {package.error}; mend the others first"
        )
    if package.lacks:
        mend = install_beside_numpy(found, package.lacks.split(".")[0])
    return Row(name, package.version, needed, "wrong", f"fails: {package.error}", mend)


def _rests_on_broken_torch(name: str, found: Findings) -> bool:
    below = {"torchvision": ["torch"], "detectron2": ["torch", "torchvision"]}
    return any(found.get(other).error for other in below.get(name, []))


def numbers(version: str | None) -> tuple[int, ...]:
    """The leading numbers of a version: "2.13.0+cpu" gives (2, 13, 0), None gives ()."""
    parts = (version or "").split("+")[0].split(".")
    stop = next((i for i, part in enumerate(parts) if not part.isdigit()), len(parts))
    return tuple(map(int, parts[:stop]))


def is_numpy_2(found: Findings) -> bool:
    """Whether numpy 2 or newer is installed."""
    return numbers(found.get("numpy").version) >= (2,)


def with_origin(name: str, package: Package) -> str:
    """The version, and the distribution where its name says more than the package's."""
    origin = [d for d in package.distributions if d != name]
    return f"{package.version} of {' and '.join(origin)}" if origin else str(package.version)
