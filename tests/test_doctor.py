"""The doctor: verdicts on made-up findings, and the package without detectron2."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from detr_d2 import _requirements, doctor
from detr_d2.doctor import Findings, Package, Row, judge, numbers, probe

ROOT = Path(__file__).resolve().parents[1]

GOOD = {
    "torch": Package("2.14.1+cpu", ("torch",)),
    "torchvision": Package("0.29.1+cpu", ("torchvision",)),
    "detectron2": Package("0.7.2", ("sal-detectron2",), "/env/detectron2/__init__.py"),
    "fvcore": Package("0.1.5", ("fvcore",)),
    "pycocotools": Package("2.0.11", ("pycocotools",)),
    "scipy": Package("1.15.3", ("scipy",)),
    "opencv": Package("4.11.0", ("opencv-python-headless",)),
    "safetensors": Package("0.7.0", ("safetensors",)),
    "numpy": Package("1.26.4", ("numpy",)),
    "hotcoco": Package("1.3.0", ("hotcoco",)),
}
ABSENT = Package(error="ModuleNotFoundError: No module named 'it'")


def rows(python=(3, 11, 7), cuda=None, devices=(), outdated=False, **changed) -> dict[str, Row]:
    """The table for the good environment with these changes, by the name of the row."""
    found = Findings(python, {**GOOD, **changed}, cuda, devices, outdated)
    return {row.name: row for row in judge(found)}


def verdicts(**changed) -> dict[str, str]:
    """The verdicts that the changes lead to, but for "ok" and the note on the GPU."""
    table = rows(**changed)
    return {n: r.verdict for n, r in table.items() if r.verdict != "ok" and n != "CUDA"}


def test_good_environment_has_nothing_to_fix():
    assert verdicts() == {}
    assert [row.fix for row in rows().values() if row.fix] == []
    assert rows()["CUDA"].verdict == "note"
    assert rows(cuda="13.0", devices=("H100",))["CUDA"].found == "torch for CUDA 13.0, H100"


@pytest.mark.parametrize(
    ("version", "verdict"),
    [((3, 9, 18), "wrong"), ((3, 10, 0), "ok"), ((3, 12, 9), "ok"), ((3, 13, 0), "wrong")],
)
def test_python(version, verdict):
    assert rows(python=version)["Python"].verdict == verdict


@pytest.mark.parametrize("name", [name for name in GOOD if name != "hotcoco"])
def test_absent_package_is_missing_and_can_be_installed(name):
    row = rows(**{name: ABSENT})[name]
    assert (row.verdict, row.found) == ("missing", "none")
    assert "-m pip install" in row.fix


def test_without_hotcoco_average_precision_is_only_slower():
    row = rows(hotcoco=ABSENT)["hotcoco"]
    assert (row.verdict, row.found, row.fix) == ("note", "none", "")
    assert "pycocotools" in row.remark


def test_installing_a_package_holds_numpy():
    assert rows(scipy=ABSENT)["scipy"].fix.endswith("pip install scipy numpy==1.26.4")
    fix = rows(opencv=ABSENT)["opencv"].fix
    assert fix.endswith("pip install opencv-python-headless numpy==1.26.4")
    fix = rows(scipy=ABSENT, numpy=ABSENT)["scipy"].fix
    assert fix.endswith("pip install scipy 'numpy<2'")


@pytest.mark.parametrize(("version", "bad"), [("2.2.2", True), ("2.3.0+cu121", False)])
def test_torch_before_2_3_is_wrong(version, bad):
    assert verdicts(torch=Package(version, ("torch",))) == ({"torch": "wrong"} if bad else {})


def test_torchvision_of_another_torch_is_named_as_the_cause():
    broken = Package("0.28.0", ("torchvision",), error="operator torchvision::nms does not exist")
    unloaded = Package("0.7.2", ("sal-detectron2",), error="operator torchvision::nms ...")
    table = rows(torchvision=broken, detectron2=unloaded)
    assert table["torchvision"].verdict == "wrong"
    assert "built for torch 2.14.1+cpu" in table["torchvision"].remark
    remove, install = table["torchvision"].fix.split(" && ")
    assert remove.endswith("pip uninstall -y torch torchvision")
    assert install.endswith("torch.txt")
    assert table["detectron2"].verdict == "wrong"
    assert "fix the others first" in table["detectron2"].remark
    assert table["detectron2"].fix == "", "a new detectron2 would not help"


@pytest.mark.parametrize(
    ("version", "origin", "verdict"),
    [
        ("0.7.2", ("sal-detectron2",), "ok"),
        ("0.6", ("detectron2",), "ok"),
        ("0.7.3", ("sal-detectron2",), "note"),
        ("0.5", ("detectron2",), "note"),
        ("0.6", (), "note"),
        ("0.6", ("detectron2", "sal-detectron2"), "wrong"),
    ],
)
def test_builds_of_detectron2(version, origin, verdict):
    assert rows(detectron2=Package(version, origin, "/x"))["detectron2"].verdict == verdict


def test_two_builds_of_detectron2_are_both_removed():
    both = Package("0.6", ("detectron2", "sal-detectron2"), "/x")
    fix = rows(detectron2=both)["detectron2"].fix
    assert fix.endswith("pip uninstall -y detectron2 sal-detectron2")


def test_an_old_build_of_the_official_source_is_wrong():
    old = Package("0.6", ("detectron2",), "/x")
    row = rows(detectron2=old, outdated=True)["detectron2"]
    assert row.verdict == "wrong"
    assert "facebookresearch/detectron2.git" in row.fix


def test_detectron2_that_lacks_a_package_gets_that_package():
    lacking = Package("0.7.2", ("sal-detectron2",), error="No module named 'yaml'", lacks="yaml")
    fix = rows(detectron2=lacking)["detectron2"].fix
    assert fix.endswith("pip install PyYAML numpy==1.26.4")


def test_detectron2_that_lacks_what_has_its_own_row_waits_for_that():
    lacking = Package(
        "0.7.2", ("sal-detectron2",), error="No module named 'fvcore'", lacks="fvcore"
    )
    table = rows(detectron2=lacking, fvcore=ABSENT)
    assert (table["detectron2"].verdict, table["detectron2"].fix) == ("wrong", "")
    assert table["fvcore"].verdict == "missing"


def test_numpy_2_stops_nobody():
    """sal-detectron2 asks for numpy below 2, but its code runs with it."""
    numpy_2 = Package("2.4.6", ("numpy",))
    assert verdicts(numpy=numpy_2) == {"numpy": "note"}
    assert rows(numpy=numpy_2)["numpy"].fix == ""
    assert "asks for numpy below 2" in rows(numpy=numpy_2)["numpy"].remark
    assert verdicts(numpy=numpy_2, detectron2=Package("0.6", ("detectron2",), "/x")) == {}
    newest = {"opencv": Package("5.0.0", ("opencv-python-headless",))}
    newest |= {"scipy": Package("1.17.1", ("scipy",)), "numpy": numpy_2}
    assert verdicts(**newest) == {"numpy": "note"}


@pytest.mark.parametrize(
    ("version", "expected"),
    [("2.13.0+cpu", (2, 13, 0)), ("0.6", (0, 6)), ("2.1.0rc1", (2, 1)), (None, ())],
)
def test_numbers(version, expected):
    assert numbers(version) == expected


def test_table_lines_up_and_gives_a_shared_command_once():
    text = doctor.render(list(rows(torch=ABSENT, torchvision=ABSENT).values()))
    lines = text.splitlines()
    column = lines[0].index("verdict")
    assert {line[column:] for line in lines[1:12]} <= {"ok", "note", "missing", "wrong"}
    assert text.count("torch.txt") == 1
    assert "To fix torch (missing), torchvision (missing):" in text
    assert "cannot run here yet: torch, torchvision." in text


@pytest.mark.parametrize(("changed", "status"), [({}, 0), ({"scipy": ABSENT}, 1)])
def test_exit_status(monkeypatch, capsys, changed, status):
    monkeypatch.setattr(doctor, "examine", lambda: Findings((3, 11, 7), {**GOOD, **changed}))
    assert doctor.main() == status
    assert "scipy" in capsys.readouterr().out


def test_probe_tells_absent_broken_and_lacking(tmp_path, monkeypatch):
    (tmp_path / "broken_one.py").write_text("raise OSError('libcudart.so.12:\\n not found')")
    (tmp_path / "lacking_one.py").write_text("import absent_one.part")
    monkeypatch.syspath_prepend(tmp_path)
    absent = probe("absent_one", {})
    assert (absent.version, absent.lacks) == (None, None)
    broken = probe("broken_one", {"broken_one": ["pytest"]})
    assert broken.error == "OSError: libcudart.so.12: not found"
    assert broken.version == pytest.importorskip("pytest").__version__
    assert probe("lacking_one", {}).lacks == "absent_one"


def test_this_environment_is_judged_without_fault():
    table = {row.name: row for row in judge(doctor.examine())}
    assert {name for name, row in table.items() if row.verdict in doctor.BAD} == set()
    assert "operators load" in table["torchvision"].found


def run(*arguments: str) -> subprocess.CompletedProcess:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_doctor_runs_without_any_package():
    """-S leaves out site-packages."""
    ran = run("-S", "-m", "detr_d2.doctor")
    assert ran.returncode == 1, ran.stderr
    assert "Traceback" not in ran.stderr
    for name in ("torch", "torchvision", "detectron2", "numpy", "opencv", "pycocotools"):
        assert any(
            line.split()[:2] == [name, "none"] and line.endswith("missing")
            for line in ran.stdout.splitlines()
        ), name


@pytest.mark.parametrize(
    "use", ["from detr_d2 import add_detr_config", "import detr_d2; detr_d2.Predictor"]
)
def test_use_without_detectron2_says_what_to_do(use):
    ran = run("-W", "ignore", "-c", f"import sys; sys.modules['detectron2'] = None; {use}")
    assert ran.returncode == 1
    last = ran.stderr[ran.stderr.rindex("ImportError: ") :]
    assert "-m detr_d2.doctor" in last
    assert "-m pip install" in last
    assert "requirements/detectron2.txt" in last


def test_import_in_a_broken_environment_warns_and_the_doctor_still_starts(tmp_path):
    """A torchvision of another torch raises RuntimeError when its operators are registered."""
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('operator nms does not exist')")
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import runpy; "
    ran = run("-c", program + "runpy.run_module('detr_d2.doctor', run_name='__main__')")
    assert ran.returncode == 1
    assert "RuntimeWarning: detr_d2 cannot be used" in ran.stderr
    assert "torchvision: fails: RuntimeError: operator nms does not exist" in ran.stdout
    assert "Traceback" not in ran.stderr


def test_install_command_takes_the_pinned_file_with_its_hash():
    command = _requirements.detectron2_install_command("/env/bin/python", "/env/site-packages")
    assert command[:4] == ["/env/bin/python", "-m", "pip", "install"]
    assert command[command.index("--target") + 1] == "/env/site-packages"
    assert {"--no-deps", "--require-hashes"} <= set(command)
    assert "--hash=sha256:" in Path(command[-1]).read_text()
