"""A classifier that reads the first token needs only that one from its last layer."""

import torch
from transformers import DistilBertForSequenceClassification
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.distilbert.modeling_distilbert import TransformerBlock


class FirstTokenBlock(TransformerBlock):  # type: ignore[no-untyped-call]  # transformers' are untyped
    """DistilBERT's layer, [texts, tokens, width] -> [texts, 1, width]: the first token's new state.

    It attends to all the tokens, so its state is that of the whole layer; the others' queries, outputs and
    feed-forward parts, five sixths of the layer's work, are what the classifier would throw away.
    """

    def forward(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, **_: object
    ) -> torch.Tensor:
        first = hidden_states[:, :1]
        attended = self.sa_layer_norm(self._attend(first, hidden_states, attention_mask) + first)
        answer: torch.Tensor = self.output_layer_norm(self.ffn(attended) + attended)
        return answer

    def _attend(
        self, first: torch.Tensor, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None
    ) -> torch.Tensor:
        own = self.attention
        heads = (own.n_heads, own.attention_head_size)
        query, key, value = (
            project(states).unflatten(-1, heads).transpose(1, 2)
            for project, states in (
                (own.q_lin, first),
                (own.k_lin, hidden_states),
                (own.v_lin, hidden_states),
            )
        )
        mask = attention_mask if attention_mask is None else attention_mask[:, :, :1]
        attend = ALL_ATTENTION_FUNCTIONS[own.config._attn_implementation]
        attended, _ = attend(own, query, key, value, mask, dropout=0.0, scaling=own.scaling)
        projected: torch.Tensor = own.out_lin(attended.flatten(-2))
        return projected


def read_first_token(model: DistilBertForSequenceClassification) -> None:
    """Make the model's last layer compute its first token only: the same logits, the same weights to save."""
    model.distilbert.transformer.layer[-1].__class__ = FirstTokenBlock
