import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from detr_d2.data.coco_panoptic import find_png_faults

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def prepare(script):
    return script("prepare_site")


def make(prepare, out, train=3, val=2, **more):
    prepare.prepare_site(out, train=train, val=val, size=(72, 64), workers=1, **more)


def site_paths(out, split):
    return {
        "image_root": out / split,
        "panoptic_root": out / f"panoptic_{split}",
        "panoptic_json": out / f"panoptic_{split}.json",
    }


def snapshot(out):
    return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}


def test_files_agree_with_each_other(prepare, tmp_path, register):
    make(prepare, tmp_path)

    name = register(**site_paths(tmp_path, "train"))
    records = DatasetCatalog.get(name)

    assert [Path(r["file_name"]).name for r in records] == [f"{i:06d}.jpg" for i in range(3)]
    assert [fault for r in records for fault in find_png_faults(r)] == []
    assert Image.open(records[0]["file_name"]).size == (72, 64)
    classes = MetadataCatalog.get(name).thing_classes
    assert classes == ["brick", "pipe", "barrel", "sky", "concrete", "soil"]


def test_neither_count_nor_workers_change_an_image(prepare, tmp_path):
    make(prepare, tmp_path / "a", train=2, val=1)
    prepare.prepare_site(tmp_path / "b", train=4, val=1, size=(72, 64), workers=2)

    a, b = snapshot(tmp_path / "a"), snapshot(tmp_path / "b")

    shared = [name for name in a if name.endswith((".jpg", ".png"))]
    assert len(shared) == 6
    assert all(a[name] == b[name] for name in shared)
    assert a["panoptic_val.json"] == b["panoptic_val.json"]


def test_splits_and_seeds_differ(prepare, tmp_path):
    make(prepare, tmp_path / "a", train=1, val=1)
    make(prepare, tmp_path / "b", train=1, val=1, seed=1)

    a, b = snapshot(tmp_path / "a"), snapshot(tmp_path / "b")

    images = [s[f"{split}/000000.jpg"] for s in (a, b) for split in ("train", "val")]
    assert len(set(images)) == 4


def test_finished_work_is_left_and_other_arguments_start_anew(prepare, tmp_path):
    make(prepare, tmp_path)
    image = tmp_path / "train/000000.jpg"
    image.write_bytes(b"mine")

    make(prepare, tmp_path)
    assert image.read_bytes() == b"mine"

    make(prepare, tmp_path, seed=1)
    assert image.read_bytes() != b"mine"


def test_a_set_stopped_half_way_is_made_again(prepare, tmp_path, monkeypatch):
    make(prepare, tmp_path, seed=1)
    whole = snapshot(tmp_path)

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(prepare, "write_panoptic_json", stop)
        with pytest.raises(KeyboardInterrupt):
            make(prepare, tmp_path)
    # The images are of seed 0 now, the JSON of seed 1: nobody may take this for finished.
    make(prepare, tmp_path, seed=1)

    assert snapshot(tmp_path) == whole


def test_fewer_images_than_before_leave_none_of_the_old(prepare, tmp_path):
    make(prepare, tmp_path, train=3)
    make(prepare, tmp_path, train=2)

    names = [image["file_name"] for image in read(tmp_path / "panoptic_train.json")["images"]]

    assert names == ["000000.jpg", "000001.jpg"]
    assert sorted(p.name for p in (tmp_path / "train").iterdir()) == names
    assert len(list((tmp_path / "panoptic_train").iterdir())) == 2


def read(path):
    return json.loads(path.read_text())


def test_segment_ids_are_distinct_and_never_void(script):
    names = ["brick"] * 300

    ids = script("building_site.split")._segment_ids(np.random.default_rng(0), names)

    assert len(set(ids)) == 300
    assert min(ids) > 0
    # Near the class's colour, 200 60 50.
    assert all(abs(i % 256 - 200) <= 25 and abs(i // 65536 - 50) <= 25 for i in ids)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "160"], "'160' is no size"),
        (["--size", "160x32"], "160x32: each side must be at least 64"),
        (["--val", "-1"], "val -1"),
        (["--things", "brick", "shoe"], "things shoe: allowed are brick, pipe, barrel, crate"),
        (["--masks", "crate"], "masks crate: allowed are brick, pipe, barrel"),
        (["--things", "crate", "--masks", "sky"], "masks sky: allowed are crate"),
    ],
)
def test_wrong_arguments_are_named(prepare, tmp_path, monkeypatch, capsys, arguments, message):
    none = ["--out", str(tmp_path), "--train", "0", "--val", "0"]
    monkeypatch.setattr(sys, "argv", ["prepare_site.py", *none, *arguments])

    with pytest.raises(SystemExit) as caught:
        prepare.main()

    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_the_script_runs_by_itself(tmp_path):
    command = [sys.executable, str(REPOSITORY / "datasets/prepare_site.py"), "--out", str(tmp_path)]
    options = ["--train", "2", "--val", "1", "--size", "80x64", "--workers", "2"]

    done = subprocess.run(
        [*command, *options], capture_output=True, text=True, check=False, cwd=REPOSITORY
    )

    assert done.returncode == 0, done.stderr
    assert len(read(tmp_path / "panoptic_train.json")["annotations"]) == 2
    assert len(read(tmp_path / "panoptic_val.json")["annotations"]) == 1
