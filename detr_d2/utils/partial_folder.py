"""A result folder that is whole at every moment, however long the work on it takes."""

import os
from collections.abc import Sequence
from pathlib import Path

from detr_d2.utils.files import change_places, remove_folder, restore

FINGERPRINT = "fingerprint"


class PartialFolder:
    """FOLDER.partial beside FOLDER: work goes on in it, and it takes FOLDER's place when whole.

    Args:
        target: FOLDER.
        report: the file that every finished result of this kind has, by which an earlier one is
            known from a folder of something else.
        scratch: names or patterns of files that are only for going on after an interruption; they
            are removed before the folders change places.
    """

    def __init__(
        self, target: str | os.PathLike[str], report: str, scratch: Sequence[str] = ()
    ) -> None:
        self.target = Path(target)
        self.path = self.target.with_name(self.target.name + ".partial")
        self._old = self.target.with_name(self.target.name + ".old")
        self._report = report
        self._scratch = (*scratch, FINGERPRINT)

    def prepare(self, fingerprint: str) -> None:
        """Make the working folder with `images/` and `panoptic/` in it.

        What an interrupted run has left there is kept if its fingerprint was the same, else it is
        removed.

        Args:
            fingerprint: text that changes with everything that decides the result.

        Raises:
            FileExistsError: FOLDER is not empty and has no report.
        """
        restore(self.target, self._old)
        if self._is_foreign():
            raise FileExistsError(
                f"{self.target} is not empty and no {Path(self._report).stem} has written it (it "
                f"has no {self._report}); choose another folder"
            )
        mark = self.path / FINGERPRINT
        if mark.is_file() and mark.read_text(encoding="utf-8") == fingerprint:
            return
        self.discard()
        (self.path / "images").mkdir(parents=True)
        (self.path / "panoptic").mkdir()
        mark.write_text(fingerprint, encoding="utf-8")

    def discard(self) -> None:
        """Remove the working folder, if there is one."""
        remove_folder(self.path)

    def finish(self) -> None:
        """Put the working folder, without its scratch files, in the place of FOLDER."""
        for pattern in self._scratch:
            for file in self.path.glob(pattern):
                file.unlink()
        change_places(self.path, self.target, self._old)

    def _is_foreign(self) -> bool:
        if not self.target.exists() or (self.target / self._report).is_file():
            return False
        return any(self.target.iterdir())
