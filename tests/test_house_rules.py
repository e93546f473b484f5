"""The house rules of CONTRIBUTING.md that a program can check, read from the source text."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "detr_d2"
SOURCES = sorted(PACKAGE.rglob("*.py"))
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))

# What each part of the package may import of the package, besides itself. A dotted name allows
# that one module only.
LAYERS = {
    "ops": set(),
    "utils": set(),
    "compat": set(),
    "config": set(),
    "_requirements": set(),
    "doctor": {"_requirements"},
    "data": {"ops", "utils", "compat"},
    "modeling": {"ops", "compat"},
    "visualization": {"ops", "utils", "compat"},
    "evaluation": {"ops", "utils", "compat"},
    "checkpoint": {"ops", "utils", "compat"},
    "conversion": {"ops", "utils", "data"},
    "validation": {"ops", "utils", "data", "conversion"},
    # The one function on top of data and conversion.
    "register": {"data", "conversion"},
    "model_zoo": {"config", "checkpoint", "utils"},
    # The trainer is where the parts meet: it feeds what the mapper makes and calls the evaluators.
    "engine": {
        *("ops", "utils", "compat", "config", "checkpoint", "evaluation", "visualization"),
        *("data.mapper", "data.categories", "data.coco_writer", "data.image_ids"),
        *("register", "model_zoo"),
    },
    # A trained model makes data here.
    "pseudo_labels": {"ops", "utils", "data", "conversion", "visualization", "engine"},
    "annotation_export": {"ops", "utils", "data"},
    "demo": {"ops", "utils", "data", "annotation_export", "visualization", "engine"},
    # Looks into the model, so it knows its parts.
    "explanation": {"ops", "utils", "modeling", "visualization", "engine"},
    "export": {"utils", "modeling", "evaluation", "engine"},
    "cli": {"doctor"},
    "__init__": {"_requirements", "config", "register", "modeling", "engine.Predictor"},
}
# Packages from outside that a part may import; the parts not named here may import any.
OUTSIDE = {
    "ops": {"torch", "torchvision", "numpy", "cv2", "PIL", "pycocotools"},
    "config": {"detectron2.config"},
    "_requirements": set(),
}
# Packages that come with every detectron2, so that the doctor need not look for them.
COMES_WITH_DETECTRON2 = {"PIL", "matplotlib", "tabulate", "termcolor", "iopath", "yaml", "tqdm"}
COMES_WITH_TORCH = {"typing_extensions"}
# Packages of requirements/onnx.txt, which the export asks for by name.
FOR_EXPORT = {"onnx", "onnxscript", "onnxruntime"}


def part_of(path: Path) -> str:
    """The key of LAYERS for a file: the folder below detr_d2, or the file itself."""
    relative = path.relative_to(PACKAGE)
    return relative.parts[0].removesuffix(".py")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=name_of(path))


def imports(path: Path, tree: ast.AST) -> Iterator[str]:
    """Absolute dotted names of all that a file imports: modules, or names out of modules."""
    package = list(path.relative_to(ROOT).parent.parts)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def is_within(name: str, allowed: str) -> bool:
    return name == allowed or name.startswith(allowed + ".")


def test_imports_inside_the_package_run_only_downwards():
    wrong = []
    for path in SOURCES:
        part = part_of(path)
        assert part in LAYERS, f"{name_of(path)}: add {part!r} to LAYERS and to CONTRIBUTING.md"
        allowed = [f"detr_d2.{name}" for name in {part, *LAYERS[part]}]
        for name in imports(path, parse(path)):
            if is_within(name, "detr_d2") and not any(is_within(name, a) for a in allowed):
                wrong.append(f"{name_of(path)} imports {name}")
            if name.split(".")[0] in ("tools", "tests", "datasets"):
                wrong.append(f"{name_of(path)} imports {name}")
    assert wrong == []


def test_imports_from_outside():
    wrong = []
    for path in SOURCES:
        allowed = OUTSIDE.get(part_of(path))
        for name in imports(path, parse(path)):
            top = name.split(".")[0]
            if allowed is None or top == "detr_d2" or top in sys.stdlib_module_names:
                continue
            if not any(is_within(name, a) for a in allowed):
                wrong.append(f"{name_of(path)} imports {name}")
    assert wrong == []


def test_model_reads_of_the_data_side_only_the_metadata_catalog():
    wrong = [
        f"{name_of(path)} imports {name}"
        for path in SOURCES
        if part_of(path) == "modeling"
        for name in imports(path, parse(path))
        if is_within(name, "detectron2.data") and name != "detectron2.data.MetadataCatalog"
    ]
    assert wrong == []


def test_doctor_starts_with_the_standard_library_alone():
    """Module level only: inside functions it may import what it has found."""
    wrong = [
        f"{name_of(path)} imports {name}"
        for path in SOURCES
        if part_of(path) in ("doctor", "_requirements")
        for node in parse(path).body
        for name in imports(path, ast.Module([node], []))
        if not isinstance(node, ast.FunctionDef)
        and name.split(".")[0] not in {*sys.stdlib_module_names, "detr_d2"}
    ]
    assert wrong == []


def test_doctor_knows_every_package_that_is_imported():
    from detr_d2.doctor import PROBES

    known = {module.split(".")[0] for module in PROBES.values()}
    known |= COMES_WITH_DETECTRON2 | COMES_WITH_TORCH | FOR_EXPORT
    unknown = {
        f"{name_of(path)} imports {name}"
        for path in SOURCES
        for name in imports(path, parse(path))
        if name.split(".")[0] not in {*sys.stdlib_module_names, *known, "detr_d2"}
    }
    assert unknown == set()


def test_tools_import_detr_d2_before_detectron2():
    """Only then does it silence a warning that everybody would see (tools/ruff.toml)."""
    wrong = []
    for path in sorted([*ROOT.glob("tools/**/*.py"), *ROOT.glob("datasets/**/*.py")]):
        tops = [name.split(".")[0] for node in parse(path).body for name in imports(path, node)]
        if "detectron2" in tops and "detr_d2" not in tops[: tops.index("detectron2")]:
            wrong.append(name_of(path))
    assert wrong == []


def test_what_one_build_of_detectron2_lacks_is_used_in_compat_only():
    """The compiled operators: a build from source has them, the wheel of the index mostly not."""
    compiled = {"DeformConv", "ModulatedDeformConv", "ROIAlignRotated", "RotatedBoxes"}
    compiled |= {"nms_rotated", "batched_nms_rotated", "pairwise_iou_rotated"}
    wrong = [
        f"{name_of(path)} imports {name}"
        for path in SOURCES
        if part_of(path) != "compat"
        for name in imports(path, parse(path))
        if is_within(name, "detectron2._C")
        or (is_within(name, "detectron2") and name.split(".")[-1] in compiled)
    ]
    assert wrong == []


def test_every_module_function_and_class_says_what_it_is():
    """Those with a leading underscore are free, and so are methods that Detectron2 documents."""
    framework = {"from_config", "before_train", "after_train", "before_step", "after_step"}
    wrong = []
    for path in SOURCES:
        tree = parse(path)
        if ast.get_docstring(tree) is None:
            wrong.append(f"{name_of(path)}: no docstring of the module")
        for scope, node in public_definitions(tree):
            if ast.get_docstring(node) is None and not (scope and node.name in framework):
                wrong.append(f"{name_of(path)}:{node.lineno} {scope}{node.name}: no docstring")
    assert wrong == []


def public_definitions(
    tree: ast.Module,
) -> Iterator[tuple[str, ast.FunctionDef | ast.ClassDef]]:
    """Public functions and classes at module level, and public methods of public classes."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield "", node
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for member in node.body:
                if isinstance(member, ast.FunctionDef) and not member.name.startswith("_"):
                    yield f"{node.name}.", member


