"""`make env`: the search for a Python, and when an environment is kept, redone or left alone."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def make_env(tmp_path, monkeypatch):
    """tools/env/make_env.py, working in an empty folder."""
    spec = importlib.util.spec_from_file_location(
        "make_env", ROOT / "tools" / "env" / "make_env.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    env = tmp_path / ".venv"
    places = {"ENV": env, "PYTHON": env / "bin" / "python", "REQUIREMENTS": tmp_path / "pins"}
    places |= {"BEGUN": env / module.BEGUN.name, "FINISHED": env / module.FINISHED.name}
    for name, path in places.items():
        monkeypatch.setattr(module, name, path)
    module.REQUIREMENTS.mkdir()
    (module.REQUIREMENTS / "runtime.txt").write_text("one==1\n")
    return module


def finish(make_env) -> None:
    """What a whole run leaves behind."""
    make_env.PYTHON.parent.mkdir(parents=True)
    make_env.PYTHON.touch()
    make_env.FINISHED.write_text(make_env.fingerprint())


def test_finished_environment_is_kept(make_env, monkeypatch):
    finish(make_env)
    monkeypatch.setattr(make_env, "build", lambda: pytest.fail("built again"))
    make_env.main()
    assert make_env.PYTHON.exists()


def test_environment_of_other_pins_is_outdated(make_env):
    finish(make_env)
    assert make_env.is_up_to_date()
    (make_env.REQUIREMENTS / "runtime.txt").write_text("one==2\n")
    assert not make_env.is_up_to_date()


def test_moved_environment_is_outdated(make_env, monkeypatch, tmp_path):
    finish(make_env)
    monkeypatch.setattr(make_env, "ROOT", tmp_path / "elsewhere")
    assert not make_env.is_up_to_date()


def test_interrupted_environment_is_removed(make_env):
    finish(make_env)
    make_env.FINISHED.rename(make_env.BEGUN)
    assert not make_env.is_up_to_date()
    make_env.clear()
    assert not make_env.ENV.exists()


def test_environment_made_by_others_is_left_alone(make_env):
    finish(make_env)
    make_env.FINISHED.unlink()
    with pytest.raises(SystemExit, match="was not made by `make env`"):
        make_env.clear()
    assert make_env.PYTHON.exists()


def test_failed_step_leaves_the_environment_unfinished(make_env, monkeypatch):
    monkeypatch.setattr(make_env.venv, "create", lambda path, **_: None)
    monkeypatch.setattr(make_env, "PYTHON", Path("/bin/false"))
    with pytest.raises(SystemExit, match="this step failed"):
        make_env.main()
    assert make_env.BEGUN.exists()
    assert not make_env.FINISHED.exists()


def find_python(path: Path, **variables: str) -> subprocess.CompletedProcess:
    """Run the search with only `path` and the system's shell tools on PATH."""
    tools = path.parent / "shell"
    tools.mkdir(exist_ok=True)
    for tool in ("sh", "head"):
        found = next(p for f in os.environ["PATH"].split(":") if (p := Path(f, tool)).exists())
        (tools / tool).unlink(missing_ok=True)
        (tools / tool).symlink_to(found)
    environment = {"PATH": f"{path}:{tools}", "HOME": str(path), **variables}
    return subprocess.run(
        ["sh", str(ROOT / "tools" / "env" / "find_python.sh")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def script(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_python_that_only_exists_is_passed_over(tmp_path):
    bin_ = tmp_path / "bin"
    script(bin_ / "python3.11", "echo 'python3.11: command not found' >&2; exit 127")
    script(bin_ / "python3", f'exec {sys.executable} "$@"')
    ran = find_python(bin_)
    assert (ran.returncode, ran.stdout.strip()) == (0, sys.executable), ran.stderr


def test_no_usable_python_lists_what_was_looked_at(tmp_path):
    bin_ = tmp_path / "bin"
    script(bin_ / "python3.12", "echo 'python3.12: command not found' >&2; exit 127")
    script(bin_ / "python3", "echo 'is Python 3.13.0' >&2; exit 1")
    ran = find_python(bin_)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "python3.12 does not run: python3.12: command not found" in ran.stderr
    assert "python3 is Python 3.13.0" in ran.stderr
    assert "nothing: no python on PATH" in find_python(tmp_path / "empty").stderr


def test_named_python_is_the_only_one_tried(tmp_path):
    bin_ = tmp_path / "bin"
    script(bin_ / "python3", f'exec {sys.executable} "$@"')
    ran = find_python(bin_, PYTHON="/nonexistent/python")
    assert ran.returncode == 1
    assert re.search(r"/nonexistent/python does not run", ran.stderr)
