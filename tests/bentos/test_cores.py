"""The cores that the Bento uses: those that its affinity and the CPU quota of its cgroup leave it."""

import os
from pathlib import Path

import openvino as ov
import openvino.opset13 as op
import pytest

from bentos.sentiment import cores, cpu

V2 = "0::/system.slice/bento.service"
V1 = "9:memory:/docker/5e1f\n8:cpu,cpuacct:/docker/5e1f\n0::/"


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)


@pytest.mark.parametrize(
    ("cgroup", "files", "expected"),
    [
        (V2, {}, 8),
        (V2, {"system.slice/bento.service/cpu.max": "max 100000"}, 8),
        (V2, {"system.slice/bento.service/cpu.max": "300000 100000"}, 3),
        (V2, {"system.slice/bento.service/cpu.max": "10000 100000"}, 1),
        (V2, {"system.slice/bento.service/cpu.max": "1600000 100000"}, 8),
        (
            V2,
            {"system.slice/bento.service/cpu.max": "max 100000", "system.slice/cpu.max": "150000 100000"},
            2,
        ),
        ("0::/", {"cpu.max": "200000 100000"}, 2),
        ("0::/../outside", {"cpu.max": "200000 100000"}, 2),
        (V1, {"cpu/docker/5e1f/cpu.cfs_quota_us": "-1", "cpu/docker/5e1f/cpu.cfs_period_us": "100000"}, 8),
        (V1, {"cpu/docker/5e1f/cpu.cfs_quota_us": "200000", "cpu/docker/5e1f/cpu.cfs_period_us": "50000"}, 4),
        (V1, {"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, 2),
    ],
)
def test_a_cpu_quota_limits_the_cores(
    cgroup: str, files: dict[str, str], expected: int, tmp_path: Path
) -> None:
    files = {f"sys/fs/cgroup/{name}": text for name, text in files.items()} | {"proc/self/cgroup": cgroup}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    assert cores.usable_cores(tmp_path) == expected


def test_without_linux_every_core_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert cores.usable_cores(tmp_path) == 6


def test_the_model_runs_on_the_usable_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = op.parameter([-1, 2], ov.Type.f32)
    ov.save_model(ov.Model([op.result(tokens)], [tokens]), tmp_path / "model.xml")
    monkeypatch.setattr(cpu, "usable_cores", lambda: 1)

    def threads(model: cpu.OpenVinoModel) -> int:
        found: int = model._queue[0].get_compiled_model().get_property("INFERENCE_NUM_THREADS")
        return found

    assert threads(cpu.OpenVinoModel(tmp_path, max_tokens=16)) == 1
    assert threads(cpu.OpenVinoModel(tmp_path, 16, threads=2)) == 2
