"""Filling gaps: some tokens of a text are hidden, and the encoder learns to name them from the others.

BERT's masked language modelling (Devlin et al., 2019).
"""

from typing import Any

import torch
from transformers import (
    DataCollatorWithPadding,
    DistilBertConfig,
    DistilBertForMaskedLM,
    PreTrainedTokenizerFast,
)

from pipelines.base import PACKAGED, load_folder, load_minilm
from pipelines.trainer import BatchTrainer


class GapReader(DistilBertForMaskedLM):  # type: ignore[no-untyped-call]  # transformers' are untyped
    """DistilBERT with its head for gaps, which computes only those that are asked for.

    The head is as wide as the vocabulary: over all tokens it would take longer than the encoder.
    """

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, asked: torch.Tensor
    ) -> torch.Tensor:
        """Logits [asked tokens, vocabulary]; the three arguments are [texts, tokens]."""
        states = self.distilbert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        known = self.vocab_layer_norm(self.activation(self.vocab_transform(states[asked])))
        logits: torch.Tensor = self.vocab_projector(known)
        return logits


def load_gap_reader(base: str, dropout: float) -> tuple[GapReader, PreTrainedTokenizerFast]:
    """The same encoder with a head for gaps: its own where it has one, else one that starts from the words.

    Of the packaged encoder all layers but the seventh, which is ours. Raises PipelineError.
    """
    if base != PACKAGED:
        return load_folder(GapReader, base, dropout)
    whole, tokenizer = load_minilm(dropout)
    model = GapReader(DistilBertConfig(**whole.config.to_dict() | {"n_layers": whole.config.n_layers - 1}))
    model.distilbert.load_state_dict(whole.distilbert.state_dict(), strict=False)
    # The last states as they are: to begin with, a gap is the word whose embedding is nearest.
    torch.nn.init.eye_(model.vocab_transform.weight)
    return model, tokenizer


def hide(
    ids: torch.Tensor, tokenizer: PreTrainedTokenizerFast, share: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The ids with gaps, and which are asked for: a share of them, never [CLS], [SEP] or padding.

    As in BERT: of those asked for 80 % become [MASK], 10 % any word of the vocabulary, 10 % stay.
    """
    special = torch.tensor(tokenizer.all_special_ids, device=ids.device)
    asked = ~torch.isin(ids, special) & (torch.rand(ids.shape, device=ids.device) < share)
    kind = torch.rand(ids.shape, device=ids.device)
    gaps = ids.masked_fill(asked & (kind < 0.8), tokenizer.mask_token_id)
    return torch.where(asked & (kind >= 0.9), torch.randint_like(ids, len(tokenizer)), gaps), asked


class GapTrainer(BatchTrainer):
    """Hides a share of the tokens, `hidden`, and asks for them.

    They are drawn from torch's own randomness as a step begins, not as its batch is put together, one ahead:
    a checkpoint has the state of the former, and a training that goes on draws the same.
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
        """The mean cross entropy over the tokens that are asked for; 0 where there happens to be none."""
        ids = inputs["input_ids"]
        gaps, asked = hide(ids, self.tokenizer, self.hidden)
        logits = model(input_ids=gaps, attention_mask=inputs["attention_mask"], asked=asked)
        total = torch.nn.functional.cross_entropy(logits.float(), ids[asked], reduction="sum")
        return total / asked.sum().clamp(min=1)
