"""The documents against the code: links, commands, config keys, messages, and code that runs."""

import argparse
import ast
import re
import runpy
import shlex
import shutil
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from documents import DOCUMENTS, FENCE, ROOT, fenced, named_blocks, text_of
from PIL import Image
from tiny_model import build, tiny_cfg

from detr_d2 import Predictor, add_detr_config, model_zoo, register_dataset
from detr_d2.checkpoint.checkpointer import save_weights
from detr_d2.engine import command_line, setup_job

RUN_HERE = {
    *("own_data.py", "register_mine.py", "use_my_model.py", "register_cracks.py"),
    *("in_five_lines.py", "predict_image.py"),
    *("detectron2_predictor.py", "trace_model.py", "start_wandb.py"),
}
RUN_BY_TEST_REGISTRY = {
    *("my_attention.py", "my_mask_head.py", "my_train.py"),
    *("show_attention.py", "without_config.py"),
}


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


# Links


@pytest.mark.parametrize("path", DOCUMENTS, ids=label)
def test_links_lead_somewhere(path):
    wrong = []
    for link in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", FENCE.sub("", text_of(path))):
        if re.match(r"https?://", link):
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        if not target.exists() or (anchor and anchor not in anchors(text_of(target))):
            wrong.append(link)
    assert wrong == []


def anchors(text: str) -> set[str]:
    """What a link to a heading of this text looks like."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def test_anchors_are_those_of_headings_outside_of_code():
    text = "# A b, c.py\n```sh\n# no heading\n```\n## 9. Few images\n"
    assert anchors(text) == {"a-b-cpy", "9-few-images"}


# Commands


def commands() -> list[tuple[str, str]]:
    """(document, command) for every command line of ours in the documents."""
    found = []
    for path in DOCUMENTS:
        text = text_of(path)
        outside = FENCE.sub("", text)
        code = [*fenced(text, "sh"), *fenced(text, "")]
        code += re.findall(r"^    (.+)$", outside, re.MULTILINE)
        code += re.findall(r"`([^`]+)`", outside)
        lines = [line for block in code for line in block.replace("\\\n", " ").splitlines()]
        found += [(label(path), line.strip()) for line in lines if is_ours(line.strip())]
    return found


def is_ours(line: str) -> bool:
    return line.startswith(("make ", "python tools/", "python datasets/", "python -m detr_d2"))


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our configs, beside those that the documents tell the user to write."""
    root = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "configs", root / "configs")
    for name, text in named_blocks("yaml").items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


class Parsed(Exception):
    """Carries what a tool's argument parser made of the command, in place of running it."""


@pytest.mark.parametrize(("document", "command"), commands(), ids=lambda x: x[:60])
def test_command_names_existing_files_targets_options_and_keys(
    document, command, checkout, monkeypatch
):
    words = shlex.split(command, comments=True)
    if words[0] == "make":
        check_make(words[1:])
    elif words[1] == "-m":
        module = ROOT / words[2].replace(".", "/")
        assert module.with_suffix(".py").is_file() or (module / "__main__.py").is_file()
    else:
        arguments = parse(words[1], words[2:], monkeypatch)
        check_trailing_pair(words, arguments, monkeypatch)
        file = getattr(arguments, "config_file", "")
        if file and not file.startswith("output/"):
            of_ours = checkout / file
            command_line.load_config(str(of_ours) if of_ours.is_file() else file, arguments.opts)
        elif hasattr(arguments, "opts"):
            command_line.load_config("", arguments.opts)


