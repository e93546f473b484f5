"""Put weights into a model, and report the status of every tensor."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from detectron2.config import CfgNode
from torch import Tensor, nn

from detr_d2.checkpoint.classes import ROW_RULES, RowPlan, RowRule, plan_rows
from detr_d2.checkpoint.layouts import CLASS_WEIGHT, Weights
from detr_d2.checkpoint.loading_report import LoadingReport, TensorStatus
from detr_d2.checkpoint.reading import WeightsError
from detr_d2.checkpoint.settings import check_settings

logger = logging.getLogger(__name__)

QUERIES = "query_embed.weight"
CLASSIFIER = ("box_head.class_embed.weight", "box_head.class_embed.bias")
BOX_HEAD = "box_head.bbox_embed."
# Counters that only batch norm in training has; they change no result.
COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class LoadingRules:
    """Choose what to take of a checkpoint; the default takes all that fits.

    Attributes:
        class_rows: see `plan_rows`.
        renamed: name here -> name in the file.
        box_head: take the MLP that predicts boxes.
    """

    class_rows: RowRule = "by_name"
    renamed: Mapping[str, str] = field(default_factory=dict)
    box_head: bool = True

    def __post_init__(self) -> None:
        if self.class_rows not in ROW_RULES:
            raise ValueError(
                f"MODEL.DETR.LOAD.CLASS_ROWS is {self.class_rows!r}; allowed: {ROW_RULES}"
            )

    @classmethod
    def from_config(cls, cfg: CfgNode) -> "LoadingRules":
        """By MODEL.DETR.LOAD."""
        load = cfg.MODEL.DETR.LOAD
        renamed = {here: there for there, here in load.RENAMED_CLASSES}
        return cls(class_rows=load.CLASS_ROWS, renamed=renamed, box_head=load.BOX_HEAD)


def load_weights(
    model: nn.Module,
    weights: Weights,
    rules: LoadingRules | None = None,
    cfg: CfgNode | None = None,
    *,
    complete: bool = False,
) -> LoadingReport:
    """Fill a model in place.

    A tensor of equal name and shape is copied. Of the classifier, rows are copied by class; the
    queries are cut, or repeated, to their number here. All else keeps its fresh values.

    Args:
        model: its `class_names`, if any, name the rows of its classifier.
        rules: None takes all that fits.
        cfg: the config to check against what the weights need; None checks nothing.
        complete: nothing of the model may keep its fresh values, as is right for all but the
            start of a training.

    Raises:
        WeightsError: nothing fits, something is absent that must not be, the config contradicts
            the weights, or they are not finite.
    """
    rules = rules or LoadingRules()
    warnings = check_settings(weights.settings, cfg, weights.path) if cfg is not None else []
    own = model.state_dict()
    loader = _Loader(own, weights, rules, tuple(getattr(model, "class_names", ())))
    filled = {name: tensor for name in own if (tensor := loader.fill(name)) is not None}
    report = LoadingReport(weights.path, weights.layout, loader.statuses)
    report.statuses += [
        TensorStatus("unused", name, tuple(tensor.shape), "not in the model")
        for name, tensor in (*weights.tensors.items(), *weights.unknown.items())
        if name not in own and not name.endswith(COUNTER)
    ]
    if not filled:
        raise WeightsError(
            f"nothing in {weights.path} ({weights.layout}) fits the model. It holds "
            f"{_some(weights.tensors)}; the model wants {_some(own)}"
        )
    broken = [name for name, tensor in filled.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise WeightsError(f"{weights.path} has weights that are not finite: {_some(broken)}")
    if complete:
        _check_complete(report, loader)
    model.load_state_dict(filled, strict=False)
    for warning in warnings:
        logger.warning(warning)
    return report


class _Loader:
    """Finds the new value of one tensor after another and notes their status."""

    def __init__(
        self,
        own: Mapping[str, Tensor],
        weights: Weights,
        rules: LoadingRules,
        class_names: tuple[str, ...],
    ) -> None:
        self.own = own
        self.weights = weights
        self.rules = rules
        self.class_names = class_names
        self.statuses: list[TensorStatus] = []
        self.plan = self._plan()

    def _plan(self) -> RowPlan | None:
        ours, theirs = self.own.get(CLASS_WEIGHT), self.weights.tensors.get(CLASS_WEIGHT)
        if ours is None or theirs is None or ours.shape[1:] != theirs.shape[1:] or not len(theirs):
            return None
        return plan_rows(
            self.weights.classes,
            len(theirs) - 1,
            self.class_names,
            len(ours) - 1,
            self.rules.class_rows,
            self.rules.renamed,
        )

    def fill(self, name: str) -> Tensor | None:
        """The new value of a tensor of the model, None if it keeps its own."""
        ours, theirs = self.own[name], self.weights.tensors.get(name)
        if name.endswith(COUNTER):
            return theirs if theirs is not None and theirs.shape == ours.shape else None
        if theirs is None:
            return self._keep(name, "not in the file")
        if name.startswith(BOX_HEAD) and not self.rules.box_head:
            return self._keep(name, "LOAD.BOX_HEAD False")
        if name in CLASSIFIER and self.plan is not None and self._has_rows(ours, theirs):
            return self._rows(name, ours, theirs, self.plan)
        if name == QUERIES and ours.shape[1:] == theirs.shape[1:] and len(theirs):
            return self._queries(name, ours, theirs)
        if ours.shape != theirs.shape:
            return self._keep(name, "other shape in the file", theirs)
        return self._take(name, theirs)

    def _has_rows(self, ours: Tensor, theirs: Tensor) -> bool:
        """Whether a tensor of the file has a row for each class of the file's classifier."""
        rows = self.weights.tensors[CLASS_WEIGHT].shape[:1]
        return theirs.shape[:1] == rows and theirs.shape[1:] == ours.shape[1:]

    def _take(self, name: str, value: Tensor, note: str = "") -> Tensor:
        self.statuses.append(TensorStatus("loaded", name, tuple(value.shape), note))
        return value

    def _keep(self, name: str, note: str, theirs: Tensor | None = None) -> Tensor | None:
        there = None if theirs is None else tuple(theirs.shape)
        shape = tuple(self.own[name].shape)
        self.statuses.append(TensorStatus("re-initialised", name, shape, note, there))
        return None

    def _rows(self, name: str, ours: Tensor, theirs: Tensor, plan: RowPlan) -> Tensor | None:
        if plan.nothing:
            return self._keep(name, plan.how)
        value = ours.clone()
        for here, there in plan.kept:
            value[here] = theirs[there]
        value[-1] = theirs[-1]
        note = f"{len(plan.kept)} of {len(ours) - 1} classes {plan.how}, and no object"
        if plan.fresh:
            note += f"; fresh: {self.class_list(plan.fresh)}"
        return self._take(name, value, note)

    def class_list(self, rows: tuple[int, ...], most: int = 8) -> str:
        """Names of classes here, the first `most`."""
        names = self.class_names or tuple(map(str, range(len(self.own[CLASS_WEIGHT]))))
        listed = ", ".join(names[row] for row in rows[:most])
        return f"{listed} and {len(rows) - most} more" if len(rows) > most else listed

    def _queries(self, name: str, ours: Tensor, theirs: Tensor) -> Tensor:
        wanted, given = len(ours), len(theirs)
        if wanted == given:
            return self._take(name, theirs)
        how = f"cut to the first {wanted}" if wanted < given else f"repeated to fill {wanted}"
        return self._take(name, theirs[torch.arange(wanted) % given], f"{given} queries, {how}")


