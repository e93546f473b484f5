"""Finding the image that an annotation file names, as loosely as such files name images."""

import os
from collections.abc import Mapping

from detr_d2.data.image_io import IMAGE_SUFFIXES, files_below


class ImageFinder:
    """Looks for images below a folder.

    A name is tried as it stands, then with other upper and lower case, then without its folders,
    each time only if it can mean one file.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = os.fspath(folder)
        self.names = files_below(folder, IMAGE_SUFFIXES)
        self._exact = set(self.names)
        self._loose: dict[str, list[str]] = {}
        for name in self.names:
            for key in {name.lower(), name.lower().rsplit("/", 1)[-1]}:
                self._loose.setdefault(key, []).append(name)

    def find(self, name: str) -> str | None:
        """Path of the image below the folder, with "/", or None.

        Raises:
            ValueError: the name fits several images.
        """
        name = name.replace("\\", "/").removeprefix("./")
        if name in self._exact:
            return name
        for key in (name.lower(), name.lower().rsplit("/", 1)[-1]):
            found = self._loose.get(key, [])
            if len(found) == 1:
                return found[0]
            if found:
                raise ValueError(f"{name}: may be any of {found} below {self.folder}")
        return None


def image_beside(path: str, named: str | None, by_name: Mapping[str, str]) -> str | None:
    """The image of an annotation file: the one it names, else the one of the same stem.

    Args:
        path: the annotation file.
        named: what it gives as its image, relative to its folder.
        by_name: image paths by stem and by whole name (lower case), for its folder.
    """
    stem = os.path.splitext(os.path.basename(path))[0]
    wanted = os.path.basename((named or "").replace("\\", "/"))
    for key in (wanted, os.path.splitext(wanted)[0], stem):
        if key and key.lower() in by_name:
            return by_name[key.lower()]
    return None
