import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    DistilBertForSequenceClassification,
    EvalPrediction,
    PreTrainedTokenizerFast,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)

from pipelines.core.checkpoints import Checkpoints
from pipelines.core.errors import PipelineError
from pipelines.core.params import Params, load_params
from pipelines.modeling.encoders import load_base
from pipelines.modeling.precision import resolve_precision
from pipelines.modeling.trainer import DivergedError
from pipelines.modeling.trainer import train as fit
from pipelines.pretrain.masked_lm.model import load_masked_lm
from pipelines.train.fine_tuning.dataset import accuracy_of, tokenize, truncate
from pipelines.train.fine_tuning.early_stopping import BEST, EarlyStopping, take_best
from pipelines.train.fine_tuning.model import load_encoder
from pipelines.train.fine_tuning.trainer import ReviewTrainer, make_trainer
from tests.project import ROOT

Train = Callable[..., ReviewTrainer]


@pytest.fixture(scope="module")
def table(reviews: Path) -> pd.DataFrame:
    return pd.read_csv(reviews, keep_default_na=False).head(48)


@pytest.fixture(scope="module")
def tokenizer(tiny_encoder: Path) -> PreTrainedTokenizerFast:
    return load_base(str(tiny_encoder), dropout=0.0)[1]


@pytest.fixture
def fine_tuned(table: pd.DataFrame, tiny_encoder: Path, tmp_path: Path) -> Train:
    """Train the tiny encoder on the table; the arguments are params of `train`."""

    def train(**changes: object) -> ReviewTrainer:
        chosen = params(base=str(tiny_encoder), **changes)
        set_seed(chosen.train.seed)
        model, tokenizer = load_base(chosen.train.base, chosen.train.dropout)
        trainer = make_trainer(chosen, model, tokenizer, (table, table), tmp_path, [])
        trainer.train()
        return trainer

    return train


def params(**changes: object) -> Params:
    loaded = load_params(ROOT / "params.yaml")
    small = {"epochs": 1.0, "dropout": 0.0, "max_tokens": 32, "warmup": 0.0, "precision": "fp32"}
    return loaded.model_copy(update={"train": loaded.train.model_copy(update={**small, **changes})})


def weights(trainer: ReviewTrainer) -> torch.Tensor:
    model = trainer.model
    assert isinstance(model, DistilBertForSequenceClassification)
    return torch.cat([weight.detach().flatten() for weight in model.distilbert.transformer.parameters()])


def test_truncation_keeps_the_head_or_both_ends() -> None:
    ids = [101, *range(10), 102]
    assert truncate(ids, 12, "head") == truncate(ids, 20, "head_tail") == ids
    assert truncate(ids, 6, "head") == [101, 0, 1, 2, 3, 102]
    assert truncate(ids, 6, "head_tail") == [101, 0, 1, 8, 9, 102]
    assert truncate(ids, 7, "head_tail") == [101, 0, 1, 2, 8, 9, 102]


def test_texts_begin_and_end_with_special_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    texts = pd.DataFrame({"text": ["Dull.", "A very long and winding film. " * 40], "label": [0, 1]})
    for row in tokenize(texts, tokenizer, params(max_tokens=16, truncation="head_tail").train):
        assert row["input_ids"][0] == tokenizer.cls_token_id
        assert row["input_ids"][-1] == tokenizer.sep_token_id
        assert len(row["input_ids"]) == len(row["attention_mask"]) <= 16


def test_a_long_review_is_read_in_windows_of_equal_weight(tokenizer: PreTrainedTokenizerFast) -> None:
    texts = pd.DataFrame(
        {"text": ["Dull.", "A very long and winding film. " * 12, "Fine."], "label": [0, 1, 1]}
    )
    rows = tokenize(texts, tokenizer, params(max_tokens=16, windows=64).train)
    long = rows.filter(lambda row: row["review"] == 1)
    assert len(long) > 3
    assert set(long["labels"]) == {1}
    assert sum(long["weight"]) == pytest.approx(1)
    assert all(len(ids) <= 16 for ids in long["input_ids"])
    read = [token for ids in long["input_ids"] for token in ids[1:-1]]
    assert read == tokenizer(texts["text"][1], add_special_tokens=False)["input_ids"]
    few = tokenize(texts, tokenizer, params(max_tokens=16, windows=2).train)
    assert few["review"] == [0, 1, 1, 2]


