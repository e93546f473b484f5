"""Which changes of the code are tried, and how they are counted; cosmic-ray itself is not run."""

import importlib.util
import random
import sqlite3
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[1] / "tools/env/mutants.py"
# Two changes of each of ten files, and one that no test can notice.
SPECS = [(f"m{n}.py", "core/NumberReplacer", occurrence) for n in range(10) for occurrence in "01"]
SPECS += [("m0.py", "core/ReplaceBinaryOperator_BitOr_Add", "0")]


@pytest.fixture
def tool():
    spec = importlib.util.spec_from_file_location("mutants", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_session(path, order):
    """A session as cosmic-ray writes it, in the order that it has found the files."""
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE work_items (job_id)")
        database.execute(
            "CREATE TABLE mutation_specs "
            "(module_path, operator_name, operator_args, occurrence, job_id)"
        )
        database.execute("CREATE TABLE work_results (test_outcome, diff, job_id)")
        specs = list(SPECS)
        random.Random(order).shuffle(specs)
        for name, operator, occurrence in specs:
            job = f"{order} {name} {operator} {occurrence}"
            database.execute("INSERT INTO work_items VALUES (?)", [job])
            values = [name, operator, "{}", occurrence, job]
            database.execute("INSERT INTO mutation_specs VALUES (?, ?, ?, ?, ?)", values)
    return path


def left(session):
    with sqlite3.connect(session) as database:
        query = "SELECT module_path, operator_name, occurrence FROM mutation_specs"
        specs = database.execute(query).fetchall()
        (items,) = database.execute("SELECT count(*) FROM work_items").fetchone()
    assert items == len(specs)
    return set(specs)


def test_a_seed_chooses_the_same_changes_in_any_order_of_the_files(tool, tmp_path):
    chosen = []
    for number, seed in enumerate((0, 0, 1)):
        sessions = {
            part: write_session(tmp_path / f"{number}{part}", f"{number}{part}") for part in "ab"
        }
        counts = tool.choose(sessions, 12, seed)
        found = {part: left(session) for part, session in sessions.items()}
        assert counts == {part: len(specs) for part, specs in found.items()}
        assert sum(counts.values()) == 12
        chosen.append(found)
    assert chosen[0] == chosen[1] != chosen[2]
    assert "core/ReplaceBinaryOperator_BitOr_Add" not in str(chosen)


def test_more_than_there_are_is_all(tool, tmp_path):
    session = write_session(tmp_path / "all", "all")
    assert tool.choose({"a": session}, 100, 0) == {"a": 20}
    assert len(left(session)) == 20


def test_what_could_not_be_tried_counts_neither_way(tool, tmp_path):
    session = write_session(tmp_path / "done", "done")
    rows = [("KILLED", "a", 1), ("SURVIVED", "b", 2), ("INCOMPETENT", None, 3), (None, None, 4)]
    with sqlite3.connect(session) as database:
        database.executemany("INSERT INTO work_results VALUES (?, ?, ?)", [*rows, rows[0]])
    assert tool.outcomes(session) == (2, ["b"])


def test_tests_that_fail_without_a_change_are_an_error(tool, monkeypatch, capsys, tmp_path):
    """Else all changes would count as noticed."""
    monkeypatch.setattr(tool, "prepare", lambda folder, part: write_session(tmp_path / part, part))
    monkeypatch.setattr(tool.shutil, "copytree", lambda *_: None)
    monkeypatch.setattr(tool.shutil, "copyfile", lambda *_: None)
    commands = []
    monkeypatch.setattr(tool, "run", lambda folder, *words, **_: commands.append(words[0]) or 1)
    assert tool.main(["ops", "--count", "4"]) == 2
    assert commands == ["baseline"]
    assert "ops: its tests fail without a change" in capsys.readouterr().err
