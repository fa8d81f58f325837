"""Training for masked language modelling: token masking, the loss and the Trainer."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import DataCollatorWithPadding, PreTrainedTokenizerFast

from pipelines.core.params import Params
from pipelines.modeling.length_batches import LengthBatches
from pipelines.modeling.trainer import BatchTrainer, arguments
from pipelines.pretrain.masked_lm.model import MaskedTokenModel


def mask_tokens(
    ids: torch.Tensor, tokenizer: PreTrainedTokenizerFast, probability: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the corrupted ids and the mask of the tokens to predict, both [texts, tokens].

    Each token except [CLS], [SEP] and padding is selected with this probability. As in BERT, 80 % of the
    selected tokens become [MASK], 10 % become a random token of the vocabulary, and 10 % stay unchanged.
    """
    special = torch.tensor(tokenizer.all_special_ids, device=ids.device)
    masked = ~torch.isin(ids, special) & (torch.rand(ids.shape, device=ids.device) < probability)
    kind = torch.rand(ids.shape, device=ids.device)
    corrupted = ids.masked_fill(masked & (kind < 0.8), tokenizer.mask_token_id)
    random_words = torch.randint_like(ids, len(tokenizer))
    return torch.where(masked & (kind >= 0.9), random_words, corrupted), masked


class MaskedLMTrainer(BatchTrainer):
    """A Trainer that masks tokens with probability `hidden` and learns to predict them.

    Tokens are drawn at the start of a step, not when its batch is collated one step ahead. Checkpoints
    contain the random state at the step, so a resumed training draws the same tokens.
    """

    def __init__(self, *, tokenizer: PreTrainedTokenizerFast, hidden: float, **kwargs: Any) -> None:
        super().__init__(
            processing_class=tokenizer, data_collator=DataCollatorWithPadding(tokenizer), **kwargs
        )
        self.tokenizer = tokenizer
        self.hidden = hidden

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Return the mean cross entropy over the masked tokens, or 0 if the batch has none."""
        ids = inputs["input_ids"]
        corrupted, masked = mask_tokens(ids, self.tokenizer, self.hidden)
        logits = model(input_ids=corrupted, attention_mask=inputs["attention_mask"], masked=masked)
        total = torch.nn.functional.cross_entropy(logits.float(), ids[masked], reduction="sum")
        return total / masked.sum().clamp(min=1)


def chunk(texts: list[str], tokenizer: PreTrainedTokenizerFast, max_tokens: int) -> Dataset:
    """Return columns input_ids and attention_mask; long texts are split into chunks of similar length."""
    rows: list[list[int]] = []
    for ids in tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]:
        count = -(-len(ids) // (max_tokens - 2))
        for part in np.array_split(ids, count) if count else []:
            rows.append([tokenizer.cls_token_id, *part.tolist(), tokenizer.sep_token_id])
    return Dataset.from_dict({"input_ids": rows, "attention_mask": [[1] * len(row) for row in rows]})


def make_trainer(
    params: Params,
    model: MaskedTokenModel,
    tokenizer: PreTrainedTokenizerFast,
    texts: list[str],
    checkpoints: Path,
) -> MaskedLMTrainer:
    pretrain = params.pretrain
    data = chunk(texts, tokenizer, pretrain.max_tokens)
    lengths = [len(ids) for ids in data["input_ids"]]
    return MaskedLMTrainer(
        tokenizer=tokenizer,
        hidden=pretrain.hidden,
        batches=LengthBatches(lengths, len(lengths), pretrain.batch_tokens, params.train.seed),
        section="pretrain",
        model=model,
        args=arguments(
            checkpoints,
            params.train.seed,
            params.train.precision,
            num_train_epochs=pretrain.epochs,
            learning_rate=pretrain.learning_rate,
            warmup_steps=pretrain.warmup,
            weight_decay=pretrain.weight_decay,
        ),
        train_dataset=data,
    )


def write_history(history: list[dict[str, float]], path: Path) -> None:
    """Write one row per logged step: step and training loss."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["step", "loss"])
        writer.writerows([entry["step"], entry["loss"]] for entry in history if "loss" in entry)
