"""Choose a few images of a data set to look at."""

from collections.abc import Collection, Sequence


def cover_classes(classes: Sequence[Collection[int]], count: int) -> list[int]:
    """Choose images that show every class at least once, then further ones spread evenly.

    Args:
        classes: of each image, the classes in it.
        count: images wanted; more are chosen where the classes need more.

    Returns:
        Indices of the images, ascending.
    """
    missing: set[int] = set().union(*classes)
    chosen: set[int] = set()
    while missing:
        # The image with most of what is missing; of several the first.
        best = max(range(len(classes)), key=lambda i: len(missing.intersection(classes[i])))
        chosen.add(best)
        missing.difference_update(classes[best])
    rest = [i for i in range(len(classes)) if i not in chosen]
    wanted = min(max(0, count - len(chosen)), len(rest))
    chosen.update(rest[(2 * k + 1) * len(rest) // (2 * wanted)] for k in range(wanted))
    return sorted(chosen)