def is_compiled_by_onnxscript(function: ast.FunctionDef) -> bool:
    """Annotations of such a function are types of ONNX tensors, not of Python."""
    return any("onnxscript.script" in ast.unparse(d) for d in function.decorator_list)


def test_every_function_is_fully_annotated():
    wrong = []
    for path in SOURCES:
        for node in ast.walk(parse(path)):
            if not isinstance(node, ast.FunctionDef) or is_compiled_by_onnxscript(node):
                continue
            arguments = node.args
            listed = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
            listed += [a for a in (arguments.vararg, arguments.kwarg) if a]
            bare = [a.arg for a in listed if a.annotation is None and a.arg not in ("self", "cls")]
            bare += [] if node.returns else ["the result"]
            if bare:
                wrong.append(f"{name_of(path)}:{node.lineno} {node.name}: {', '.join(bare)}")
    assert wrong == []


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_nothing_is_printed_swallowed_or_loaded_unsafely(path):
    wrong = []
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            wrong.append(f"line {node.lineno}: bare except")
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called == "print":
            wrong.append(f"line {node.lineno}: print")
        if called.startswith("sys.path."):
            wrong.append(f"line {node.lineno}: {called}")
        if called == "torch.load" and "weights_only=True" not in map(ast.unparse, node.keywords):
            wrong.append(f"line {node.lineno}: torch.load without weights_only=True")
    assert wrong == []