def check_trailing_pair(
    words: list[str], arguments: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No option may swallow a KEY VALUE pair that is appended to the command."""
    if hasattr(arguments, "opts"):
        more = parse(words[1], [*words[2:], "MODEL.DEVICE", "cpu"], monkeypatch)
        assert more.opts == [*arguments.opts, "MODEL.DEVICE", "cpu"]
        assert {**vars(more), "opts": arguments.opts} == vars(arguments)


def check_make(words: list[str]) -> None:
    text = text_of("Makefile")
    targets = set(re.findall(r"^([a-z]+):", text, re.MULTILINE))
    for word in words:
        name, equals, _ = word.partition("=")
        assert f"$({name})" in text if equals else name in targets, word


def parse(script: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> Namespace:
    """Start a script up to its argument parser, whose verdict counts."""
    original = argparse.ArgumentParser.parse_args

    def stop(parser, args=None, namespace=None):
        parser.allow_abbrev = False
        raise Parsed(original(parser, args, namespace))

    if (ROOT / script).is_dir():
        script += "/__main__.py"
    if "parse_args" not in text_of(script):
        assert not arguments, f"{script} takes no arguments"
        return Namespace()
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    monkeypatch.setattr(sys, "argv", [script, *arguments])
    monkeypatch.syspath_prepend(str((ROOT / script).parent))
    with pytest.raises(Parsed) as parsed:
        runpy.run_path(str(ROOT / script), run_name="__main__")
    return parsed.value.args[0]


def test_commands_are_found_in_every_form():
    found = {command for _, command in commands()}
    assert "make demo" in {command.split("#")[0].strip() for command in found}, "indented"
    assert "python -m detr_d2.doctor" in found, "inline"
    assert any("train_net.py" in c and "MODEL.WEIGHTS" in c for c in found), "continued lines"


@pytest.mark.parametrize("command", ["make demmo", "make test VENN=x"])
def test_an_unknown_target_or_variable_of_make_is_seen(command):
    with pytest.raises(AssertionError):
        check_make(command.split()[1:])


def test_an_unknown_option_or_config_key_is_seen(checkout, monkeypatch):
    with pytest.raises(SystemExit):
        parse("tools/train_net.py", ["--evaluate-only"], monkeypatch)
    with pytest.raises(SystemExit):
        parse("tools/train_net.py", ["--eval"], monkeypatch)
    check = test_command_names_existing_files_targets_options_and_keys
    with pytest.raises(AssertionError, match=r"Non-existent key: MODEL\.DETR\.NO_SUCH"):
        check("", "python tools/train_net.py MODEL.DETR.NO_SUCH 1", checkout, monkeypatch)


def test_every_tool_has_its_row():
    rows = [row for row in text_of("tools/README.md").splitlines() if row.startswith("| `")]
    listed = " ".join(row.split("|")[1] for row in rows)
    tools = {path.name for path in (ROOT / "tools").iterdir() if path.suffix in (".py", ".sh")}
    assert {tool for tool in tools if f"`{tool}`" not in listed} == set()


# Config keys and messages


def test_table_of_config_keys_is_that_of_the_code():
    rows = re.findall(
        r"^\| `([A-Z0-9_.]+)` \| `([^`]+)` \|", text_of("docs/ADVANCED_USAGE.md"), re.MULTILINE
    )
    table = {key: ast.literal_eval(default) for key, default in rows}
    assert len(table) == len(rows), "a key twice"
    cfg = get_cfg()
    before = dict(leaves(cfg))
    add_detr_config(cfg)
    added = {key: value for key, value in leaves(cfg) if key not in before}
    assert table == added
    assert {k: type(v) for k, v in table.items()} == {k: type(v) for k, v in added.items()}


def leaves(node: dict, prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in node.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def test_config_keys_in_running_text_exist():
    cfg = get_cfg()
    add_detr_config(cfg)
    names = [key.split(".") for key, _ in leaves(cfg)]
    known = {".".join(parts[:end]) for parts in names for end in range(1, len(parts) + 1)}
    pattern = r"`((?:MODEL|SOLVER|INPUT|TEST|DATASETS|DATALOADER)\.[A-Z0-9_.]+)"
    text = "\n".join(text_of(path) for path in DOCUMENTS)
    assert set(re.findall(pattern, text)) - known == set()


@pytest.mark.parametrize("name", sorted(named_blocks("yaml")))
def test_config_that_the_user_is_told_to_write_loads(checkout, name):
    command_line.load_config(str(checkout / name), [])


def test_messages_that_the_guide_explains_are_those_of_the_code():
    section = text_of("docs/TROUBLESHOOTING.md")
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("|")]
    messages = {message for cell in cells for message in re.findall(r"`([^`]+)`", cell)}
    assert len(messages) > 20
    sources = [p for folder in ("detr_d2", "tools") for p in (ROOT / folder).rglob("*.py")]
    said = "\0".join(
        node.value
        for path in sources
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    assert {message for message in messages if message not in said} == set()


# Code


def test_every_block_of_python_is_run_by_a_test():
    assert set(named_blocks("python")) == RUN_HERE | RUN_BY_TEST_REGISTRY


@pytest.fixture
def mine(tiny_set, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder in which the documents' code runs: the tiny set as mine/ and a tiny config."""
    for split in ("train", "val"):
        shutil.copytree(tiny_set.root / "images", tmp_path / "mine" / split)
        shutil.copytree(tiny_set.root / "panoptic", tmp_path / "mine" / f"panoptic_{split}")
        shutil.copy(tiny_set.json_path, tmp_path / "mine" / f"panoptic_{split}.json")
    monkeypatch.chdir(tmp_path)
    before = [(c, set(c.list())) for c in (DatasetCatalog, MetadataCatalog)]
    yield tmp_path
    for catalog, names in before:
        for name in set(catalog.list()) - names:
            catalog.remove(name)


def small(arch: str) -> dict:
    """A config of one step on the tiny set, in the annotation format of a YAML file."""
    cfg = tiny_cfg(arch)
    cfg.MODEL.DETR.NUM_CLASSES = 0
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MIN_SIZE_TEST = (32,), 32
    cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.MAX_ITER, cfg.SOLVER.STEPS = 2, 1, ()
    cfg.DATALOADER.NUM_WORKERS = 0
    return yaml.safe_load(cfg.dump())


def run(name: str, **replaced: str) -> dict:
    """Run a block of the documents; `replaced` are texts to be exchanged, given by keyword."""
    source = named_blocks("python")[name]
    for old, new in replaced.values():
        assert old in source
        source = source.replace(old, new)
    space = {"__name__": name.removesuffix(".py")}
    exec(compile(source, name, "exec"), space)
    return space


def test_registration_example(mine):
    shutil.copytree("mine/train", "data/mine/images")
    shutil.copytree("mine/panoptic_train", "data/mine/panoptic")
    for split in ("train", "val"):
        shutil.copy("mine/panoptic_train.json", f"data/mine/panoptic_{split}.json")
    run("register_mine.py")
    assert len(DatasetCatalog.get("mine_train")) == len(DatasetCatalog.get("mine_val")) == 3


def test_registration_of_masks(mine, monkeypatch):
    """Five images with a crack each, of which four are for training."""
    monkeypatch.setenv("DETR_D2_CACHE", str(mine / "cache"))
    for folder in ("cracks/images", "cracks/masks"):
        (mine / folder).mkdir(parents=True)
    monkeypatch.chdir(mine / "cracks")
    for number in range(5):
        Image.new("RGB", (24, 16)).save(f"images/{number}.jpg")
        mask = Image.new("L", (24, 16))
        mask.paste(255, (3, 2, 20, 5))
        mask.save(f"masks/{number}.png")
    run("register_cracks.py")
    records = [DatasetCatalog.get(f"cracks_{part}") for part in ("train", "val")]
    assert [len(part) for part in records] == [4, 1]
    assert [s["area"] for s in records[1][0]["segments_info"]] == [51, 24 * 16 - 51]


def test_own_data_example_trains_and_evaluates(mine, monkeypatch):
    cfg = get_cfg()
    add_detr_config(cfg)
    cfg.merge_from_other_cfg(cfg.load_cfg(yaml.safe_dump(small("Detr"))))
    asked = []
    monkeypatch.setattr(
        model_zoo, "get_config", lambda name, trained: asked.append((name, trained)) or cfg
    )
    run("own_data.py")
    assert asked == [("FineTuning/mine_panoptic_R_50.yaml", True)]
    model_zoo.get_config_file(asked[0][0])
    written = {path.name for path in (mine / "output").iterdir()}
    assert {"model_final.pth", "evaluation.json", "config.yaml", "categories.json"} <= written


@pytest.fixture
def trained(mine) -> Path:
    """A finished training in output/mine whose model is sure of class 2, sky, everywhere."""
    paths = [f"mine/{name}" for name in ("val", "panoptic_val", "panoptic_val.json")]
    roots = dict(zip(("image_root", "panoptic_root", "panoptic_json"), paths, strict=True))
    register_dataset("before", **roots)
    (mine / "small.yaml").write_text(yaml.safe_dump(small("PanopticDetr")))
    options = ["DATASETS.TEST", "('before',)", "OUTPUT_DIR", "output/mine"]
    cfg = command_line.load_config("small.yaml", options)
    setup_job(cfg, Namespace())
    model = build(cfg)
    model.box_head.class_embed.bias.data[2] = 20.0
    save_weights("output/mine/model_ema.pth", {"model": model.state_dict()})
    for catalog in (DatasetCatalog, MetadataCatalog):
        catalog.remove("before")
    Image.new("RGB", (24, 16)).save("image.jpg")
    return mine


def test_use_of_ones_own_model(trained, capsys):
    capsys.readouterr()
    found = run("use_my_model.py")
    assert capsys.readouterr().out.splitlines()[-1] == f"sky: 1.00, {24 * 16} pixels"
    assert torch.equal(found["id_map"], torch.ones(16, 24, dtype=torch.int32))


@pytest.mark.parametrize("name", ["in_five_lines.py", "predict_image.py"])
def test_prediction_by_a_model_of_the_zoo(trained, monkeypatch, name):
    """The published weights cannot be downloaded in a test: the trained folder stands for them."""
    asked = []
    ours = Predictor.from_run("output/mine")
    monkeypatch.setattr(Predictor, "from_zoo", lambda path: asked.append(path) or ours)
    run(name)
    assert model_zoo.get_checkpoint_url(asked[0]).startswith("https://")
    assert Image.open("prediction.png").size == (24, 16)


def test_detectron2s_predictor(trained):
    found = run("detectron2_predictor.py", weights=("model_final.pth", "model_ema.pth"))
    id_map, (segment,) = found["outputs"]["panoptic_seg"]
    assert id_map.shape == (16, 24)
    assert (segment["category_id"], segment["isthing"]) == (2, False)


def test_tracing(tmp_path):
    cfg = tiny_cfg()
    cfg.MODEL.DETR.PANOPTIC_ON = False
    path = str(tmp_path / "traced.pt")
    run("trace_model.py")["trace_instances"](build(cfg), torch.zeros(3, 64, 96), path)
    boxes, classes, masks, scores, size = torch.jit.load(path)(torch.ones(3, 64, 96))
    assert boxes.shape == (7, 4) and classes.shape == scores.shape == (7,)
    assert masks.shape == (7, 64, 96) and size.tolist() == [64, 96]


def test_start_of_wandb(monkeypatch):
    """It is not installed here: what is asked of it is looked at."""
    asked = []
    wandb = SimpleNamespace(init=lambda **options: asked.append(options))
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    run("start_wandb.py")
    assert asked == [{"project": "site", "sync_tensorboard": True}]
