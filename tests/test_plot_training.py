"""plot_training.py: which losses it takes, and that ground truth and prediction are right."""

import importlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detr_d2.visualization import training_curves

plot_training = importlib.import_module("plot_training")


def write_log(folder: Path, entries: list[dict], unfinished: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(entry) + "\n" for entry in entries)
    path = folder / "metrics.json"
    path.write_text(lines + unfinished)
    return path


def test_losses_of_the_last_layer_and_their_sum_are_taken(tmp_path):
    path = write_log(
        tmp_path,
        [
            {"iteration": 19, "total_loss": 6.0, "loss_l1": 2.0, "loss_l1_0": 4.0, "lr": 0.1},
            {"iteration": 39, "total_loss": 3.0, "loss_l1": 1.0, "loss_l1_10": 2.0, "lr": 0.1},
            {"iteration": 40, "bbox/AP": 12.0},
        ],
    )
    curves = training_curves.read_losses(path)
    assert curves == {"total_loss": ([19, 39], [6.0, 3.0]), "loss_l1": ([19, 39], [2.0, 1.0])}
    assert list(curves) == ["total_loss", "loss_l1"], "the sum first"


def test_what_a_resumed_training_did_again_counts_once(tmp_path):
    """Stopped after 60 iterations and resumed at 20; the last line is being written."""
    before = [{"iteration": i, "total_loss": 9.0} for i in (19, 39, 59)]
    after = [{"iteration": 39, "total_loss": 2.0}]
    path = write_log(tmp_path, before + after, unfinished='{"iteration": 59, "tot')
    assert training_curves.read_losses(path) == {"total_loss": ([19, 39], [9.0, 2.0])}


def test_a_training_that_stopped_right_after_its_last_line_has_that_iteration_once(tmp_path):
    lines = [{"iteration": i, "total_loss": v} for i, v in ((19, 9.0), (39, 8.0), (39, 2.0))]
    path = write_log(tmp_path, lines)
    assert training_curves.read_losses(path) == {"total_loss": ([19, 39], [9.0, 2.0])}


def test_figures_of_a_resumed_training_stay_whatever_there_was_before(tmp_path):
    """Begun again at 20 after 60 iterations; then an evaluation before the losses of 60."""
    losses = [{"iteration": i, "total_loss": 1.0} for i in (19, 39, 59, 39, 59)]
    path = write_log(tmp_path, [*losses[:4], {"iteration": 59, "bbox/AP": 7.0}, losses[4]])
    assert training_curves.read_figures(path) == {"box AP": ([59], [7.0])}
    late = {"iteration": 49, "bbox/AP": 5.0}
    iterations = [
        e["iteration"] for e in training_curves.read_metrics(write_log(tmp_path, [*losses, late]))
    ]
    assert iterations == [19, 39, 49, 59]


def test_a_figure_that_is_no_number_is_no_point(tmp_path):
    """Of a set without things."""
    lines = [{"iteration": i, "panoptic_seg/PQ_th": float("nan"), "bbox/AP": 7.0} for i in (9, 19)]
    path = tmp_path / "metrics.json"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert training_curves.read_figures(path) == {"box AP": ([9, 19], [7.0, 7.0])}


def test_figures_that_come_after_later_losses_take_none_of_them_away(tmp_path):
    """An evaluation after iteration 249, written with the losses of iteration 259."""
    lines = [
        {"iteration": 239, "total_loss": 3.0},
        {"iteration": 259, "total_loss": 2.0},
        {"iteration": 249, "panoptic_seg/PQ": 40.0},
        {"iteration": 279, "total_loss": 1.0},
    ]
    path = write_log(tmp_path, lines)
    assert training_curves.read_losses(path) == {"total_loss": ([239, 259, 279], [3.0, 2.0, 1.0])}
    assert training_curves.read_figures(path) == {"PQ": ([249], [40.0])}
    # Begun again from 240 on: neither the losses nor the figures of before count.
    write_log(tmp_path, [*lines, {"iteration": 240, "total_loss": 5.0}])
    assert training_curves.read_losses(path) == {"total_loss": ([239, 240], [3.0, 5.0])}
    assert training_curves.read_figures(path) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "no loss in it"), ('{"iteration": 5, "lr": 1}\n', "no loss"), ("{\n", "line 1 is not")],
)
def test_a_file_without_losses_is_named(tmp_path, text, message):
    path = write_log(tmp_path / "run", [], unfinished=text)
    with pytest.raises(ValueError, match=rf"run/metrics\.json: {message}"):
        training_curves.read_losses(path)


