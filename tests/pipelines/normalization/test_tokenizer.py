from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from pipelines.normalization.tokenizer import normalize

WORDS = ["[UNK]", "Lovely", "lovely", "film", "terrible", "angry", "0", "/", "10"]


def build(normalizer: normalizers.Normalizer | None) -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel({word: row for row, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    normalize(tokenizer)
    return tokenizer


def test_the_base_keeps_its_own_normalizer() -> None:
    text = '<div class="terrible">Lovely</div> f&shy;ilm 😡 0/10'
    rest = ["film", "angry", "terrible", "0", "/", "10"]
    for own, first in [
        (None, "Lovely"),
        (normalizers.BertNormalizer(lowercase=False), "Lovely"),
        (normalizers.BertNormalizer(lowercase=True), "lovely"),
        (normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()]), "lovely"),
    ]:
        assert build(own).encode(text).tokens == [first, *rest]


def test_a_base_that_has_the_rules_does_not_get_them_twice() -> None:
    """Such as a model of ours that is trained on: its ratings would get two words."""
    tokenizer = build(normalizers.Lowercase())
    once = tokenizer.to_str()
    normalize(tokenizer)
    assert tokenizer.to_str() == once


def test_a_saved_tokenizer_has_the_rules() -> None:
    loaded = Tokenizer.from_str(build(None).to_str())
    assert loaded.encode("<b>Lovely</b>").tokens == ["Lovely"]
