"""The two ways to fine-tune the same encoder on the same reviews, with the same params."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
from datasets import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments, default_data_collator
from transformers.models.distilbert.modeling_distilbert import DistilBertSelfAttention

from pipelines.core.params import Params
from pipelines.modeling.encoders import Base, load_base
from pipelines.train.fine_tuning.trainer import make_trainer

DROPOUT = 0.1
"""Of attention, as DistilBERT's configuration has it where nobody sets it."""


def ours(params: Params, reviews: pd.DataFrame, callback: TrainerCallback, folder: Path) -> Trainer:
    """The stage `train`."""
    model, tokenizer = load_base(params.train.base, params.train.dropout)
    return make_trainer(params, model, tokenizer, (reviews, reviews.head(1)), folder, [callback])


def stock(params: Params, reviews: pd.DataFrame, callback: TrainerCallback, folder: Path) -> Trainer:
    """transformers' example run_classification.py: fp32, every text padded to the longest, shuffled.

    All weights learn, at one rate, and every token passes through every layer.
    """
    model, tokenizer = base = load_base(params.train.base, params.train.dropout)
    for module in model.modules():
        if isinstance(module, DistilBertSelfAttention):
            module.dropout.p = DROPOUT
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
        seed=params.seed,
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
    """Columns input_ids and attention_mask, each [max_tokens], and label: as the example tokenizes."""
    encoded = base[1](reviews["text"].tolist(), padding="max_length", truncation=True, max_length=max_tokens)
    columns = {name: encoded[name] for name in ("input_ids", "attention_mask")}
    return Dataset.from_dict(columns | {"label": reviews["label"].tolist()})


CONTENDERS: dict[str, Callable[[Params, pd.DataFrame, TrainerCallback, Path], Trainer]] = {
    "ours": ours,
    "stock": stock,
}
