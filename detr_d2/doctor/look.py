"""Look at the environment: import each package and note what happens. No verdicts here."""

import importlib
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata

# Package, and the module whose import shows that it works.
PROBES = {
    "numpy": "numpy",
    "torch": "torch",
    "torchvision": "torchvision.ops",
    "fvcore": "fvcore.nn",
    "pycocotools": "pycocotools.mask",
    "scipy": "scipy.optimize",
    "opencv": "cv2",
    # The heart of detectron2: it imports most of what detectron2 depends on.
    "detectron2": "detectron2.modeling",
    "panopticapi": "panopticapi.evaluation",
    "setuptools": "pkg_resources",
}


@dataclass(frozen=True)
class Package:
    """What was found of one package. `version` None: it is not there at all."""

    version: str | None = None
    # The distributions that provide it, ("sal-detectron2",) say; empty if it came without one.
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
    # The CUDA version that torch was built for, and the names of the devices that it sees.
    cuda: str | None = None
    devices: tuple[str, ...] = ()
    detectron2_compiled: bool = False
    # Its official source has called itself 0.6 since 2021, but grew what detr_d2 uses only later.
    detectron2_outdated: bool = False

    def get(self, name: str) -> Package:
        """The package of that name; an absent one if it was not looked for."""
        return self.packages.get(name, Package(error="not there"))


def look() -> Findings:
    """Look at the running interpreter's environment. Takes the seconds that the imports take."""
    owners = metadata.packages_distributions()
    packages = {name: _probe(module, owners) for name, module in PROBES.items()}
    if packages["torchvision"].error is None:
        packages["torchvision"] = _try_operators(packages["torchvision"])
    cuda, devices = (None, ()) if packages["torch"].error else _cuda()
    return Findings(
        python=tuple(sys.version_info[:3]),
        packages=packages,
        cuda=cuda,
        devices=devices,
        detectron2_compiled=_imports("detectron2._C"),
        detectron2_outdated=not packages["detectron2"].error and _is_outdated(),
    )


def _probe(module_name: str, owners: Mapping[str, Sequence[str]]) -> Package:
    top = module_name.split(".")[0]
    # setuptools provides pkg_resources, but newer ones no longer do.
    distributions = owners.get(top, ["setuptools"] if top == "pkg_resources" else [])
    distributions = tuple(sorted(set(distributions)))
    version = _distribution_version(distributions)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module(module_name)
    except Exception as error:  # a broken compiled package raises whatever it likes
        lacks = error.name if isinstance(error, ModuleNotFoundError) else None
        if lacks is not None and lacks.split(".")[0] == top:
            lacks = None
        message = " ".join(f"{type(error).__name__}: {error}".split())
        return Package(version, distributions, error=message, lacks=lacks)
    module = sys.modules[top]
    if top != "pkg_resources":
        # The package's own word names the build too: 2.13.0+cpu.
        version = getattr(module, "__version__", version)
    return Package(str(version or "unknown"), distributions, getattr(module, "__file__", None))


def _distribution_version(names: Sequence[str]) -> str | None:
    for name in names:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def _try_operators(torchvision: Package) -> Package:
    """Run one compiled operator; they may fail to load though the import succeeds."""
    import torch
    from torchvision.ops import nms

    try:
        nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([1.0]), 0.5)
    except (RuntimeError, NotImplementedError) as error:
        return Package(torchvision.version, torchvision.distributions, torchvision.path, str(error))
    return torchvision


def _cuda() -> tuple[str | None, tuple[str, ...]]:
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return torch.version.cuda, tuple(torch.cuda.get_device_name(i) for i in range(count))


def _imports(module_name: str) -> bool:
    try:
        importlib.import_module(module_name)
    except Exception:  # see _probe
        return False
    return True


def _is_outdated() -> bool:
    from detectron2.engine import HookBase

    # The latest of the additions that detr_d2 needs.
    return not hasattr(HookBase, "after_backward")
