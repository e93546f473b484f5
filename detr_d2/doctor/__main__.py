"""Print the table and the commands that mend things; the exit status is 1 if something needed is
missing or wrong."""

import sys
from collections.abc import Sequence

from detr_d2.doctor.look import look
from detr_d2.doctor.verdicts import Row, judge

HEADINGS = ("", "found", "needed", "verdict")


def render(rows: Sequence[Row]) -> str:
    """The table, then the remarks, then the commands, as text."""
    cells = [HEADINGS, *((row.name, row.found, row.needed, row.verdict) for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(HEADINGS))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]
    lines += ["", *(f"{row.name}: {row.remark}" for row in rows if row.remark)]
    for command in dict.fromkeys(row.mend for row in rows if row.mend):
        names = ", ".join(f"{row.name} ({row.verdict})" for row in rows if row.mend == command)
        lines += ["", f"To mend {names}:", f"    {command}"]
    return "\n".join([*lines, "", summary(rows), ""])


def summary(rows: Sequence[Row]) -> str:
    """One sentence: whether detr_d2 can run here."""
    bad = [row.name for row in rows if is_bad(row)]
    if not bad:
        return "Everything that detr_d2 needs is here."
    advice = "In a checkout, `make env` makes a complete environment of its own."
    return f"detr_d2 cannot run here yet: {', '.join(bad)}. {advice}"


def is_bad(row: Row) -> bool:
    """Whether detr_d2 cannot do without what this row misses."""
    return row.verdict in ("missing", "wrong")


def main() -> int:
    """Look, judge, print; return the exit status."""
    rows = judge(look())
    sys.stdout.write(render(rows))
    return int(any(is_bad(row) for row in rows))


if __name__ == "__main__":
    sys.exit(main())