def _check_complete(report: LoadingReport, loader: _Loader) -> None:
    """Raise if a tensor, or a row of the classifier or of the queries, is not in the file."""
    advice = (
        "Only a training may start from such weights (MODEL.WEIGHTS, without --resume); the "
        "model, its classes and their names must be those that the weights were trained with"
    )
    if absent := report.names("re-initialised"):
        raise WeightsError(f"{report.path} lacks {_some(absent)}. {advice}")
    if loader.plan is not None and loader.plan.fresh:
        theirs = [name for name in loader.weights.classes or () if name]
        raise WeightsError(
            f"{report.path} lacks the classes {loader.class_list(loader.plan.fresh)}; it has "
            f"{', '.join(theirs[:8])}{' ...' if len(theirs) > 8 else ''}. {advice}"
        )
    ours, theirs_count = (len(t.get(QUERIES, ())) for t in (loader.own, loader.weights.tensors))
    if ours > theirs_count:
        raise WeightsError(
            f"{report.path} has {theirs_count} queries; the config has {ours} "
            f"(MODEL.DETR.NUM_QUERIES x QUERY_GROUPS). {advice}"
        )


def _some(names: Iterable[str]) -> str:
    names = sorted(names)
    listed = ", ".join(names[:3])
    return f"{len(names)} tensors, such as {listed}"
