"""How a classifier of reviews is trained: each review with the same weight, each text cut to what is read."""

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
    """A Trainer for reviews; `label_smoothing` says how far labels are trusted.

    In training a review counts the same in a small batch as in a large one.
    """

    def __init__(self, *, label_smoothing: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.label_smoothing = label_smoothing
        self.loss_is_scaled_for_ga = False  # ours is a mean over one batch, not over those of a step

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
    """Columns input_ids, attention_mask and labels; of a longer text the head is kept, or head and tail."""
    encoded = tokenizer(reviews["text"].tolist(), verbose=False)["input_ids"]
    kept = [cut(ids, max_tokens, truncation) for ids in encoded]
    masks = [[1] * len(ids) for ids in kept]
    return Dataset.from_dict(
        {"input_ids": kept, "attention_mask": masks, "labels": reviews["label"].tolist()}
    )


def cut(ids: list[int], most: int, truncation: str) -> list[int]:
    """At most so many tokens, [CLS] and [SEP] among them: the first of the text, or its first and last."""
    if len(ids) <= most:
        return ids
    tail = most // 2 if truncation == "head_tail" else 1
    return ids[: most - tail] + ids[-tail:]


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
    """A Trainer of `model` on the training reviews, measured on the validation reviews: `reviews` is both."""
    train = params.train
    training, validation = (
        tokenize(table, tokenizer, train.max_tokens, train.truncation) for table in reviews
    )
    by_length = np.argsort([len(ids) for ids in validation["input_ids"]], kind="stable")
    read_first_token(model)
    model.distilbert.embeddings.word_embeddings.requires_grad_(not train.freeze_embeddings)
    lengths = [len(ids) for ids in training["input_ids"]]
    return ReviewTrainer(
        batches=LengthBatches(lengths, train.batch_size, train.batch_tokens, params.seed),
        label_smoothing=train.label_smoothing,
        model=model,
        args=arguments(
            checkpoints,
            params.seed,
            train.precision,
            num_train_epochs=train.epochs,
            learning_rate=train.learning_rate,
            warmup_steps=train.warmup,
            per_device_train_batch_size=train.batch_size,
            per_device_eval_batch_size=64,
            gradient_accumulation_steps=train.accumulation,
            activation_checkpointing=train.activation_checkpointing,
            eval_strategy="epoch",
        ),
        train_dataset=training,
        eval_dataset=validation.select(by_length),  # less padding; the order decides nothing
        processing_class=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=accuracy,
        callbacks=callbacks,
        optimizers=(optimizer(model, train), None),
    )
