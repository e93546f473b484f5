"""The site's further thing, `crate`, the choice of things, and masks of some classes only."""

import importlib
import json
from collections import Counter

import cv2
import numpy as np
import pytest

from detr_d2.ops.panoptic_ids import read_ids

convert_masks = importlib.import_module("convert_masks")

CRATE, BRICK = 40, 20


@pytest.fixture
def prepare(script):
    return script("prepare_site")


def make(prepare, out, train=4, val=0, **more):
    prepare.prepare_site(out, train=train, val=val, size=(80, 64), workers=1, **more)


def read(path):
    return json.loads(path.read_text())


def ground_truth_of(panoptic, json_path, category):
    """Masks of one category, as bytes, by image stem: {"000000": [mask, ...]}."""
    found = {}
    for entry in read(json_path)["annotations"]:
        ids = read_ids(panoptic / entry["file_name"])
        wanted = [s["id"] for s in entry["segments_info"] if s["category_id"] == category]
        stem = entry["file_name"].rsplit(".", 1)[0]
        found[stem] = sorted((ids == i).tobytes() for i in wanted)
    return found


def test_the_longer_side_of_a_crate_is_its_scale_and_it_is_one_piece(script):
    rng, light = np.random.default_rng(0), np.array([0.3, -0.5, 0.8])
    for scale in (60.0, 90.0, 140.0):
        for _ in range(10):
            patch = script("building_site.crate").render_crate(rng, scale, light)
            rows, cols = np.nonzero(patch.mask)
            longest = max(np.ptp(rows), np.ptp(cols)) + 1
            # A tilted crate's box is larger, a lid that narrows to the back leaves a corner out.
            assert 0.9 * scale < longest < 1.25 * scale
            assert cv2.connectedComponents(patch.mask.view(np.uint8))[0] == 2
            assert patch.color.shape == (*patch.mask.shape, 3)
            assert patch.color.dtype == np.float32


def test_wood_is_less_red_than_brick(script):
    rng, light = np.random.default_rng(0), np.array([0.3, -0.5, 0.8])

    def green_to_red(renderer):
        patches = [
            script("building_site.things").RENDERERS[renderer](rng, 80.0, light) for _ in range(20)
        ]
        means = [patch.color[patch.mask].mean(axis=0) for patch in patches]
        return [green / red for red, green, _ in means]

    assert min(green_to_red("crate")) > max(green_to_red("brick"))


def test_a_name_given_twice_comes_twice_as_often(script):
    scene = script("building_site.scene")
    rng, light = np.random.default_rng(0), np.array([0.0, -0.6, 0.8])

    names = [
        scene._propose(rng, light, (64, 80), 0.5, 0.5, ("crate", "brick", "crate")).name
        for _ in range(600)
    ]

    assert set(names) == {"crate", "brick"}
    assert names.count("crate") / 600 == pytest.approx(2 / 3, abs=0.06)


def test_only_the_chosen_things_are_made_and_listed(prepare, tmp_path):
    make(prepare, tmp_path, things=["crate", "brick"])

    content = read(tmp_path / "panoptic_train.json")
    names = {c["id"]: c["name"] for c in content["categories"]}
    made = {s["category_id"] for a in content["annotations"] for s in a["segments_info"]}

    assert sorted(names.values()) == ["brick", "concrete", "crate", "sky", "soil"]
    assert names[CRATE] == "crate"
    assert {CRATE, BRICK} <= made <= set(names)


def test_a_set_made_before_things_could_be_chosen_is_up_to_date(script):
    settings = script("building_site.split").SplitSettings("here", 1, 9, 80, 64, 5)

    # As the first version wrote beside its images.
    before = '{"out": "", "split": 1, "count": 9, "width": 80, "height": 64, "seed": 5'
    assert settings.fingerprint() == json.loads(before + ', "drawing_version": 1}')


@pytest.mark.parametrize(
    "other", [{"things": ("pipe", "brick")}, {"masks": ("pipe",)}, {"things": ("pipe", "pipe")}]
)
def test_other_things_or_masks_start_anew_and_the_same_do_not(prepare, tmp_path, other):
    make(prepare, tmp_path, train=1, things=("pipe",))
    mark = tmp_path / "train/000000.jpg"
    mark.write_bytes(b"mine")

    make(prepare, tmp_path, train=1, things=("pipe",))
    assert mark.read_bytes() == b"mine"

    make(prepare, tmp_path, train=1, **{"things": ("pipe",), **other})
    assert mark.read_bytes() != b"mine"
    made = mark.read_bytes()
    mark.write_bytes(b"mine")
    make(prepare, tmp_path, train=1, **{"things": ("pipe",), **other})
    assert mark.read_bytes() == b"mine"
    assert made.startswith(b"\xff\xd8")


