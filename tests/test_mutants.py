"""Which changes of the code are tried, with which tests, and how they are counted."""

import importlib
import itertools
from pathlib import Path
from types import SimpleNamespace

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "tools/env"
SOURCE = '''"""A module."""


@cached(size=2)
def area(
    height: int | None,
    width: int = 2,
) -> int | None:
    logger.info("%d", height * 3)
    if (
        height
        < width
    ):
        return (
            height * width
        )
    return sum(a for a, _ in zip(height, width, strict=True))
'''


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("mutants")


@pytest.fixture
def measured(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("measured_tests")


@pytest.mark.parametrize(
    ("line", "column", "length", "harmless"),
    [
        (4, 0, 15, True),  # the decorator
        (6, 16, 1, True),  # int | None
        (7, 17, 1, False),  # the default 2
        (8, 9, 1, True),  # what it returns
        (9, 22, 10, True),  # a message for the log
        (12, 8, 1, False),  # <
        (17, 48, 11, True),  # strict=True of zip
    ],
)
def test_annotations_decorators_and_messages_are_not_changed(tool, line, column, length, harmless):
    start, end = (line, column), (line, column + length)
    assert any(a <= start and end <= b for a, b in tool.harmless_spans(SOURCE)) is harmless


@pytest.mark.parametrize(
    ("line", "lines"), [(12, (10, 13)), (15, (14, 16)), (17, (17, 17)), (7, (5, 8)), (2, (2, 2))]
)
def test_a_change_belongs_to_its_whole_statement(tool, line, lines):
    assert tool.statement_lines(SOURCE, line) == lines


def test_the_test_of_the_modules_name_is_tried_first_then_the_fastest(measured):
    seconds = {"tests/a/test_slow.py": 9.0, "tests/a/test_m.py": 5.0, "tests/a/test_fast.py": 1.0}
    slow, own, fast = seconds
    lines = {"detr_d2/a/m.py": {1: [], 3: [fast, own], 4: [own], 7: [fast]}}
    found = measured.Measured(lines, seconds)
    assert found.related("detr_d2/a/m.py", 3, 4) == [own, fast]
    assert found.related("detr_d2/a/m.py", 7, 7) == [fast]
    # What runs at import: all tests of the file.
    assert found.related("detr_d2/a/m.py", 1, 2) == [own, fast]
    # What no test executes itself.
    assert found.related("detr_d2/a/m.py", 9, 9) == [own, fast, slow]
    assert found.related("detr_d2/a/other.py", 1, 9) == [fast, own, slow]


@pytest.mark.parametrize(
    ("body", "seconds", "expected"),
    [("assert 1", 60, 0), ("assert 0", 60, 1), ("__import__('time').sleep(60)", 1, None)],
)
def test_tests_pass_fail_or_take_too_long(measured, tmp_path, monkeypatch, body, seconds, expected):
    (tmp_path / "test_it.py").write_text(f"def test_it():\n    {body}\n")
    monkeypatch.chdir(tmp_path)
    assert measured.run_tests(["test_it.py", "-p", "no:cacheprovider"], seconds) == expected


@pytest.fixture
def code(tool, tmp_path, monkeypatch):
    """Ten changes of a file that adds ten numbers: each makes one of them negative."""
    monkeypatch.chdir(tmp_path)
    path = Path("m.py")
    path.write_text("x = 0 + 1 + 2 + 3 + 4 + 5 + 6 + 7 + 8 + 9\n")

    def changed_code(spec):
        number = spec.occurrence
        # One of them is no Python.
        return None if number == 5 else path.read_text().replace(f"{number}", f"-{number}")

    monkeypatch.setattr(tool, "changed_code", changed_code)
    specs = [
        SimpleNamespace(module_path=path, start_pos=(1, 4 * n), occurrence=n) for n in range(10)
    ]
    monkeypatch.setattr(tool, "possible_changes", lambda part: [(part, spec) for spec in specs])
    return path


def numbers(changes):
    return [spec.occurrence for _, spec in changes]


def test_a_seed_chooses_changes_that_are_code(tool, code):
    found = list(tool.possible_changes("ops"))
    assert numbers(tool.choose(found, 4, 1)) == numbers(tool.choose(found, 4, 1))
    assert numbers(tool.choose(found, 4, 1)) != numbers(tool.choose(found, 4, 2))
    assert sorted(numbers(tool.choose(found, 100, 0))) == [0, 1, 2, 3, 4, 6, 7, 8, 9]


def test_changes_are_counted_and_the_code_is_as_before(tool, code, measured, monkeypatch, capsys):
    before = code.read_text()
    found = measured.Measured({"m.py": {1: ["test_m.py"]}}, {"test_m.py": 2.0})
    monkeypatch.setattr(tool, "measure", lambda tests: found)
    tried = []

    def run_tests(tests, seconds):
        tried.append((tests, seconds, code.read_text() != before))
        # Noticed by a failure, by none, and by the time.
        return next(outcomes)

    outcomes = itertools.cycle([1, 0, None])
    monkeypatch.setattr(tool, "run_tests", run_tests)
    assert tool.run_parts(["ops"], 6, 0) == (6, 4)
    assert tried == [(["test_m.py"], 38.0, True)] * 6
    assert code.read_text() == before
    shown = capsys.readouterr().out
    assert (
        shown.count("tried with test_m.py") == 2
        and "ops: 4 of 6 noticed, 2 of them by the time" in shown
    )


def test_tests_that_fail_without_a_change_are_an_error(tool, code, monkeypatch, capsys):
    """Else all changes would count as noticed."""
    monkeypatch.setattr(tool, "measure", lambda tests: None)
    Path("pytest.log").write_text("FAILED test_it")
    assert tool.run_parts(["ops"], 6, 0) == (0, 0)
    shown = capsys.readouterr().err
    assert "FAILED test_it" in shown and "ops: its tests fail without a change" in shown


def test_an_unknown_part_is_named(tool, capsys):
    assert tool.main(["oops"]) == 2
    assert "unknown parts ['oops']" in capsys.readouterr().err
