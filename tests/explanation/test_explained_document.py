"""docs/EXPLAINED.md says what the page says, and names code that exists."""

import ast
import re

import pytest
from detectron2.modeling import build_model
from documents import ROOT, text_of

from detr_d2.engine import command_line
from detr_d2.explanation.facts import batch_shapes
from detr_d2.explanation.questions import MISUNDERSTANDINGS, QUESTIONS

DOCUMENT = "docs/EXPLAINED.md"
PLAIN = " ".join(text_of(DOCUMENT).split())


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda q: q.id)
def test_every_question_is_a_heading_with_the_pages_answer(question):
    section = re.split(r"^## \d\. ", text_of(DOCUMENT), flags=re.MULTILINE)
    found = [part for part in section if part.startswith(question.title)]
    assert len(found) == 1
    plain = " ".join(found[0].split())
    assert question.answer in plain
    assert re.search(r"`detr_d2/[\w/]+\.py::\w", plain), "names the code"


def test_every_misunderstanding_is_answered_as_on_the_page():
    missing = [m.id for m in MISUNDERSTANDINGS if f"| {m.said} | {m.fact} |" not in PLAIN]
    assert missing == []


def symbols(tree: ast.AST, prefix: str = "") -> set[str]:
    """Functions, classes and methods of a source, dotted."""
    found = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found |= {prefix + node.name} | symbols(node, f"{prefix}{node.name}.")
    return found


def test_code_that_is_named_exists():
    named = re.findall(r"`([\w/]+\.py)::([\w.]+)`", text_of(DOCUMENT))
    assert len(named) > 20
    wrong = [
        f"{file}::{symbol}"
        for file, symbol in named
        if symbol not in symbols(ast.parse((ROOT / file).read_text(encoding="utf-8")))
    ]
    assert wrong == []


def test_the_shape_table_is_what_the_model_does():
    config = ROOT / "configs/COCO-PanopticSegmentation/detr_panoptic_R_50_25ep.yaml"
    opts = ["MODEL.WEIGHTS", "", "MODEL.DEVICE", "cpu", "DATASETS.TRAIN", "()"]
    cfg = command_line.read_config(
        str(config), [*opts, "DATASETS.TEST", "()", "MODEL.DETR.NUM_CLASSES", "250"]
    )
    shapes = batch_shapes(build_model(cfg).eval(), [(873, 1000), (800, 1060)])
    table = re.findall(r"^\| ([\w ,]+) \| ([\d x]+) \|$", text_of(DOCUMENT), re.MULTILINE)
    assert table == shapes
