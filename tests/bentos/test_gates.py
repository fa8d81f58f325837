"""Each gate: what it refuses, the figures it reports, and how the same version passes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow.models import infer_signature

from bentos.sentiment.promote import main
from tests.bentos.conftest import Registry
from tests.bentos.registration import SIGNATURE, register

pytestmark = pytest.mark.usefixtures("settings")

Answer = tuple[int, dict[str, Any]]
Ask = Callable[..., Answer]


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    """Promote a version with --json; returns the exit code and the object, with the gates by name."""

    def ask(version: str, *options: str) -> Answer:
        capsys.readouterr()
        code = main(["--version", version, "--json", *options])
        output = capsys.readouterr()
        assert output.err == ""
        [line] = output.out.splitlines()
        answer = json.loads(line)
        answer["gates"] = {gate["gate"]: gate for gate in answer["gates"]}
        return code, answer

    return ask


@pytest.fixture
def champion(registry: Registry, serving: list[Path]) -> Registry:
    """Version 1, accuracy 0.80, is champion."""
    registry.promote(serving[0], "0.80")
    return registry


def stopped(answer: dict[str, Any]) -> dict[str, str]:
    return {name: gate["outcome"] for name, gate in answer["gates"].items() if gate["outcome"] != "passed"}


def changed(folder: Path, source: Path, **serving: object) -> Path:
    """Copy a serving folder and change its serving.json."""
    shutil.copytree(source, folder)
    original = json.loads((folder / "serving.json").read_text())
    (folder / "serving.json").write_text(json.dumps(original | serving))
    return folder


def test_a_good_version_passes_every_gate(champion: Registry, serving: list[Path], ask: Ask) -> None:
    code, answer = ask(register(champion.client, serving[1], "0.85"))
    assert code == 0
    assert list(answer["gates"]) == ["tags", "accuracy", "behaviour", "int8", "schema", "latency", "size"]
    assert stopped(answer) == {}
    latency = answer["gates"]["latency"]
    assert latency["candidate"] > 0
    assert latency["against"] > 0


def test_a_lower_accuracy_is_refused_with_its_intervals(
    champion: Registry, serving: list[Path], ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = {
        "champion_difference": -0.01,
        "champion_difference_low": -0.03,
        "champion_difference_high": 0.01,
    }
    version = register(
        champion.client,
        serving[1],
        "0.79",
        metrics={"accuracy_low": 0.77, "accuracy_high": 0.81, "mcnemar_p": 0.4} | figures,
        run_tags={"champion_version": "1"},
    )
    code, answer = ask(version)
    assert (code, answer["outcome"], stopped(answer)) == (5, "refused", {"accuracy": "refused"})
    gate = answer["gates"]["accuracy"]
    assert (gate["candidate"], gate["against"]) == (0.79, 0.8)
    assert "accuracy 0.7900 (95 %: 0.7700 to 0.8100), below accuracy 0.8000" in gate["says"]
    assert "-1.00 points (95 %: -3.00 to +1.00; p=0.4, chance could explain it)" in gate["says"]
    assert "drop of 0.0100" in gate["lifts"]
    assert champion.aliases()["champion"] == "1"

    monkeypatch.setenv("SENTIMENT_PROMOTE_MAX_ACCURACY_DROP", "0.01")
    assert ask(version)[0] == 0


@pytest.mark.parametrize(
    ("against", "difference", "code", "says"),
    [
        (None, None, 6, "was not compared with this champion"),
        ("7", 0.02, 6, "was not compared with this champion"),
        ("1", 0.02, 0, "+2.00 points"),
        ("1", -0.02, 5, "-2.00 points"),
    ],
)
def test_accuracies_on_different_reviews_are_not_compared(
    champion: Registry,
    serving: list[Path],
    ask: Ask,
    against: str | None,
    difference: float | None,
    code: int,
    says: str,
) -> None:
    """The comparison by `evaluate` on the candidate's reviews counts, if it used this champion."""
    metrics = {} if difference is None else {"champion_difference": difference, "mcnemar_p": 0.01}
    metrics |= {f"champion_difference_{end}": difference for end in ("low", "high") if difference is not None}
    version = register(
        champion.client,
        serving[1],
        "0.99",
        metrics=metrics,
        run_tags={"champion_version": against or ""},
        tags={"data_md5": "newer"},
    )
    got, answer = ask(version)
    gate = answer["gates"]["accuracy"]
    assert got == code
    assert "0.9900 of version 2 and 0.8000 of the champion, version 1, are not comparable" in gate["says"]
    assert "data_md5 newer, the champion's data" in gate["says"]
    assert says in gate["says"]
    assert bool(gate["lifts"]) == bool(code)


