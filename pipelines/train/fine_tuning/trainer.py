"""The fine-tuning Trainer: truncated reviews, batches by length, and equal weight for each review."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from transformers import (
    DataCollatorWithPadding,
    DistilBertForSequenceClassification,
    EvalPrediction,
    PreTrainedTokenizerFast,
    TrainerCallback,
)

from pipelines.core.params import Params
from pipelines.modeling.first_token import read_first_token
from pipelines.modeling.length_batches import LengthBatches
from pipelines.modeling.trainer import BatchTrainer, arguments
from pipelines.train.fine_tuning.optimizer import optimizer


class ReviewTrainer(BatchTrainer):
    """A Trainer with label smoothing that weights each review equally, whatever the size of its batch."""

    def __init__(self, *, label_smoothing: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.label_smoothing = label_smoothing
        self.loss_is_scaled_for_ga = False  # the loss is a mean per batch, not per step

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, Any]:
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        logits = outputs.logits.float()
        if model.training:
            loss = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
            loss = loss * len(labels) / self.batches.mean_rows
        else:
            loss = torch.nn.functional.cross_entropy(logits, labels)
        return (loss, outputs) if return_outputs else loss


def tokenize(
    reviews: pd.DataFrame, tokenizer: PreTrainedTokenizerFast, max_tokens: int, truncation: str
) -> Dataset:
    """Return columns input_ids, attention_mask and labels; longer texts are truncated."""
    encoded = tokenizer(reviews["text"].tolist(), verbose=False)["input_ids"]
    truncated = [truncate(ids, max_tokens, truncation) for ids in encoded]
    masks = [[1] * len(ids) for ids in truncated]
    return Dataset.from_dict(
        {"input_ids": truncated, "attention_mask": masks, "labels": reviews["label"].tolist()}
    )


def truncate(ids: list[int], max_tokens: int, truncation: str) -> list[int]:
    """Keep the first (or, `head_tail`, the first and last) tokens, counting [CLS] and [SEP], which stay."""
    if len(ids) <= max_tokens:
        return ids
    tail = max_tokens // 2 if truncation == "head_tail" else 1
    return ids[: max_tokens - tail] + ids[-tail:]


def accuracy(prediction: EvalPrediction) -> dict[str, float]:
    predicted = np.asarray(prediction.predictions).argmax(axis=1)
    return {"accuracy": float((predicted == prediction.label_ids).mean())}


def make_trainer(
    params: Params,
    model: DistilBertForSequenceClassification,
    tokenizer: PreTrainedTokenizerFast,
    reviews: tuple[pd.DataFrame, pd.DataFrame],
    checkpoints: Path,
    callbacks: list[TrainerCallback],
) -> ReviewTrainer:
    """Return a Trainer for `model`; `reviews` are the training and the validation reviews."""
    train = params.train
    training, validation = (
        tokenize(table, tokenizer, train.max_tokens, train.truncation) for table in reviews
    )
    by_length = np.argsort([len(ids) for ids in validation["input_ids"]], kind="stable")
    read_first_token(model)
    model.distilbert.embeddings.word_embeddings.requires_grad_(not train.freeze_embeddings)
    lengths = [len(ids) for ids in training["input_ids"]]
    return ReviewTrainer(
        batches=LengthBatches(lengths, train.batch_size, train.batch_tokens, train.seed),
        section="train",
        label_smoothing=train.label_smoothing,
        model=model,
        args=arguments(
            checkpoints,
            train.seed,
            train.precision,
            num_train_epochs=train.epochs,
            learning_rate=train.learning_rate,
            warmup_steps=train.warmup,
            lr_scheduler_type=train.lr_scheduler_type,
            max_grad_norm=train.max_grad_norm,
            per_device_train_batch_size=train.batch_size,
            per_device_eval_batch_size=64,
            gradient_accumulation_steps=train.accumulation,
            activation_checkpointing=train.activation_checkpointing,
            eval_strategy="epoch",
        ),
        train_dataset=training,
        eval_dataset=validation.select(by_length),  # less padding; metrics do not depend on the order
        processing_class=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=accuracy,
        callbacks=callbacks,
        optimizers=(optimizer(model, train), None),
    )
