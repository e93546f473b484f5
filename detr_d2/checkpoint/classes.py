"""Find the class of each row of a classifier, and the rows that a new class list keeps."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES

Names = tuple[str | None, ...]
RowRule = Literal["by_name", "in_order", "none"]
ROW_RULES: tuple[RowRule, ...] = ("by_name", "in_order", "none")

# Number of classes of the published weights, whose rows are COCO ids.
COCO_ROWS = (91, 250)
# Their rows are COCO ids: row 1 is person, row 12 belongs to nobody.
COCO_NAMES: dict[int, str] = {entry["id"]: entry["name"] for entry in COCO_CATEGORIES}
# Names that programs give to rows they know nothing about.
NAMELESS = re.compile(r"n/?a|label[ _]?\d+|unknown|", re.IGNORECASE)


def plain(name: str) -> str:
    """A name as it is compared: "Traffic_Light" and "traffic light" are the same."""
    return re.sub(r"[\s_-]+", " ", name).strip().lower()


def coco_names(rows: int) -> Names:
    """Names of the rows of a classifier whose row i is the COCO category of id i."""
    return tuple(COCO_NAMES.get(id_) for id_ in range(rows))


def names_of_rows(rows: int, given: Mapping[int, str] | None, maybe_coco: bool) -> Names | None:
    """Names of the rows as far as they are known.

    Args:
        rows: number of classes, without "no object".
        given: name by row, from the file; placeholders such as "LABEL_7" count as not given.
        maybe_coco: the layout is one in which COCO's weights were published.

    Returns:
        One name per row, None for a row that nobody uses; None if nothing is known.
    """
    known = {row: name for row, name in (given or {}).items() if not NAMELESS.fullmatch(name)}
    if maybe_coco and rows in COCO_ROWS:
        coco = coco_names(rows)
        fits = (plain(name) == plain(coco[row] or "") for row, name in known.items() if row < rows)
        if all(fits):
            return coco
    return tuple(known.get(row) for row in range(rows)) if known else None


@dataclass(frozen=True)
class RowPlan:
    """Rows of a classifier to be filled: pairs (row here, row in the file), and the others.

    "No object" is the last row of both and not part of the plan: it is kept unless `nothing`.
    """

    kept: tuple[tuple[int, int], ...]
    fresh: tuple[int, ...]
    how: str
    nothing: bool = False


def plan_rows(
    source: Names | None,
    source_rows: int,
    target: Sequence[str],
    target_rows: int,
    rule: RowRule = "by_name",
    renamed: Mapping[str, str] | None = None,
) -> RowPlan:
    """Decide where each row comes from.

    Args:
        source, source_rows: names of the file's rows if known, and their number.
        target, target_rows: the same of the model; an empty list of names is unknown.
        rule: "by_name" takes rows of equal name, and where names are unknown but the numbers
            agree, all rows in their order; "in_order" takes row i to row i; "none" takes none.
        renamed: name here -> name in the file, for classes that are called otherwise; where the
            file has no such name, the name here is looked for as always.
    """
    everything = tuple(range(target_rows))
    if rule == "none":
        return RowPlan((), everything, "LOAD.CLASS_ROWS none", nothing=True)
    if rule == "by_name" and source is not None and len(target) == target_rows:
        wanted = {plain(here): plain(there) for here, there in (renamed or {}).items()}
        places: dict[str, int] = {}
        for row, name in enumerate(source):
            if name is not None:
                places.setdefault(plain(name), row)
        names = [plain(name) for name in target]
        rows = [places.get(wanted.get(name, name), places.get(name)) for name in names]
        kept = tuple((here, row) for here, row in enumerate(rows) if row is not None)
        fresh = tuple(here for here, row in enumerate(rows) if row is None)
        return RowPlan(kept, fresh, "by name")
    if rule == "in_order" or source_rows == target_rows:
        shared = min(source_rows, target_rows)
        pairs = tuple((row, row) for row in range(shared))
        return RowPlan(pairs, everything[shared:], "in order")
    return RowPlan((), everything, f"{source_rows} classes of unknown name in the file")