@pytest.fixture
def run(tiny_set, tmp_path):
    """Run the tool on a log and the tiny set, with its own PNGs as what was found: the picture."""
    write_log(tmp_path / "boxes", [{"iteration": i, "total_loss": 1.0 + i} for i in (19, 39)])
    found = tmp_path / "found"
    shutil.copytree(tiny_set.root / "panoptic", found / "panoptic")
    shutil.copy(tiny_set.json_path, found / "panoptic.json")
    # No image is needed.
    shutil.rmtree(tiny_set.root / "images")

    def run_tool(*options: str) -> np.ndarray:
        compare = ["--compare", "seen", tiny_set.root / "panoptic", tiny_set.json_path, found]
        output = tmp_path / "training.png"
        arguments = [tmp_path / "boxes", *options, "--output", output, *compare]
        plot_training.main(plot_training.argument_parser().parse_args(list(map(str, arguments))))
        return np.asarray(Image.open(output).convert("RGB"))

    return run_tool


def maps_of(picture: np.ndarray, width: int) -> list[np.ndarray]:
    """The first row of maps, ground truth and prediction, of the tiny set's image of 24 x 16."""
    left, height = 28, width * 16 // 24
    drawn = (picture != plot_training.PAPER).any(axis=2)[training_curves.PLOT_HEIGHT :]
    # Letters of the headings leave paper between them, a map does not.
    top = training_curves.PLOT_HEIGHT + drawn[:, left : left + width].all(axis=1).argmax()
    rows = picture[top : top + height]
    return [rows[:, x : x + width] for x in (left, left + width + 12)]


def test_ground_truth_and_prediction_stand_side_by_side(run, tmp_path):
    ground_truth, found = maps_of(run("--count", "1", "--width", "96"), 96)
    assert np.array_equal(ground_truth, found)
    # 24 x 16 pixels, four times as large: sky above, soil below, paler than their colours.
    assert ground_truth[4, 4].tolist() == [182, 217, 242]
    assert ground_truth[43, 4].tolist() == [192, 172, 152]

    # Sky where soil was: the ground truth stays, the prediction is drawn as it is.
    png = next((tmp_path / "found").rglob("a.png"))
    ids = np.asarray(Image.open(png)).copy()
    ids[ids[..., 2] == 1] = (5, 0, 0)
    Image.fromarray(ids).save(png)
    ground_truth, found = maps_of(run("--count", "1", "--width", "96"), 96)
    assert ground_truth[43, 4].tolist() == [192, 172, 152]
    assert found[43, 4].tolist() == [182, 217, 242]


def test_a_image_in_which_nothing_was_found_is_named(run, tmp_path):
    path = tmp_path / "found/panoptic.json"
    content = json.loads(path.read_text())
    content["images"] = [
        {**entry, "file_name": f"x/{entry['file_name']}"} for entry in content["images"]
    ]
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"found/panoptic\.json: no image 'a\.jpg'"):
        run()


def test_a_count_of_nothing_is_said(run):
    with pytest.raises(ValueError, match=r"panoptic\.json: nothing to show with --count 0"):
        run("--count", "0")


@pytest.mark.parametrize("changed", ["panoptic.json", "found/panoptic.json"])
def test_files_of_other_classes_do_not_share_a_legend(run, tmp_path, changed):
    content = json.loads((tmp_path / changed).read_text())
    content["categories"][0]["name"] = "clay"
    (tmp_path / changed).write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"found/panoptic\.json: its categories are not those of"):
        run()


def test_curves_alone_need_no_data_set(tmp_path):
    for name in ("boxes", "masks"):
        write_log(tmp_path / name, [{"iteration": 19, "total_loss": 1.0}])
    arguments = [str(tmp_path / "boxes"), str(tmp_path / "masks")]
    output = tmp_path / "deep/training.png"
    parser = plot_training.argument_parser()
    plot_training.main(parser.parse_args([*arguments, "--output", str(output)]))
    expected = (training_curves.PLOT_HEIGHT, 2 * training_curves.PLOT_WIDTH, 3)
    assert np.asarray(Image.open(output).convert("RGB")).shape == expected


