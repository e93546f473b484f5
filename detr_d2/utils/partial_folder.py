"""Result folders that are whole at every moment, however long the work on them takes.

Beside FOLDER lies a hidden one while FOLDER is being made:

    .FOLDER.partial/
      detr_d2.lock   marks it as ours, and is locked by the process that works on it
      new/           the result as it grows, which takes FOLDER's place when it is whole
      old/           what FOLDER was, while the two change places

A folder of that name without the marker belongs to somebody else and is never touched.
"""

import errno
import fcntl
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from detr_d2.utils.files import write_text

logger = logging.getLogger(__name__)

MARKER = "detr_d2.lock"
FINGERPRINT = "fingerprint"


class Workspace:
    """The hidden folder beside a target; `path` is the `new/` in it.

    Args:
        target: FOLDER. A link stays a link: what it points to is replaced.
    """

    def __init__(self, target: str | os.PathLike[str]) -> None:
        try:
            self.target = Path(target).resolve()
        except (OSError, RuntimeError) as error:
            raise ValueError(f"{target}: a link that leads in a circle") from error
        self.hidden = self.target.with_name(f".{self.target.name}.partial")
        self.path = self.hidden / "new"
        self._old = self.hidden / "old"
        self._lock: IO[bytes] | None = None

    def open(self) -> None:
        """Make the hidden folder, lock it, and undo a change of places that a kill has cut short.

        Raises:
            FileExistsError: FOLDER is a file, or somebody else's folder has the hidden name.
            BlockingIOError: another process works on the same FOLDER.
        """
        if self.target.exists() and not self.target.is_dir():
            raise FileExistsError(f"{self.target} is a file, not a folder")
        if not self._is_free_or_ours():
            raise FileExistsError(
                f"{self.hidden} is in the way and was not made by detr_d2 (it has no {MARKER}); "
                "move it away, or choose another folder"
            )
        self.hidden.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self.hidden / MARKER, self.target)
        self._restore()
        remove_folder(self._old)

    def replace(self) -> None:
        """Put `path` in the place of FOLDER, and remove the hidden folder.

        Raises:
            FileNotFoundError: the hidden folder was removed meanwhile, and files with it: those
                that were written later are no whole result.
        """
        if not (self.hidden / MARKER).is_file():
            raise FileNotFoundError(
                f"{self.hidden} was removed while {self.target} was in the making; remove what is "
                "left of it and start again"
            )
        try:
            if self.target.exists():
                os.rename(self.target, self._old)
            os.rename(self.path, self.target)
        except OSError:
            self._restore()
            raise
        self.remove()

    def remove(self) -> None:
        """Remove the hidden folder if it is ours; FOLDER is as it was before, or replaced."""
        if (self.hidden / MARKER).is_file():
            self._restore()
            remove_folder(self.hidden)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _is_free_or_ours(self) -> bool:
        if self.hidden.is_symlink() or (self.hidden.exists() and not self.hidden.is_dir()):
            return False
        if not self.hidden.exists() or (self.hidden / MARKER).is_file():
            return True
        # A kill may come before the marker is there.
        return not any(self.hidden.iterdir())

    def _restore(self) -> None:
        if self._old.exists() and not self.target.exists():
            os.rename(self._old, self.target)


def _locked(marker: Path, target: Path) -> IO[bytes]:
    """Open and lock a file; the lock goes when it is closed or the process ends."""
    file = open(marker, "ab")  # noqa: SIM115  closed by Workspace.remove
    busy = f"another process is writing {target}; wait for it, or choose another folder"
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            file.close()
            raise BlockingIOError(busy) from error
        logger.warning("%s cannot be locked (%s): let no other process write it", target, error)
    if not marker.exists():
        # The other process has just finished and removed it.
        file.close()
        raise BlockingIOError(busy)
    return file


def remove_folder(folder: Path) -> None:
    """Remove a folder with all in it, if it is there."""
    if folder.exists():
        shutil.rmtree(folder)


@contextmanager
def replacing_folder(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Give an empty folder; at the end it takes the place of `folder`.

    After an error `folder` is as it was. What a killed run has left is removed at the start.

    Raises:
        FileExistsError, BlockingIOError: see `Workspace.open`.
    """
    workspace = Workspace(folder)
    workspace.open()
    try:
        remove_folder(workspace.path)
        workspace.path.mkdir()
        yield workspace.path
        workspace.replace()
    finally:
        workspace.remove()


class PartialFolder(Workspace):
    """A result in the making that goes on where an interrupted run has stopped.

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
        super().__init__(target)
        self._report = report
        self._scratch = (*scratch, FINGERPRINT)

    def prepare(self, fingerprint: str) -> None:
        """Make the working folder with `images/` and `panoptic/` in it.

        What an interrupted run has left there is kept if its fingerprint was the same, else it is
        removed.

        Args:
            fingerprint: text that changes with everything that decides the result.

        Raises:
            FileExistsError: FOLDER is not empty and has no report; or see `Workspace.open`.
            BlockingIOError: another process works on the same FOLDER.
        """
        if self._is_foreign():
            raise FileExistsError(
                f"{self.target} is not empty and no {Path(self._report).stem} has written it (it "
                f"has no {self._report}); choose another folder"
            )
        self.open()
        mark = self.path / FINGERPRINT
        if mark.is_file() and mark.read_text(encoding="utf-8") == fingerprint:
            return
        remove_folder(self.path)
        (self.path / "images").mkdir(parents=True)
        (self.path / "panoptic").mkdir()
        write_text(mark, fingerprint)

    def discard(self) -> None:
        """Remove the working folder, if there is one."""
        self.remove()

    def finish(self) -> None:
        """Put the working folder, without its scratch files, in the place of FOLDER."""
        for pattern in self._scratch:
            for file in self.path.glob(pattern):
                file.unlink()
        self.replace()

    def _is_foreign(self) -> bool:
        if not self.target.is_dir() or (self.target / self._report).is_file():
            return False
        return any(self.target.iterdir())
