"""Progress bars of the tools: on terminals only."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

Progress = Callable[[int, int], None]


@contextmanager
def progress_bar(description: str = "", quiet: bool = False) -> Iterator[Progress]:
    """Show a bar while images are worked on; none in a file, nor with `quiet`.

    Yields:
        A function of the number of images that are done, and of all.
    """
    with tqdm(desc=description or None, unit=" images", disable=quiet or None) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield progress