def test_a_training_is_shown_with_its_figures(tmp_path):
    folder = tmp_path / "run"
    write_log(
        folder,
        [
            {"iteration": 19, "total_loss": 6.0, "loss_l1": 2.0},
            {"iteration": 29, "panoptic_seg/PQ": 40.0, "panoptic_seg/PQ_th": float("nan")},
            {"iteration": 39, "total_loss": 3.0, "panoptic_seg/PQ": 60.0, "bbox/AP": 0.0},
        ],
    )
    # A group of classes that the set does not have gives no curve; an AP of 0 does.
    assert training_curves.read_figures(folder / "metrics.json") == {
        "PQ": ([29, 39], [40.0, 60.0]),
        "box AP": ([39], [0.0]),
    }
    picture = training_curves.plot_training(folder)
    assert picture.shape == (training_curves.PLOT_HEIGHT, 2 * training_curves.PLOT_WIDTH, 3)
    # Something is on both halves.
    for half in np.split(picture, 2, axis=1):
        assert (half != half[0, 0]).any(axis=2).mean() > 0.02


def test_losses_of_one_moment_are_seen(tmp_path):
    """A training of 20 iterations notes its losses once: a point in the middle of the plot."""
    write_log(tmp_path / "run", [{"iteration": 19, "total_loss": 6.0}])
    left = training_curves.plot_training(tmp_path / "run")[:, : training_curves.PLOT_WIDTH]
    blue = (left == (31, 119, 180)).all(axis=2)
    # The legend is in the upper right corner.
    rows, columns = np.nonzero(blue[:, : training_curves.PLOT_WIDTH * 6 // 10])
    assert rows.size > 4
    assert abs(columns.mean() - training_curves.PLOT_WIDTH / 2) < 30


@pytest.fixture
def figures(monkeypatch):
    """The figures that become pictures."""
    found, pixels = [], training_curves._pixels
    monkeypatch.setattr(training_curves, "_pixels", lambda one: found.append(one) or pixels(one))
    return found


def texts_of(axes) -> tuple[str, str, list[str]]:
    legend = axes.get_legend()
    labels = [text.get_text() for text in legend.get_texts()] if legend else []
    return axes.get_title(), axes.get_yscale(), labels


def test_curves_have_their_names_and_scales(tmp_path, figures):
    lines = [
        {"iteration": 19, "total_loss": 6.0, "loss_ce": 1.0},
        {"iteration": 19, "validation/total_loss": 7.0},
        {"iteration": 29, "panoptic_seg/PQ_th": 20.0, "panoptic_seg/PQ_st": 30.0, "segm/AP": 10.0},
    ]
    write_log(tmp_path / "east", lines)
    write_log(tmp_path / "west 2", [{"iteration": 9, "total_loss": 2.0}])
    picture = training_curves.plot_training(tmp_path / "east")
    training_curves.plot_training(tmp_path / "west 2")
    training_curves.plot_losses([tmp_path / "east", tmp_path / "west 2"], 900)
    left, right, *_ = figures[0].axes
    losses = ["total_loss", "loss_ce", "total_loss, validation"]
    assert texts_of(left) == ("losses", "log", losses)
    assert texts_of(right) == ("evaluation", "linear", ["PQ things", "PQ stuff", "mask AP"])
    assert right.get_ylim() == (0, 100)
    assert [line.get_ydata()[0] for line in right.get_lines()] == [20, 30, 10]
    assert texts_of(figures[1].axes[1]) == ("no evaluation", "linear", [])
    assert [texts_of(axes) for axes in figures[2].axes] == [
        ("east", "log", losses),
        ("west 2", "log", ["total_loss"]),
    ]
    assert figures[2].axes[1].get_lines()[0].get_ydata().tolist() == [2.0]
    assert picture[0, 0].tolist() == list(plot_training.PAPER)


def test_pictures_are_stacked_on_paper_as_wide_as_the_widest():
    first, second, third = (
        np.full((*s, 3), n, np.uint8) for n, s in enumerate([(2, 3), (1, 5), (3, 1)])
    )
    stack = training_curves.stack_pictures([first, second, third])
    paper = plot_training.PAPER[0]
    assert stack[..., 0].tolist() == [
        [0, 0, 0, paper, paper],
        [0, 0, 0, paper, paper],
        [1, 1, 1, 1, 1],
        *[[2, paper, paper, paper, paper]] * 3,
    ]
