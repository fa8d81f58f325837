"""The GPU engine, run on the CPU: PyTorch runs the same code on both, and the test machine has no GPU."""

import functools
import itertools
import logging
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from bentos.sentiment import cuda
from bentos.sentiment.champion import files, store
from bentos.sentiment.engine import Engine
from bentos.sentiment.registry import RegistryError
from bentos.sentiment.settings import Settings
from tests.bentos.conftest import Registry
from tests.bentos.model import build_trained
from tests.bentos.reviews import REVIEWS

SEED = 1  # seed of serving[1]


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that a GPU is present."""
    monkeypatch.setattr(cuda, "is_present", lambda: True)
    monkeypatch.setattr(cuda, "TorchModel", functools.partial(cuda.TorchModel, device="cpu", dtype="float32"))


@pytest.fixture
def both(serving: list[Path], tmp_path: Path) -> Path:
    """serving/ with model/ beside it, with the same weights."""
    folder = Path(shutil.copytree(serving[SEED], tmp_path / "both" / "serving"))
    build_trained(folder, SEED)
    return folder


@pytest.mark.usefixtures("gpu")
def test_the_trained_and_the_exported_form_agree(both: Path, serving: list[Path]) -> None:
    """For short and long texts in any order; in fp32, as random weights magnify the rounding of bf16."""
    shutil.copytree(both.parent / "model", both / "model")
    texts = [*REVIEWS, " ".join(REVIEWS), " ".join(REVIEWS[:6])]
    gpu, cpu = Engine(both), Engine(serving[SEED])
    assert isinstance(gpu._model, cuda.TorchModel.func)  # type: ignore[attr-defined]
    gpu.warm_up()
    np.testing.assert_allclose(gpu.probabilities(texts), cpu.probabilities(texts), atol=1e-4)
    assert gpu.probabilities([]).shape == (0, 2)


def test_without_a_gpu_the_trained_form_is_not_loaded(both: Path) -> None:
    shutil.copytree(both.parent / "model", both / "model")
    assert not cuda.is_present()
    assert Engine(both).device == "cpu"


def test_a_gpu_that_pytorch_cannot_use_leaves_the_model_on_the_cpu(
    both: Path, serving: list[Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A host with a driver, and with the PyTorch for CPUs that these tests run with."""
    shutil.copytree(both.parent / "model", both / "model")
    monkeypatch.setattr(cuda, "is_present", lambda: True)
    monkeypatch.setattr(logging.getLogger("bentoml"), "propagate", True)
    engine = Engine(both)
    assert engine.device == "cpu"
    np.testing.assert_allclose(
        engine.probabilities(REVIEWS), Engine(serving[SEED]).probabilities(REVIEWS), atol=1e-5
    )
    assert "the GPU cannot be used, the model runs on the CPU: " in caplog.text


def test_a_sub_batch_has_no_more_tokens_than_allowed() -> None:
    lengths = sorted([512] * 70 + [64] * 1000 + [3], reverse=True)
    parts = [lengths[rows] for rows in cuda.sub_batches(lengths)]
    assert list(itertools.chain(*parts)) == lengths
    assert all(len(part) * part[0] <= cuda.TOKENS for part in parts)
    assert len(parts) < 12
    assert next(cuda.sub_batches([cuda.TOKENS + 1, 1])) == slice(0, 1)


@pytest.mark.usefixtures("gpu")
def test_with_a_gpu_the_trained_form_is_fetched_too(
    settings: Settings, registry: Registry, both: Path
) -> None:
    registry.promote(both)
    fetched = files.fetch(settings)
    for name in cuda.FILES:
        assert (fetched.folder / "model" / name).read_bytes() == (both.parent / "model" / name).read_bytes()
    assert type(Engine(fetched.folder)._model).__name__ == "TorchModel"
    (fetched.folder / "model" / cuda.WEIGHTS).write_bytes(b"")
    assert store.find(fetched.tag) is None, "a damaged version is not served"


@pytest.mark.usefixtures("gpu")
def test_trained_weights_that_differ_from_the_registered_ones_are_rejected(
    settings: Settings, registry: Registry, both: Path
) -> None:
    version = registry.promote(both)
    source = urlsplit(registry.client.get_model_version("sentiment", version).source or "")
    (Path(source.path) / "model" / cuda.WEIGHTS).write_bytes(b"others")
    with pytest.raises(RegistryError, match=rf"sha256 of its {cuda.WEIGHTS}"):
        files.fetch(settings)


@pytest.mark.usefixtures("gpu")
def test_a_trained_form_with_another_config_than_registered_is_rejected(
    settings: Settings, registry: Registry, both: Path
) -> None:
    version = registry.promote(both)
    source = urlsplit(registry.client.get_model_version("sentiment", version).source or "")
    config = Path(source.path) / "model" / "config.json"
    config.write_text(config.read_text().replace("gelu", "relu"))
    with pytest.raises(RegistryError, match="the sha256 of its folder model"):
        files.fetch(settings)


def test_without_a_gpu_only_the_exported_form_is_fetched(
    settings: Settings, registry: Registry, both: Path
) -> None:
    registry.promote(both)
    assert not (files.fetch(settings).folder / "model").exists()
