import logging

import pytest
import torch
from detectron2.config import get_cfg

from detr_d2.utils.device import use_available_device


@pytest.fixture
def gpus(monkeypatch):
    """Let torch see this many GPUs."""

    def see(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return see


def device_after(by_config, asked=None):
    cfg = get_cfg()
    cfg.MODEL.DEVICE = by_config
    use_available_device(cfg, asked)
    return cfg.MODEL.DEVICE


def test_gpu_of_the_config_that_is_not_there_becomes_the_cpu_with_one_line(gpus, caplog):
    gpus(0)
    with caplog.at_level(logging.WARNING, "detr_d2"):
        assert device_after("cuda") == "cpu"
    (record,) = caplog.records
    assert "\n" not in record.getMessage()
    assert "MODEL.DEVICE is cuda" in record.getMessage() and "no GPU" in record.getMessage()


@pytest.mark.parametrize(
    ("count", "by_config", "asked", "used"),
    [
        (0, "cpu", None, "cpu"),
        (1, "cuda", None, "cuda"),
        (1, "cuda:1", None, "cpu"),
        (2, "cuda:1", None, "cuda:1"),
        (0, "cuda", "cpu", "cpu"),
        (2, "cpu", "cuda:1", "cuda:1"),
    ],
)
def test_device_that_is_used(gpus, count, by_config, asked, used):
    gpus(count)
    assert device_after(by_config, asked) == used


def test_device_that_the_user_named_is_never_exchanged(gpus):
    gpus(0)
    with pytest.raises(ValueError, match=r"MODEL.DEVICE cuda was asked for, but .* no GPU"):
        device_after("cpu", "cuda")
    gpus(1)
    with pytest.raises(ValueError, match="sees 1 GPU;"):
        device_after("cpu", "cuda:1")


def test_device_that_torch_does_not_know_is_named(gpus):
    with pytest.raises(ValueError, match=r"MODEL.DEVICE 'gpu'"):
        device_after("gpu")