def test_the_prediction_of_a_review_is_the_mean_over_its_windows(tokenizer: PreTrainedTokenizerFast) -> None:
    """The second review has windows with 0.9 and 0.3; the last one alone would be wrong."""
    texts = pd.DataFrame({"text": ["Dull.", "one two three four five six seven eight"], "label": [0, 1]})
    rows = tokenize(texts, tokenizer, params(max_tokens=8, windows=2).train)
    assert rows["review"] == [0, 1, 1]
    positive = np.array([0.4, 0.9, 0.3])
    logits = np.column_stack([np.zeros(3), np.log(positive / (1 - positive))])
    assert accuracy_of(rows)(EvalPrediction(logits, np.array([0, 1, 1]))) == {"accuracy": 1.0}
    backwards = rows.select([2, 1, 0])
    assert accuracy_of(backwards)(EvalPrediction(logits[::-1], np.array([1, 1, 0]))) == {"accuracy": 1.0}


def test_windows_of_short_reviews_change_nothing_and_long_ones_keep_their_weight(
    table: pd.DataFrame, fine_tuned: Train
) -> None:
    """The mean loss of one step on all reviews is that of reviews, whatever their number of windows."""
    whole = fine_tuned(batch_size=48, max_tokens=256)
    windows = fine_tuned(batch_size=48, max_tokens=256, windows=4)
    assert torch.equal(weights(whole), weights(windows))
    cut = fine_tuned(batch_size=500, batch_tokens=2**20, max_tokens=12, windows=64)
    assert cut.state.global_step == 1
    assert cut.state.log_history[-1]["train_loss"] == pytest.approx(
        whole.state.log_history[-1]["train_loss"], rel=0.1
    )


def test_accumulation_and_activation_checkpointing_take_the_same_step(fine_tuned: Train) -> None:
    """One step on 48 reviews: in one batch, and in three batches with activations computed twice."""
    whole = fine_tuned(batch_size=48)
    small = fine_tuned(batch_size=16, accumulation=3, activation_checkpointing=True)
    assert whole.state.global_step == small.state.global_step == 1
    assert whole.state.log_history[-1]["train_loss"] == pytest.approx(
        small.state.log_history[-1]["train_loss"], rel=1e-3
    )
    # Adam's first step has the size of the learning rate, except where the gradient is almost zero.
    moved = (weights(whole) - weights(small)).abs()
    assert (moved > 0.2 * params().train.learning_rate).float().mean() < 0.01


def test_a_divergence_stops_before_the_weights_change_and_keeps_the_last_checkpoint(
    table: pd.DataFrame, tiny_encoder: Path, tmp_path: Path
) -> None:
    class Poison(TrainerCallback):
        def on_step_begin(
            self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **context: Any
        ) -> None:
            if state.global_step == 3:
                next(context["model"].parameters()).data[:] = float("inf")

    chosen, checkpoints = params(batch_size=4), Checkpoints(tmp_path)
    model, tokenizer = load_base(str(tiny_encoder), 0.0)
    trainer = make_trainer(chosen, model, tokenizer, (table, table), tmp_path, [Poison()])
    with pytest.raises(
        DivergedError, match=r"step 4 is not finite, at a learning rate of .* if any, is in /"
    ):
        fit(trainer, model, checkpoints, seconds=0)
    assert trainer.state.global_step == 3
    assert checkpoints.keep_newest() == checkpoints.at(3)
    assert all(
        weight.isfinite().all() for weight in load_file(checkpoints.at(3) / "model.safetensors").values()
    )


def test_the_schedule_and_the_gradients_limit_are_params(fine_tuned: Train) -> None:
    """After the first of six steps, a cosine has fallen less than a line, and a constant not at all."""
    rates = {}
    for schedule in ("linear", "cosine", "constant_with_warmup"):
        trainer = fine_tuned(batch_size=8, lr_scheduler_type=schedule, max_grad_norm=0.25)
        assert trainer.args.max_grad_norm == 0.25
        assert trainer.lr_scheduler is not None
        rates[schedule] = trainer.lr_scheduler.lr_lambdas[0](1)
    assert rates["linear"] < rates["cosine"] < rates["constant_with_warmup"] == 1


def test_training_stops_early_and_the_best_epochs_weights_are_taken(
    table: pd.DataFrame, tiny_encoder: Path, tmp_path: Path
) -> None:
    """At this learning rate, no prediction changes, so the first epoch remains the best."""
    chosen = params(epochs=5.0, early_stopping=2, learning_rate=1e-9, batch_size=16)
    checkpoints = Checkpoints(tmp_path)
    model, tokenizer = load_base(str(tiny_encoder), 0.0)
    trainer = make_trainer(chosen, model, tokenizer, (table, table), tmp_path, [])
    state = fit(trainer, model, checkpoints, seconds=60)
    assert (state.global_step, state.max_steps) == (9, 15)
    last = weights(trainer)
    take_best(model, tmp_path)
    assert not torch.equal(weights(trainer), last)
    assert torch.equal(load_file(tmp_path / BEST)["classifier.weight"], model.classifier.weight)
    # Run again, it is restored as it was.
    restored = fit(trainer, model, checkpoints, seconds=60)
    assert restored.global_step == 9
    assert torch.equal(weights(trainer), last)