def test_every_config_key_that_we_add_is_read():
    unread = added_config_keys() - keys_read()
    assert unread == set()


def added_config_keys() -> set[str]:
    """Dotted names of the leaves that add_detr_config adds to Detectron2's config."""
    from detectron2.config import get_cfg

    from detr_d2.config import add_detr_config

    cfg = get_cfg()
    before = set(leaves(cfg))
    add_detr_config(cfg)
    return set(leaves(cfg)) - before


def leaves(node: dict, prefix: str = "") -> Iterator[str]:
    for key, value in node.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def keys_read() -> set[str]:
    """Dotted config keys read in the package (but for config.py) and in the tools."""
    files = [path for path in SOURCES if path != PACKAGE / "config.py"]
    files += sorted((ROOT / "tools").glob("*.py"))
    return {key for path in files for key in keys_read_in(ast.parse(path.read_text()))}


def keys_read_in(tree: ast.AST) -> set[str]:
    """Keys that a source reads as cfg.A.B, or as short.B after short = cfg.A."""
    short = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and is_config(node.value):
            short |= {t.id: ast.unparse(node.value) for t in node.targets if hasattr(t, "id")}
    keys = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            first, _, rest = ast.unparse(node).partition(".")
            whole = f"{short.get(first, first)}.{rest}"
            keys.add(whole.removeprefix("self.").removeprefix("cfg."))
    return keys


def is_config(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and ast.unparse(node).startswith(("cfg.", "self.cfg."))


def test_reading_a_key_is_seen_directly_and_through_a_short_name():
    source = "def f(cfg):\n    detr = cfg.MODEL.DETR\n    cfg.A.C = 1\n    g(detr.X.Y, cfg.A.B)"
    keys = keys_read_in(ast.parse(source))
    assert {"MODEL.DETR.X.Y", "A.B"} <= keys
    assert "A.C" not in keys, "written, not read"


class UniqueKeyLoader(yaml.SafeLoader):
    """A YAML reader that refuses a key given twice, of which the first is otherwise lost."""

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise ValueError(f"line {node.start_mark.line + 1}: {twice} given twice")
        return super().construct_mapping(node, deep)


@pytest.mark.parametrize("path", CONFIGS, ids=name_of)
def test_no_config_file_gives_a_key_twice(path):
    yaml.load(path.read_text(), UniqueKeyLoader)


def test_a_key_given_twice_would_be_seen():
    with pytest.raises(ValueError, match=r"line 2: \['B'\] given twice"):
        yaml.load("A:\n  B: 1\n  C: 2\n  B: 3\n", UniqueKeyLoader)


def test_import_registers_models_and_no_data_set():
    program = """
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import META_ARCH_REGISTRY
before = set(DatasetCatalog.list()), set(MetadataCatalog.list())
import detr_d2, detr_d2.register, detr_d2.data.mapper
assert (set(DatasetCatalog.list()), set(MetadataCatalog.list())) == before
assert "Detr" in META_ARCH_REGISTRY and "PanopticDetr" in META_ARCH_REGISTRY
assert all(hasattr(detr_d2, name) for name in detr_d2.__all__)
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stderr
