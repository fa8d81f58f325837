"""Finals of a sweep with a real study and MLflow store; only the stages' results are made up."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from pipelines.core.errors import PipelineError
from pipelines.experiments.dvc_clone import Outcome, Stage, Workspace
from pipelines.sweep.__main__ import is_last
from pipelines.sweep.finals import Finals, finalists, open_finals
from pipelines.sweep.process_owner import owner
from pipelines.sweep.recommendation import in_words, recommended, results
from pipelines.sweep.search import Search
from pipelines.sweep.sweep_file import SEED, baseline, distributions
from pipelines.sweep.trial_table import finals_table, table, write
from tests.pipelines.runs import log as log_run

LOSS = "the loss of 0.0100 exceeds export.max_accuracy_loss"


@dataclass(frozen=True)
class FinalsWorkspace(Workspace):
    """Experiments end at once, with a run of these figures; without any, `evaluate` fails."""

    search: Search
    served: Mapping[str, tuple[float, str]]
    """Accuracy and behaviour by label: the trial's number and the seed."""
    interrupted: set[str] = field(default_factory=set)
    ran: list[str] = field(default_factory=list)

    def run(
        self,
        name: str,
        overrides: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        started: Callable[[int], None],
        stage: Stage = "evaluate",
    ) -> Outcome:
        label = name.removeprefix("s-")
        assert stage == "evaluate"
        assert f"{SEED}={label.rpartition('-')[2]}" in overrides
        assert environment["SWEEP_STARTUP"] == "0"
        self.ran.append(label)
        if label in self.interrupted:
            self.interrupted.remove(label)
            raise KeyboardInterrupt
        if label not in self.served:
            log.write_text(
                f"Running stage 'evaluate':\nerror: {LOSS}\nERROR: failed to reproduce 'evaluate'\n"
            )
            return Outcome(1)
        accuracy, behaviour = self.served[label]
        run = log_run(self.search.client, {"behaviour": behaviour}, accuracy=accuracy)
        return Outcome(0, run.info.run_id, accuracy)


def searched(search: Search, *accuracies: float) -> Search:
    """Add finished trials with these accuracies of the trained model."""
    for number, accuracy in enumerate(accuracies):
        changes = {"train.dropout": 0.01 * number, "train.learning_rate": 1e-4 * (1 + number)}
        params = baseline(search.sweep, search.params) | changes
        search.study.add_trial(
            create_trial(
                params=params,
                distributions=dict(distributions(search.sweep)),
                value=accuracy,
                user_attrs={"experiment": f"s-{number}", "run_id": f"run-{number}"},
            )
        )
    return search


def again(search: Search) -> Search:
    """Return the search as a process sees it that starts now."""
    return replace(search, began=datetime.now(), own_trials=set())


def run_finals(search: Search, workspace: FinalsWorkspace) -> Finals:
    finals = open_finals(search)
    finals.run(workspace)
    return finals


def test_the_finalists_are_the_best_distinct_trials(search: Search) -> None:
    searched(search, 0.7, 0.9, 0.8)
    best = search.trials[1]
    search.study.add_trial(create_trial(params=best.params, distributions=best.distributions, value=0.85))
    assert [trial.number for trial in finalists(search)] == [1, 2]


def test_the_best_finalist_that_register_accepts_is_recommended(search: Search, tmp_path: Path) -> None:
    """The best trained model fails its behavioural tests; the best single run is not of the best params."""
    searched(search, 0.92, 0.91, 0.90)
    search = replace(search, sweep=search.sweep.model_copy(update={"finalists": 3}))
    served = {
        "0-seed-42": (0.95, "failed: negation 0.5"),
        "0-seed-43": (0.94, "passed"),
        "1-seed-42": (0.90, "passed"),
        "1-seed-43": (0.80, "passed"),
        "2-seed-42": (0.88, "passed"),
        "2-seed-43": (0.87, "passed"),
    }
    finals = run_finals(search, FinalsWorkspace(Path(), Path(), search, served))
    assert is_last(search, finals)
    found = results(finals, refuse_dirty=False)
    assert [one.number for one in found] == [2, 1, 0]
    assert "seed 42: behaviour failed: negation 0.5" in found[2].refused
    best = recommended(found)
    assert best.accuracy == pytest.approx(0.875)
    assert best.best.experiment == "s-2-seed-42"
    assert "registered" not in in_words(best, found, best.best.run_id)
    other = found[1].best.run_id
    assert "the registered version is another, of trial 1 with seed 42" in in_words(best, found, other)
    assert "of a run outside of this sweep" in in_words(best, found, "elsewhere")
    for one in found:
        for final in one.finals:
            tags = search.client.get_run(final.run_id).data.tags
            assert tags["mlflow.parentRunId"] == search.parent_run
            assert tags["sweep.finalist"] == str(one.number)
    trials = table(search.study, ["train.dropout"], found)
    assert trials["trial"].tolist() == [2, 1, 0]
    assert trials["served_accuracy"].tolist() == pytest.approx([0.875, 0.85, 0.945])
    seeds = finals_table(found)
    assert seeds["seed"].tolist() == [42, 43] * 3
    assert seeds["served_accuracy"].tolist() == pytest.approx([0.88, 0.87, 0.9, 0.8, 0.95, 0.94])
    write(search.study, ["train.dropout", "train.learning_rate"], found, tmp_path / "out")
    assert (tmp_path / "out/finals.png").stat().st_size > 1000


