import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.core.errors import PipelineError
from pipelines.core.hub import distilbert_folder, download
from pipelines.modeling.encoders import load_base
from pipelines.modeling.pins import HUB_COMMITS
from tests.pipelines.hub_server import hub
from tests.project import ROOT

NAME, COMMIT = next(iter(HUB_COMMITS.items()))


@pytest.mark.process
def test_a_pinned_name_is_loaded_from_the_cache(tiny_encoder: Path, tmp_path: Path) -> None:
    """In separate processes, because the hub's client reads its settings when it is imported."""
    cached = tmp_path / "hub" / f"models--{NAME}" / "snapshots" / COMMIT
    shutil.copytree(tiny_encoder, cached)
    code = f"from pipelines.core.hub import download; print(download({NAME!r}, {HUB_COMMITS!r}))"
    done = offline(code, tmp_path)
    assert done.stdout.strip() == str(cached), done.stderr
    other = offline(code.replace(f"download({NAME!r}", f"download('{NAME}@{'0' * 40}'"), tmp_path)
    assert "is not available from the Hugging Face hub" in other.stderr.splitlines()[-1]
    assert "HF_HUB_OFFLINE" in other.stderr.splitlines()[-1]


@pytest.mark.process
@pytest.mark.parametrize(("first", "expected"), [("pass", True), ("hub.go_offline()", False)])
def test_nothing_is_requested_offline(tmp_path: Path, first: str, expected: bool) -> None:
    code = f"from pipelines.core import hub; {first}; hub.download({NAME!r}, {HUB_COMMITS!r})"
    with hub() as (url, requested):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={"HF_HOME": str(tmp_path), "HF_ENDPOINT": url, "PATH": ""},
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
    assert "is not available from the Hugging Face hub" in done.stderr
    assert bool(requested) is expected


def offline(code: str, cache: Path) -> subprocess.CompletedProcess[str]:
    environment = {"HF_HOME": str(cache), "HF_HUB_OFFLINE": "1", "PATH": ""}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True
    )


def test_a_local_folder_takes_precedence_over_the_hub(tiny_encoder: Path) -> None:
    with distilbert_folder(str(tiny_encoder), {}) as folder:
        assert folder == tiny_encoder


def test_a_name_without_a_commit_is_an_error() -> None:
    with pytest.raises(
        PipelineError,
        match=r"train\.base: .* write google/electra@COMMIT, or use one of minilm, distilbert",
    ):
        load_base("google/electra", dropout=0.1)


def test_the_error_for_a_name_without_a_commit_lists_the_pinned_names() -> None:
    with pytest.raises(PipelineError, match="write google/electra@COMMIT, or use one of minilm, one, two"):
        download("google/electra", {"one": COMMIT, "two": COMMIT})


def test_another_architecture_or_an_incomplete_model_is_an_error(tiny_encoder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "roberta"}')
    with pytest.raises(PipelineError, match="of type roberta; only distilbert models"):
        load_base(str(tmp_path), dropout=0.1)
    shutil.copy(tiny_encoder / "config.json", tmp_path)
    with pytest.raises(PipelineError, match=r"cannot be loaded: .* A model folder needs config\.json, model"):
        load_base(str(tmp_path), dropout=0.1)
