"""Which trials a study compares: those of the same data, params, space and code."""

import shutil
from pathlib import Path

import pytest

from pipelines.core.errors import PipelineError
from pipelines.sweep import study
from pipelines.sweep.search import Search
from pipelines.sweep.study import TRAINING_STAGES, code_sha256, open_search
from tests.project import ROOT


@pytest.mark.parametrize(
    ("file", "counts"),
    [
        ("pipelines/modeling/precision.py", True),
        ("pipelines/train/fine_tuning/trainer.py", True),
        ("pipelines/pretrain/masked_lm/model.py", True),
        ("pipelines/prepare/splitting.py", True),
        ("pipelines/train/metric_outbox.py", False),
        ("pipelines/sweep/search.py", False),
        ("pipelines/evaluate/report.py", False),
    ],
)
def test_the_code_that_decides_a_trials_accuracy_counts(tmp_path: Path, file: str, counts: bool) -> None:
    shutil.copytree(ROOT / "pipelines", tmp_path / "pipelines")
    pipeline = Path(shutil.copy(ROOT / "dvc.yaml", tmp_path))
    before = code_sha256(TRAINING_STAGES, pipeline)
    with (tmp_path / file).open("a") as code:
        code.write("# changed\n")
    assert (code_sha256(TRAINING_STAGES, pipeline) != before) is counts


def test_a_study_does_not_mix_trials_of_different_code(
    search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("data.dvc").write_text("outs:\n- md5: abc\n")

    def opened(total: int) -> Search:
        return open_search(
            search.client, search.storage.url, search.sweep, search.params, name="named", total=total
        )

    assert opened(1).study.study_name == opened(2).study.study_name
    monkeypatch.setattr(study, "code_sha256", lambda _: "changed")
    with pytest.raises(PipelineError, match=r"another code of prepare, pretrain, train.* omit --study"):
        opened(2)
