"""DistilBERT for masked language modelling (Devlin et al., 2019)."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import (
    DistilBertConfig,
    DistilBertForMaskedLM,
    PreTrainedTokenizerFast,
    set_seed,
)

from pipelines.modeling.encoders import PACKAGED, last_layer, load_folder, load_minilm
from pipelines.modeling.precision import use_all_cores

DROPOUT = 0.1


class MaskedTokenModel(DistilBertForMaskedLM):  # type: ignore[no-untyped-call]  # transformers' are untyped
    """DistilBERT with a language modelling head that computes logits for the masked tokens only.

    The head is as wide as the vocabulary: applied to all tokens, it would take longer than the encoder.
    """

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, masked: torch.Tensor
    ) -> torch.Tensor:
        """Return logits [masked tokens, vocabulary]; all three arguments are [texts, tokens]."""
        states = self.distilbert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        transformed = self.vocab_layer_norm(self.activation(self.vocab_transform(states[masked])))
        logits: torch.Tensor = self.vocab_projector(transformed)
        return logits


def load_masked_lm(base: str, seed: int) -> tuple[MaskedTokenModel, PreTrainedTokenizerFast]:
    """Seed all random generators, then load the encoder that `base` names with a language modelling head.

    A base with such a head keeps it. The packaged encoder gets a head that starts from its word embeddings,
    without the seventh layer that is added for fine-tuning. Raises PipelineError if loading fails.
    """
    use_all_cores()
    set_seed(seed)
    if base != PACKAGED:
        return load_folder(MaskedTokenModel, base, DROPOUT)
    classifier, tokenizer = load_minilm(DROPOUT)
    config = DistilBertConfig(**classifier.config.to_dict() | {"n_layers": classifier.config.n_layers - 1})
    model = MaskedTokenModel(config)
    added = last_layer(classifier.config)
    weights = classifier.distilbert.state_dict().items()
    model.distilbert.load_state_dict({name: w for name, w in weights if not name.startswith(added)})
    # The identity makes the new head predict the word whose embedding is nearest to the hidden state.
    torch.nn.init.eye_(model.vocab_transform.weight)
    return model, tokenizer


def save_encoder(encoder: dict[str, torch.Tensor], path: Path) -> None:
    """Write the encoder's weights; an empty dict means that the base encoder is unchanged."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(encoder, path)
