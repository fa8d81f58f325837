"""The fine-tuning Trainer: batches by length, and equal weight for each review."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from transformers import (
    DataCollatorWithPadding,
    DistilBertForSequenceClassification,
    PreTrainedTokenizerFast,
    TrainerCallback,
)

from pipelines.core.params import Params
from pipelines.modeling.first_token import read_first_token
from pipelines.modeling.length_batches import LengthBatches
from pipelines.modeling.trainer import BatchTrainer, arguments
from pipelines.train.fine_tuning.dataset import accuracy_of, tokenize
from pipelines.train.fine_tuning.early_stopping import EarlyStopping
from pipelines.train.fine_tuning.optimizer import optimizer


class ReviewTrainer(BatchTrainer):
    """A Trainer with label smoothing that weights each review equally, whatever the size of its batch."""

    def __init__(self, *, label_smoothing: float, reviews: int, **kwargs: Any) -> None:
        """`reviews` is the number of training reviews, each of which may have several rows."""
        super().__init__(**kwargs)
        self.label_smoothing = label_smoothing
        self.mean_reviews = reviews / len(self.batches)
        self.loss_is_scaled_for_ga = False  # the loss is a mean per batch, not per step

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, Any]:
        labels, weight = inputs.pop("labels"), inputs.pop("weight")
        outputs = model(**inputs)
        smoothing = self.label_smoothing if model.training else 0.0
        losses = torch.nn.functional.cross_entropy(
            outputs.logits.float(), labels, label_smoothing=smoothing, reduction="none"
        )
        total = (losses * weight).sum()
        loss = total / (self.mean_reviews if model.training else weight.sum())
        return (loss, outputs) if return_outputs else loss


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
    training, validation = (tokenize(table, tokenizer, train) for table in reviews)
    by_length = np.argsort([len(ids) for ids in validation["input_ids"]], kind="stable")
    validation = validation.select(by_length)  # less padding; metrics do not depend on the order
    read_first_token(model)
    model.distilbert.embeddings.word_embeddings.requires_grad_(not train.freeze_embeddings)
    lengths = [len(ids) for ids in training["input_ids"]]
    return ReviewTrainer(
        batches=LengthBatches(lengths, train.batch_size, train.batch_tokens, train.seed),
        section="train",
        label_smoothing=train.label_smoothing,
        reviews=len(reviews[0]),
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
            remove_unused_columns=False,  # it would remove `weight`
        ),
        train_dataset=training.remove_columns("review"),
        eval_dataset=validation.remove_columns("review"),
        processing_class=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=accuracy_of(validation),
        callbacks=callbacks + ([EarlyStopping(train.early_stopping)] if train.early_stopping else []),
        optimizers=(optimizer(model, train), None),
    )