def test_masks_are_numbered_by_class_and_black_or_white(script, tmp_path):
    ids = np.array([[7, 7, 9], [8, 0, 9]], np.int32)
    names = {9: "crate", 7: "crate", 8: "pipe", 5: "crate"}

    script("building_site.masks").write_masks(tmp_path, "000003", ids, names, {"crate"})

    first = cv2.imread(str(tmp_path / "000003_crate_1.png"), cv2.IMREAD_UNCHANGED)
    second = cv2.imread(str(tmp_path / "000003_crate_2.png"), cv2.IMREAD_UNCHANGED)
    assert first.tolist() == [[0, 0, 255], [0, 0, 255]]
    assert second.tolist() == [[255, 255, 0], [0, 0, 0]]
    assert first.dtype == np.uint8
    assert not list(tmp_path.glob("*pipe*"))


def test_masks_leave_the_images_and_the_ground_truth_as_they_are(prepare, tmp_path):
    make(prepare, tmp_path / "a", things=["crate", "pipe"])
    make(prepare, tmp_path / "b", things=["crate", "pipe"], masks=["crate"])

    files = [p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("[!.]*.*")]
    assert len(files) == 9
    assert all(
        (tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files
    )


def test_masks_of_an_earlier_set_are_removed_but_no_others(prepare, tmp_path):
    crates = {"things": ["crate"], "masks": ["crate"]}
    folder = tmp_path / "masks_train"
    make(prepare, tmp_path, train=4, **crates)
    make(prepare, tmp_path, train=2, seed=1, **crates)
    ground_truth = ground_truth_of(
        tmp_path / "panoptic_train", tmp_path / "panoptic_train.json", CRATE
    )
    counts = Counter(p.name.split("_")[0] for p in folder.iterdir())
    assert counts == {stem: len(masks) for stem, masks in ground_truth.items()}
    assert set(counts) == {"000000", "000001"}

    (folder / "note.txt").write_text("mine")
    make(prepare, tmp_path, train=2, seed=1, things=["crate"])
    assert [p.name for p in folder.iterdir()] == ["note.txt"]


def test_without_masks_there_is_no_folder_and_with_masks_one_even_if_empty(
    prepare, tmp_path, script
):
    make(prepare, tmp_path, train=1)
    assert not (tmp_path / "masks_train").exists()

    # Image 0 of this seed holds no crate.
    one = {"train": 1, "seed": seed_without_crates(script), "things": ["crate", "pipe"]}
    make(prepare, tmp_path, masks=["crate"], **one)
    assert list((tmp_path / "masks_train").iterdir()) == []

    make(prepare, tmp_path, **one)
    assert not (tmp_path / "masks_train").exists()


def seed_without_crates(script):
    for seed in range(100):
        rng = np.random.default_rng([seed, 0, 0])
        image = script("building_site.scene").synthesize(rng, 80, 64, ("crate", "pipe"))
        if "crate" not in image.classes:
            return seed
    raise AssertionError("every image holds a crate")


def test_the_masks_convert_to_the_crates_of_the_ground_truth(prepare, tmp_path):
    site, mine = tmp_path / "site", tmp_path / "mine"
    things = ["crate", "brick", "pipe", "barrel"]
    make(prepare, site, train=8, things=things, masks=["crate"])
    source = ["--images", str(site / "train"), "--masks", str(site / "masks_train")]
    rules = ["--pattern", "{image}_{class}_{n}", "--all-things", "--keep-unlabelled"]

    status = convert_masks.main(
        ["binary-masks", *source, *rules, "--out", str(mine), "--no-sheet", "--workers", "1"]
    )

    assert status == 0
    (category,) = read(mine / "panoptic.json")["categories"]
    assert (category["name"], category["isthing"]) == ("crate", 1)
    expected = ground_truth_of(site / "panoptic_train", site / "panoptic_train.json", CRATE)
    found = ground_truth_of(mine / "panoptic", mine / "panoptic.json", category["id"])
    assert found == expected
    counts = {len(masks) for masks in expected.values()}
    # Images with several crates, and images with none, which stay in the set.
    assert 0 in counts
    assert max(counts) > 1
