"""The command detr-d2: in the checkout, and installed into an environment of its own."""

import ast
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from detr_d2 import cli

ROOT = Path(__file__).resolve().parents[1]


def test_every_tool_has_a_command():
    tools = {path.stem for path in (ROOT / "tools").glob("*.py")}
    assert set(cli.COMMANDS.values()) == tools


def test_help_lists_every_command_with_what_it_does(capsys):
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    for command, tool in cli.COMMANDS.items():
        tree = ast.parse((ROOT / "tools" / f"{tool}.py").read_text())
        summary = ast.get_docstring(tree).splitlines()[0]
        assert any(line.split(maxsplit=1) == [command, summary] for line in text.splitlines())


def test_without_a_known_command_the_status_is_2(capsys):
    assert cli.main([]) == 2
    assert "usage: detr-d2 COMMAND" in capsys.readouterr().err
    assert cli.main(["trian"]) == 2
    assert "did you mean 'train'?" in capsys.readouterr().err


def test_a_command_is_its_tool_with_the_arguments(monkeypatch):
    class Replaced(Exception):
        """This process would be another program from here on."""

    def replace(program, words):
        raise Replaced(program, words)

    monkeypatch.setattr(os, "execv", replace)
    with pytest.raises(Replaced) as ended:
        cli.main(["convert", "labelme", "--help"])
    tool = str(ROOT / "tools/convert_masks.py")
    assert ended.value.args == (sys.executable, [sys.executable, tool, "labelme", "--help"])


def test_installed_without_the_checkout(tmp_path):
    """As `pip install .` does it, in an environment that sees this one's packages."""
    pytest.importorskip("setuptools")
    command = [sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "env")]
    subprocess.run(command, check=True, capture_output=True)
    python = tmp_path / "env/bin/python"
    ours = sysconfig.get_paths()["purelib"]
    site = next((tmp_path / "env/lib").glob("python*/site-packages"))
    (site / "theirs.pth").write_text(f"{ours}\n")
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps"]
    install += ["--no-build-isolation", "--ignore-installed", "--no-index", "."]
    source = copied_source(tmp_path / "source")
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    subprocess.run(install, cwd=source, check=True, capture_output=True, env=clean)

    def run(*words):
        script = str(tmp_path / "env/bin/detr-d2")
        return subprocess.run(
            [script, *words], cwd=tmp_path, capture_output=True, text=True, env=clean, check=False
        )

    assert (site / "detr_d2/tools/convert_masks.py").is_file()
    (tmp_path / "empty").mkdir()
    guessed = run("convert", "guess", "empty")
    assert guessed.returncode == 2, guessed.stderr
    assert "no format recognized" in guessed.stdout


def copied_source(folder):
    """The tracked files, so that the build leaves nothing in the checkout."""
    import shutil

    skipped = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("detr_d2", "configs", "requirements", "tools"):
        shutil.copytree(ROOT / name, folder / name, ignore=skipped)
    for name in ("setup.py", "pyproject.toml", "README.md", "MANIFEST.in", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    return folder
