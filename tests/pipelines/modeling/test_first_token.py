from typing import Any

import torch
from transformers import DistilBertConfig, DistilBertForSequenceClassification

from pipelines.modeling.first_token import read_first_token


def logits_and_gradient(
    model: DistilBertForSequenceClassification, **inputs: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the logits, and the gradient of the first layer, which depends on all layers above it."""
    model.zero_grad()
    logits = model(**inputs).logits
    logits.square().sum().backward()
    gradient = model.get_parameter("distilbert.transformer.layer.0.attention.q_lin.weight").grad
    assert gradient is not None
    return logits.detach(), gradient.clone()


def test_logits_and_gradients_equal_those_of_the_full_layer() -> None:
    torch.manual_seed(0)
    config = DistilBertConfig(
        vocab_size=100, dim=32, hidden_dim=64, n_heads=4, n_layers=2, attention_dropout=0.0
    )
    model = DistilBertForSequenceClassification(config).train(False)
    input_ids = torch.randint(1, 100, (3, 9))
    mask = torch.ones_like(input_ids)
    mask[1, 4:] = 0
    names = set(model.state_dict())
    full = logits_and_gradient(model, input_ids=input_ids, attention_mask=mask)
    read_first_token(model)
    reduced = logits_and_gradient(model, input_ids=input_ids, attention_mask=mask)
    states = model.distilbert(input_ids=input_ids, attention_mask=mask).last_hidden_state
    assert states.shape == (3, 1, 32)
    for actual, expected in zip(reduced, full, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-6)
    assert set(model.state_dict()) == names
