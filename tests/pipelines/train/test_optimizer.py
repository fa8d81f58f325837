import pytest
from transformers import DistilBertConfig, DistilBertForSequenceClassification

from pipelines.core.params import TrainParams, load_params
from pipelines.train.fine_tuning.optimizer import height, optimizer
from tests.project import ROOT


@pytest.fixture(scope="module")
def model() -> DistilBertForSequenceClassification:
    config = DistilBertConfig(vocab_size=50, dim=16, hidden_dim=32, n_heads=2, n_layers=3)
    return DistilBertForSequenceClassification(config)


def params(**changes: float) -> TrainParams:
    return load_params(ROOT / "params.yaml").train.model_copy(update=changes)


def rates(model: DistilBertForSequenceClassification, train: TrainParams) -> dict[str, tuple[float, float]]:
    """Return the learning rate and weight decay of each trainable weight, by name."""
    names = {id(weight): name for name, weight in model.named_parameters()}
    return {
        names[id(weight)]: (group["lr"], group["weight_decay"])
        for group in optimizer(model, train).param_groups
        for weight in group["params"]
    }


def test_without_layer_decay_all_rates_are_equal_and_biases_and_norms_do_not_decay(
    model: DistilBertForSequenceClassification,
) -> None:
    found = rates(model, params(learning_rate=0.1, weight_decay=0.5))
    assert set(found) == {name for name, _ in model.named_parameters()}
    for name, (rate, decay) in found.items():
        assert rate == 0.1
        assert decay == (0.0 if name.endswith("bias") or "norm" in name.lower() else 0.5), name


def test_with_layer_decay_each_layer_has_a_lower_rate_than_the_one_above(
    model: DistilBertForSequenceClassification,
) -> None:
    found = rates(model, params(learning_rate=0.1, layer_decay=0.5))
    layer = "distilbert.transformer.layer.{}.ffn.lin1.weight"
    assert found["classifier.weight"][0] == found["pre_classifier.weight"][0] == 0.1
    assert [found[layer.format(number)][0] for number in (2, 1, 0)] == pytest.approx([0.1, 0.05, 0.025])
    assert found["distilbert.embeddings.word_embeddings.weight"][0] == pytest.approx(0.0125)


def test_frozen_weights_are_left_out(model: DistilBertForSequenceClassification) -> None:
    frozen = model.distilbert.embeddings.word_embeddings
    frozen.requires_grad_(False)
    assert "distilbert.embeddings.word_embeddings.weight" not in rates(model, params())
    frozen.requires_grad_(True)


def test_heights_are_counted_from_the_head() -> None:
    assert height("classifier.bias", 6) == 0
    assert height("distilbert.transformer.layer.5.output_layer_norm.bias", 6) == 0
    assert height("distilbert.transformer.layer.0.attention.q_lin.weight", 6) == 5
    assert height("distilbert.embeddings.LayerNorm.weight", 6) == 6
