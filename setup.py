"""Packaging of detr_d2: `pip install .`, or `pip install -e .` in a checkout.

Nothing is listed under install_requires, on purpose. torch and detectron2 come in builds that only
the user can choose. The others are no safer: asked for panopticapi-lite, pip moves numpy from 1.23
to 1.26, or from 2 to 1.26, under the feet of a compiled detectron2; and OpenCV and panopticapi each
come from several packages that overwrite one another. Instead the pinned files in requirements/
make a whole environment, and `python -m detr_d2.doctor` names what an existing one lacks, with a
command that leaves its numpy alone.
"""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
VERSION = re.search(r'^__version__ = "(.+)"$', (HERE / "detr_d2/__init__.py").read_text(), re.M)
# Files of the checkout that an installed package holds a copy of: the model zoo reads configs, the
# doctor requirements, and the command detr-d2 runs the tools.
COPIED = ("configs/**/*.yaml", "requirements/*.txt", "tools/*.py")


class BuildWithCopies(build_py):
    """Put COPIED into the package that is built; an editable install reads the checkout's own."""

    def run(self) -> None:
        """Build, then copy."""
        super().run()
        if self.editable_mode:
            return
        for pattern in COPIED:
            for source in sorted(HERE.glob(pattern)):
                target = Path(self.build_lib, "detr_d2", source.relative_to(HERE))
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)


setup(
    name="detr_d2",
    version=VERSION.group(1),
    description="DETR panoptic segmentation for Detectron2",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="the detr_d2 authors",
    project_urls={
        "Paper": "https://arxiv.org/abs/2005.12872",
        "Detectron2": "https://github.com/facebookresearch/detectron2",
    },
    license="Apache-2.0",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
    # `pip install detr_d2[onnx]`, for tools/export_onnx.py alone.
    extras_require={
        "onnx": [
            line
            for line in (HERE / "requirements/onnx.txt").read_text().splitlines()
            if not line.startswith("#")
        ]
    },
    python_requires=">=3.10",
    packages=find_packages(include=["detr_d2", "detr_d2.*"]),
    package_data={"detr_d2": ["py.typed", "**/*.html", "**/*.css", "**/*.js"]},
    entry_points={"console_scripts": ["detr-d2 = detr_d2.cli:main"]},
    cmdclass={"build_py": BuildWithCopies},
)
