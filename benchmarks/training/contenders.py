"""The two trainings: the same encoder, reviews and parameters."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
from datasets import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments, default_data_collator
from transformers.models.distilbert.modeling_distilbert import DistilBertSelfAttention

from pipelines.core.params import Params
from pipelines.modeling.encoders import Base, load_base
from pipelines.train.fine_tuning.trainer import make_trainer

ATTENTION_DROPOUT = 0.1
"""The default of DistilBERT's configuration."""


def stage(params: Params, reviews: pd.DataFrame, callback: TrainerCallback, folder: Path) -> Trainer:
    """The stage `train`."""
    model, tokenizer = load_base(params.train.base, params.train.dropout)
    return make_trainer(params, model, tokenizer, (reviews, reviews.head(1)), folder, [callback])


def stock(params: Params, reviews: pd.DataFrame, callback: TrainerCallback, folder: Path) -> Trainer:
    """The example run_classification.py of transformers.

    It trains in fp32, pads every text to `max_tokens`, shuffles, and uses one learning rate for all weights.
    """
    model, tokenizer = base = load_base(params.train.base, params.train.dropout)
    for module in model.modules():
        if isinstance(module, DistilBertSelfAttention):
            module.dropout.p = ATTENTION_DROPOUT
    train = params.train
    arguments = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=train.epochs,
        learning_rate=train.learning_rate,
        warmup_steps=train.warmup,
        weight_decay=train.weight_decay,
        per_device_train_batch_size=train.batch_size,
        label_smoothing_factor=train.label_smoothing,
        include_num_input_tokens_seen="non_padding",
        use_cpu=True,
        seed=params.train.seed,
        save_strategy="no",
        logging_steps=20,
        report_to="none",
        dataloader_pin_memory=False,
    )
    return Trainer(
        model=model,
        args=arguments,
        train_dataset=padded(reviews, base, train.max_tokens),
        processing_class=tokenizer,
        data_collator=default_data_collator,
        callbacks=[callback],
    )


def padded(reviews: pd.DataFrame, base: Base, max_tokens: int) -> Dataset:
    """Tokenize like the example: columns input_ids and attention_mask, each [max_tokens], and label."""
    encoded = base[1](reviews["text"].tolist(), padding="max_length", truncation=True, max_length=max_tokens)
    columns = {name: encoded[name] for name in ("input_ids", "attention_mask")}
    return Dataset.from_dict(columns | {"label": reviews["label"].tolist()})


CONTENDERS: dict[str, Callable[[Params, pd.DataFrame, TrainerCallback, Path], Trainer]] = {
    "stage": stage,
    "stock": stock,
}