def test_without_an_accepted_finalist_the_error_gives_every_reason(search: Search) -> None:
    searched(search, 0.92, 0.91)
    served = {
        "0-seed-42": (0.95, "failed: negation 0.5"),
        "0-seed-43": (0.94, "failed: intensity 0.6"),
        "1-seed-42": (0.90, "passed"),
    }
    found = results(run_finals(search, FinalsWorkspace(Path(), Path(), search, served)), refuse_dirty=False)
    with pytest.raises(PipelineError) as error:
        recommended(found)
    reasons = (
        "trial 0, seed 42: behaviour failed: negation 0.5; seed 43: behaviour failed: intensity 0.6",
        f"trial 1, seed 43: {LOSS}",
    )
    assert all(reason in str(error.value) for reason in reasons)


def test_killed_finals_go_on_where_they_ended(search: Search) -> None:
    """One process is interrupted, and one is killed before its trial has even asked for its params."""
    searched(search, 0.92, 0.91)
    labels = [f"{number}-seed-{seed}" for number in (0, 1) for seed in (42, 43)]
    workspace = FinalsWorkspace(
        Path(), Path(), search, dict.fromkeys(labels, (0.9, "passed")), interrupted={"0-seed-43"}
    )
    with pytest.raises(KeyboardInterrupt):
        run_finals(search, workspace)
    killed = open_finals(search).study.ask()
    for attribute, value in (owner() | {"pid": 2**22 + 1}).items():
        killed.set_user_attr(attribute, value)
    resumed = again(search)
    finals = run_finals(resumed, workspace)
    assert sorted(workspace.ran) == sorted([*labels, "0-seed-43"])
    assert [one.refused for one in results(finals, refuse_dirty=False)] == ["", ""]
    assert is_last(resumed, finals)
    late = again(search)
    assert is_last(late, run_finals(late, workspace))
    assert len(workspace.ran) == 5


def test_a_process_that_ran_no_final_of_the_last_ones_does_not_finish(search: Search) -> None:
    searched(search, 0.92, 0.91)
    idle = again(search)
    workspace = FinalsWorkspace(Path(), Path(), search, {"0-seed-42": (0.9, "passed")})
    assert is_last(search, run_finals(search, workspace))
    assert not is_last(idle, run_finals(idle, workspace))


def test_failed_finals_are_run_again_by_the_next_process_only(search: Search) -> None:
    searched(search, 0.92)
    failing = FinalsWorkspace(Path(), Path(), search, {"0-seed-42": (0.9, "passed")})
    idle = again(search)
    run_finals(search, failing)
    run_finals(idle, failing)
    assert failing.ran == ["0-seed-42", "0-seed-43"]
    mended = replace(failing, served={"0-seed-43": (0.8, "passed")}, ran=[])
    finals = run_finals(again(search), mended)
    assert mended.ran == ["0-seed-43"]
    assert recommended(results(finals, refuse_dirty=False)).accuracy == pytest.approx(0.85)


def test_another_choice_of_finalists_has_other_finals(search: Search) -> None:
    searched(search, 0.92, 0.91)
    first = open_finals(search).study.study_name
    assert open_finals(again(search)).study.study_name == first
    searched(search, 0.99)
    assert open_finals(again(search)).study.study_name != first


def test_finals_need_a_finished_trial(search: Search) -> None:
    search.study.add_trial(create_trial(state=TrialState.FAIL))
    with pytest.raises(PipelineError, match="no trial has finished"):
        open_finals(search)
    assert optuna.get_all_study_names(search.storage) == ["s"]
