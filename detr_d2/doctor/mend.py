"""The commands that mend things, for the running interpreter and quoted for a shell."""

import shlex
import sys

from detr_d2.doctor.look import Findings

# What to install for a module or package of another name.
INSTALL_AS = {
    "cv2": "opencv-python-headless",
    "opencv": "opencv-python-headless",
    "panopticapi": "panopticapi-lite",
    "PIL": "pillow",
    "skimage": "scikit-image",
    "yaml": "PyYAML",
}
# panopticapi-lite asks for numpy below 2; the official one does not.
OFFICIAL_PANOPTICAPI = "git+https://github.com/cocodataset/panopticapi.git"
OFFICIAL_DETECTRON2 = "git+https://github.com/facebookresearch/detectron2.git"


def pip_install(*what: str) -> str:
    """Install these with pip."""
    return shlex.join([sys.executable, "-m", "pip", "install", *what])


def pip_uninstall(*names: str) -> str:
    """Remove these with pip, without asking."""
    return shlex.join([sys.executable, "-m", "pip", "uninstall", "-y", *names])


def install_beside_numpy(found: Findings, name: str) -> str:
    """Install a package and hold numpy where it is, since compiled packages depend on it."""
    version = found.get("numpy").version
    return pip_install(INSTALL_AS.get(name, name), f"numpy=={version}" if version else "numpy<2")
