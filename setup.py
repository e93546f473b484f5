"""Packaging of detr_d2: `pip install -e .` in a checkout.

Nothing is listed under install_requires, on purpose. torch and detectron2 come in builds that only
the user can choose. The others are no safer: asked for panopticapi-lite, pip moves numpy from 1.23
to 1.26, or from 2 to 1.26, under the feet of a compiled detectron2; and OpenCV and panopticapi each
come from several packages that overwrite one another. Instead the pinned files in requirements/
make a whole environment, and `python -m detr_d2.doctor` names what an existing one lacks, with a
command that leaves its numpy alone.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'^__version__ = "(.+)"$', (HERE / "detr_d2/__init__.py").read_text(), re.M)

setup(
    name="detr_d2",
    version=VERSION.group(1),
    description="DETR panoptic segmentation for Detectron2",
    author="the detr_d2 authors",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["detr_d2", "detr_d2.*"]),
    package_data={"detr_d2.explanation.page": ["*.html", "styles/*.css", "scripts/*.js"]},
)
