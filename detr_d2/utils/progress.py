"""Progress bars of the tools: on terminals only."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

Progress = Callable[[int, int], None]
# A unit for the reading of large files; small ones are read before their bar would be seen.
BYTES = "B"
BYTES_DELAY = 1.0


@contextmanager
def progress_bar(
    description: str = "", quiet: bool = False, unit: str = " images"
) -> Iterator[Progress]:
    """Show a bar while images are worked on; none in a file, nor with `quiet`.

    Args:
        description: in front of the bar.
        quiet: show none.
        unit: of the numbers; BYTES are shown in powers of 1000, and the bar is removed at the end.

    Yields:
        A function of the number of images (or units) that are done, and of all.
    """
    large = unit == BYTES
    with tqdm(
        desc=description or None,
        unit=unit,
        unit_scale=large,
        leave=not large,
        delay=BYTES_DELAY if large else 0,
        disable=quiet or None,
    ) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield progress