def test_an_evaluation_within_an_epoch_does_not_stop_the_training(tmp_path: Path) -> None:
    """Of a sweep's trial."""
    state = TrainerState(max_steps=20)
    arguments, control = TrainingArguments(output_dir=str(tmp_path), report_to="none"), TrainerControl()
    stops = []
    for step, epoch, accuracy in ((10, 1.0, 0.8), (15, 1.5, 0.7), (20, 2.0, 0.8)):
        state.global_step = step
        state.log_history.append({"step": step, "epoch": epoch, "eval_accuracy": accuracy})
        EarlyStopping(1).on_evaluate(arguments, state, control, model=torch.nn.Linear(1, 1))
        stops.append(control.should_training_stop)
    assert stops == [False, False, True]


def test_a_review_has_the_same_weight_in_a_small_batch(fine_tuned: Train) -> None:
    """Otherwise long reviews would weigh more, since the token limit makes their batches smaller."""
    trainer = fine_tuned(batch_size=32)
    model = trainer.model
    assert isinstance(model, DistilBertForSequenceClassification)
    model.train()
    rows = trainer.train_dataset
    assert rows is not None
    losses = []
    for size in (1, 4):
        batch = trainer.data_collator([{**rows[0]} for _ in range(size)])
        loss = trainer.compute_loss(model, dict(batch))
        assert isinstance(loss, torch.Tensor)
        losses.append(loss.item())
    assert losses[1] == pytest.approx(4 * losses[0], rel=1e-4)


def test_bf16_training_has_almost_the_loss_of_fp32(fine_tuned: Train) -> None:
    """On a processor without bf16, PyTorch emulates it."""
    full, half = (fine_tuned(batch_size=8, precision=name) for name in ("fp32", "bf16"))
    assert half.args.bf16
    assert not full.args.bf16
    assert weights(half).dtype == torch.float32
    losses = [trainer.state.log_history[-1]["train_loss"] for trainer in (full, half)]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


@pytest.mark.parametrize(("capable", "chosen"), [({"avx512_bf16": True}, "bf16"), ({"avx2": True}, "fp32")])
def test_auto_is_bf16_if_the_processor_supports_it(
    monkeypatch: pytest.MonkeyPatch, capable: dict[str, bool], chosen: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capable)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_precision("auto") == chosen
    assert resolve_precision("bf16") == "bf16"
    assert resolve_precision("fp32") == "fp32"


def test_an_encoder_of_another_base_is_refused(tiny_encoder: Path) -> None:
    model = load_base(str(tiny_encoder), 0.0)[0]
    weights = {name: weight + 1 for name, weight in model.distilbert.state_dict().items()}
    load_encoder(model, weights, str(tiny_encoder))
    assert all(torch.equal(weight, weights[name]) for name, weight in model.distilbert.state_dict().items())
    first, *others = weights
    for wrong in (
        {name: weights[name] for name in others},
        weights | {"pooler.weight": weights[first]},
        weights | {first: weights[first][:5]},
    ):
        with pytest.raises(PipelineError, match=r"does not fit train\.base .* Run `dvc repro train`"):
            load_encoder(model, wrong, str(tiny_encoder))


def test_only_the_layer_added_to_the_packaged_encoder_is_not_pretrained() -> None:
    model = load_base("minilm", 0.0)[0]
    weights = load_masked_lm("minilm", seed=1)[0].distilbert.state_dict()
    load_encoder(model, weights, "minilm")
    with pytest.raises(PipelineError, match=r"transformer\.layer\.5\."):
        load_encoder(model, {name: w for name, w in weights.items() if ".layer.5." not in name}, "minilm")


@pytest.mark.process
@pytest.mark.parametrize("wanted", ["1", None])
def test_omp_num_threads_limits_a_training(wanted: str | None) -> None:
    """So that parallel trainings can share the cores; without the variable, a training uses all of them."""
    use = "from pipelines.modeling.precision import use_all_cores; use_all_cores()"
    code = f"{use}; import torch; print(torch.get_num_threads())"
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    environment |= {"OMP_NUM_THREADS": wanted} if wanted else {}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.strip() == (wanted or str(joblib.cpu_count(only_physical_cores=True)))