@pytest.mark.parametrize("tag", ["data_md5", "split_sha256"])
def test_versions_without_data_tags_are_not_compared(
    champion: Registry, serving: list[Path], ask: Ask, tag: str
) -> None:
    version = register(champion.client, serving[1], "0.85")
    for number in ("1", version):
        champion.client.delete_model_version_tag("sentiment", number, tag)
    code, answer = ask(version)
    assert (code, stopped(answer)) == (6, {"accuracy": "unknown"})


@pytest.mark.parametrize(("tag", "code"), [("failed: negation 0.61 of 0.8", 5), ("", 6)])
def test_behavioural_tests_must_have_passed(
    champion: Registry, serving: list[Path], ask: Ask, tag: str, code: int
) -> None:
    got, answer = ask(register(champion.client, serving[1], "0.85", run_tags={"behaviour": tag}))
    assert got == code
    assert list(stopped(answer)) == ["behaviour"]
    gate = answer["gates"]["behaviour"]
    assert (gate["candidate"], gate["against"]) == (tag or None, "passed")
    assert (tag or "no result of the behavioural tests") in gate["says"]


def test_the_accuracy_lost_in_export_has_a_limit(
    champion: Registry, serving: list[Path], ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = {"accuracy": 0.85, "reference_accuracy": 0.87, "accuracy_loss": 0.02}
    version = register(champion.client, serving[1], "0.85", metrics=lost)
    code, answer = ask(version)
    assert (code, stopped(answer)) == (5, {"int8": "refused"})
    gate = answer["gates"]["int8"]
    assert (gate["candidate"], gate["against"]) == (0.02, 0.01)
    assert "0.8500, the trained one 0.8700" in gate["says"]
    assert "export.precision" in gate["lifts"]
    monkeypatch.setenv("SENTIMENT_PROMOTE_MAX_ACCURACY_LOSS", "0.02")
    assert ask(version)[0] == 0


def test_the_limit_holds_on_a_processor_without_vnni_too(
    champion: Registry, serving: list[Path], ask: Ask
) -> None:
    metrics = {"accuracy": 0.85, "reference_accuracy": 0.85, "accuracy_loss_without_vnni": 0.02}
    code, answer = ask(register(champion.client, serving[1], "0.85", metrics=metrics))
    assert (code, stopped(answer)) == (5, {"int8": "refused"})
    assert "0.8300 on a processor without VNNI, the trained one 0.8500" in answer["gates"]["int8"]["says"]


def test_a_missing_loss_is_not_taken_for_none(champion: Registry, serving: list[Path], ask: Ask) -> None:
    version = register(champion.client, serving[1], "0.85", metrics={"accuracy_loss": float("nan")})
    code, answer = ask(version)
    assert (code, stopped(answer)) == (6, {"int8": "unknown"})


@pytest.mark.parametrize(
    ("serving_json", "says"),
    [
        ({"labels": ["negative", "neutral"]}, "labels are ['negative', 'neutral']"),
        ({"labels": ["negative", "positive", "neutral"]}, "labels are"),
        ({"windows": 0}, "windows is 0"),
        ({"max_tokens": "64"}, "max_tokens is '64'"),
        ({"max_tokens": 4096}, "RuntimeError"),  # more than the model's positions
    ],
)
def test_a_model_that_the_service_cannot_run(
    champion: Registry, serving: list[Path], tmp_path: Path, ask: Ask, serving_json: dict[str, Any], says: str
) -> None:
    folder = changed(tmp_path / "changed" / "serving", serving[1], **serving_json)
    code, answer = ask(register(champion.client, folder, "0.85"))
    assert (code, stopped(answer)) == (5, {"schema": "refused"})
    gate = answer["gates"]["schema"]
    assert says in gate["candidate"]
    assert "labels negative, positive" in gate["against"]


def test_the_signature_must_be_that_of_the_pipeline(
    champion: Registry, serving: list[Path], tmp_path: Path, ask: Ask
) -> None:
    exported = infer_signature(["A fine film."], [{"label": "positive", "score": 0.99}]).to_dict()
    assert yaml.safe_load(SIGNATURE.read_text())["signature"] == exported
    other = tmp_path / "MLmodel"
    other.write_text(yaml.safe_dump({"signature": infer_signature([1.5], ["good"]).to_dict()}))
    code, answer = ask(register(champion.client, serving[1], "0.85", signature=other))
    assert (code, stopped(answer)) == (5, {"schema": "refused"})
    assert answer["gates"]["schema"]["candidate"] == "double -> string"
    code, answer = ask(register(champion.client, serving[1], "0.85", signature=None))
    assert (code, stopped(answer)) == (6, {"schema": "unknown"})


def test_a_slower_version_is_refused(
    champion: Registry, serving: list[Path], tmp_path: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads long texts in up to 64 short windows instead of two: 2.7 times as long, far from the limit."""
    folder = changed(tmp_path / "slow" / "serving", serving[1], windows=64, max_tokens=8)
    version = register(champion.client, folder, "0.85")
    monkeypatch.setenv("SENTIMENT_PROMOTE_MAX_LATENCY_RATIO", "1.25")
    code, answer = ask(version)
    assert (code, stopped(answer)) == (5, {"latency": "refused"})
    gate = answer["gates"]["latency"]
    assert gate["candidate"] > 1.25 * gate["against"]
    assert "limit 1.25" in gate["says"]
    assert "SENTIMENT_PROMOTE_MAX_LATENCY_RATIO" in gate["lifts"]
    monkeypatch.setenv("SENTIMENT_PROMOTE_MAX_LATENCY_RATIO", "100")
    assert ask(version)[0] == 0


def test_a_larger_version_is_refused(
    champion: Registry, serving: list[Path], tmp_path: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = changed(tmp_path / "large" / "serving", serving[1])
    with (folder / "tokenizer.json").open("a") as file:
        file.write(" " * sum(part.stat().st_size for part in folder.iterdir()))
    version = register(champion.client, folder, "0.85")
    code, answer = ask(version)
    assert (code, stopped(answer)) == (5, {"size": "refused"})
    gate = answer["gates"]["size"]
    assert gate["candidate"] == pytest.approx(2 * gate["against"], rel=0.01)
    assert "ratio 2.00, limit 1.5" in gate["says"]
    monkeypatch.setenv("SENTIMENT_PROMOTE_MAX_SIZE_RATIO", "3")
    assert ask(version)[0] == 0


def test_files_that_differ_from_the_registered_ones(
    champion: Registry, serving: list[Path], ask: Ask
) -> None:
    version = register(champion.client, serving[1], "0.85")
    champion.client.set_model_version_tag("sentiment", version, "weights_sha256", "0" * 64)
    code, answer = ask(version)
    assert (code, stopped(answer)) == (6, {"schema": "unknown"})
    assert "sha256 of its model.bin" in answer["gates"]["schema"]["says"]


def test_other_answers_than_registered_are_refused(champion: Registry, serving: list[Path], ask: Ask) -> None:
    version = register(champion.client, serving[1], "0.85", tags={"golden": '{"Wonderful!": 2}'})
    code, answer = ask(version)
    assert (code, stopped(answer)) == (5, {"schema": "refused"})
    assert "'Wonderful!' is positive with probability" in answer["gates"]["schema"]["says"]


def test_a_damaged_champion_is_replaced_only_by_force(
    champion: Registry, serving: list[Path], ask: Ask
) -> None:
    champion.client.set_model_version_tag("sentiment", "1", "weights_sha256", "0" * 64)
    version = register(champion.client, serving[1], "0.85")
    code, answer = ask(version)
    assert (code, stopped(answer)) == (6, {"latency": "unknown", "size": "unknown"})
    assert "champion is damaged" in answer["gates"]["latency"]["lifts"]
    code, answer = ask(version, "--force")
    assert (code, answer["outcome"], answer["forced"]) == (0, "promoted", ["latency", "size"])


def test_all_refusals_are_reported_and_force_reports_what_it_overrides(
    champion: Registry, serving: list[Path], ask: Ask, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = {"accuracy_loss": 0.02}
    version = register(champion.client, serving[1], "0.7", metrics=lost, run_tags={"behaviour": "failed: it"})
    assert main(["--version", version]) == 5
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[1].strip() for line in lines] == ["accuracy", "behaviour", "int8"]
    assert all("To lift it: " in line for line in lines)
    assert main(["--version", version, "--force"]) == 0
    assert capsys.readouterr().err.count("promote: overridden: ") == 3


def test_a_dry_run_runs_every_gate_and_changes_nothing(
    champion: Registry, serving: list[Path], ask: Ask, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = (register(champion.client, serving[1], accuracy) for accuracy in ("0.85", "0.7"))
    code, answer = ask(good, "--dry-run", "--reason", "rehearsal")
    assert (code, answer["outcome"], answer["dry_run"]) == (0, "would_promote", True)
    code, answer = ask(bad, "--dry-run")
    assert (code, answer["outcome"], stopped(answer)) == (5, "refused", {"accuracy": "refused"})
    code, answer = ask(bad, "--dry-run", "--force")
    assert (code, answer["outcome"], answer["forced"]) == (0, "would_promote", ["accuracy"])
    assert main(["--version", bad, "--dry-run"]) == 5
    assert "accuracy   refused" in capsys.readouterr().out
    assert champion.aliases() == {"champion": "1"}
    assert [model.name for model in champion.client.search_registered_models()] == ["sentiment"]
    assert "promotion_reason" not in champion.client.get_model_version("sentiment", good).tags
