"""YAML of strangers: it never runs code, does not unfold without end, faults name the file."""

from pathlib import Path

import pytest

from detr_d2 import Predictor, model_zoo
from detr_d2.conversion.classes import parse_classes
from detr_d2.engine import command_line
from detr_d2.utils.yaml_files import MOST_VALUES, read_yaml

CODE = [
    "X: !!python/object/apply:os.system ['touch {trace}']",
    "X: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{trace}']]",
    "X: !!python/object/new:subprocess.Popen [['touch', '{trace}']]",
    "X: !!python/name:os.system",
    "X: !!python/tuple [1, 2]",
]
# 9 ** 9 texts, written with 90 aliases.
ALIAS_BOMB = "a0: &a0 [x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
)


def load_for_training(path: Path) -> None:
    command_line.load_config(str(path))


def load_without_running(path: Path) -> None:
    command_line.read_config(str(path))


def load_from_run(path: Path) -> None:
    path.rename(path.with_name("config.yaml"))
    (path.parent / "model_final.pth").write_bytes(b"")
    Predictor.from_run(path.parent)


def load_from_zoo(path: Path) -> None:
    model_zoo.get(path.name)


def load_as_base(path: Path) -> None:
    upper = path.with_name("upper.yaml")
    upper.write_text(f"_BASE_: {path.name}\nSEED: 1\n")
    command_line.load_config(str(upper))


def load_as_second_base_of_a_base(path: Path) -> None:
    path.with_name("harmless.yaml").write_text("SEED: 2\n")
    path.with_name("lower.yaml").write_text(f"_BASE_: [harmless.yaml, {path.name}]\n")
    path.with_name("upper.yaml").write_text("_BASE_: ./lower.yaml\n")
    command_line.load_config(str(path.with_name("upper.yaml")))


def load_classes(path: Path) -> None:
    parse_classes(str(path))


LOADERS = [
    load_for_training,
    load_without_running,
    load_from_run,
    load_from_zoo,
    load_as_base,
    load_as_second_base_of_a_base,
    load_classes,
]


@pytest.fixture
def config(tmp_path, monkeypatch) -> Path:
    """A place for a config, which the model zoo has too."""
    monkeypatch.setattr(model_zoo, "CONFIGS", tmp_path)
    return tmp_path / "doctored.yaml"


@pytest.mark.parametrize("load", LOADERS, ids=lambda load: load.__name__)
@pytest.mark.parametrize("code", CODE, ids=range(len(CODE)))
def test_code_in_a_config_is_never_run(config, load, code):
    trace = config.with_name("trace")
    config.write_text("SEED: 1\n" + code.format(trace=trace))
    with pytest.raises(ValueError, match=r"\.yaml: line 2: the tag !!python/.* is not allowed"):
        load(config)
    assert not trace.exists()


@pytest.mark.parametrize("load", LOADERS, ids=lambda load: load.__name__)
def test_an_alias_bomb_is_rejected(config, load):
    config.write_text(ALIAS_BOMB)
    with pytest.raises(ValueError, match=r"\.yaml: line 1: .*unfold into 1\.\d+e\+09 values"):
        load(config)


def test_a_bomb_of_merged_mappings_is_rejected(config):
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 9)]
    config.write_text("\n".join(lines))
    with pytest.raises(ValueError, match="unfold into"):
        read_yaml(config)


FAULTS = {
    "a: &a [*a]": "line 1: .*an alias holds itself",
    "a: [1, 2": "line 1: not valid YAML",
    "SEED: 1\n  B: 2": "line 2: not valid YAML",
    "[" * 5000: "lists or mappings are nested too deeply",
    "a: \x07": "not valid YAML",
    "a: 2026-99-99": "not valid YAML",
    "? [1, 2]\n: 3": "line 1: not valid YAML",
}


@pytest.mark.parametrize("text", FAULTS, ids=range(len(FAULTS)))
def test_malformed_yaml_is_one_line_that_names_the_file(config, text):
    config.write_text(text)
    with pytest.raises(ValueError, match=rf"doctored\.yaml: {FAULTS[text]}") as raised:
        read_yaml(config)
    assert "\n" not in str(raised.value)


def test_other_encodings_are_named(config):
    config.write_bytes("names: [grün]".encode("latin-1"))
    with pytest.raises(ValueError, match=r"doctored\.yaml: not valid YAML \(.*utf-8"):
        read_yaml(config)


def test_aliases_within_bounds_and_a_byte_order_mark_are_read(config):
    config.write_text("a: &a [1, 2]\nb: {c: *a, d: *a}\n", encoding="utf-8-sig")
    assert read_yaml(config) == {"a": [1, 2], "b": {"c": [1, 2], "d": [1, 2]}}
    config.write_text(f"a: &a {[0] * 999}\nb: [{', '.join(['*a'] * (MOST_VALUES // 1000 - 2))}]\n")
    assert len(read_yaml(config)["b"]) == MOST_VALUES // 1000 - 2


CONFIG_FAULTS = {
    "MODEL: {NO_SUCH: 1}": "Non-existent config key: MODEL.NO_SUCH",
    "MODEL: 5": "MODEL must hold keys, not 5",
    "SEED: many": "SEED",
    "VERSION: [2]": ".+",
    "5": "keys and values, this is 5",
    "": "keys and values, this is None",
    "_BASE_: 7": "_BASE_ is 7; must be the path of a file",
    "_BASE_: https://example.org/a.yaml": "must be the path of a file",
    "_BASE_: doctored.yaml": "does a _BASE_ lead in a circle",
    "_BASE_: [doctored.yaml, doctored.yaml]": "does a _BASE_ lead in a circle",
}


@pytest.mark.parametrize("text", CONFIG_FAULTS, ids=range(len(CONFIG_FAULTS)))
def test_a_config_with_wrong_contents_is_named(config, text):
    config.write_text(text)
    with pytest.raises(ValueError, match=rf"doctored\.yaml: .*({CONFIG_FAULTS[text]})"):
        command_line.read_config(str(config))


def test_a_missing_base_is_named(config):
    config.write_text("_BASE_: gone.yaml")
    with pytest.raises(FileNotFoundError, match=r"gone\.yaml"):
        command_line.read_config(str(config))
