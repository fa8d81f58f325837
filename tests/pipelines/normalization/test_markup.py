"""A tokenizer reads the same tokens from a text as from what `clean` makes of it."""

import html
import itertools
import unicodedata
from html.entities import html5

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from pipelines.ingest.imdb import imdb
from pipelines.ingest.labels import LabelledReview
from pipelines.normalization.emoji import MARK, WORDS
from pipelines.normalization.markup import ACCENTED, INVISIBLE, SPACES, TYPOGRAPHY, WITHOUT_BASE
from pipelines.normalization.tokenizer import clean
from tests.project import ROOT

ARCHIVE = ROOT.parent / "shared" / "imdb" / "aclImdb_train.tar.gz"

CLEANED = {
    "Loud.<br /><br />Long.": "Loud. Long.",
    "  two\n\n lines\u3000here\u2028": "two lines here",
    "Lilo &amp; Stitch": "Lilo & Stitch",
    "&lt;br&gt;escaped": "escaped",
    "&lt;b&gt;": "",
    "twice &amp;amp;lt;b&amp;gt; escaped": "twice escaped",
    "3 < 4 and 5 > 2, a <3 for &lt;3": "3 < 4 and 5 > 2, a <3 for <3",
    '<div class="review terrible">Lovely film</div>': "Lovely film",
    "<script>alert(1)</script><!-- note --><?xml?>": "alert(1)",
    '<div class="unclosed': '<div class="unclosed',
    "<a<b>c>": "< a c>",
    "R&B, Q&A; love&paradise &nbsp": "R&B, Q&A; love&paradise &nbsp",
    "&unknown; &#97; &#9999999;": "&unknown; &#97; &#9999999;",
    "&l&shy;t;b>": "& lt;b>",
    "caf&eacute; &#345; &#xC6;on": "cafe r Aeon",
    "it&rsquo;s &#8217;&#x2019;&#146;": "it’s ’’’",
    "an end\x96a beginning\x85 \x93so\x94": "an end–a beginning… ”so”",
    "won\u00adder\u200bful\ufeff \u202e!": "wonderful !",
    "\U0001f44e\U0001f3ff\ufe0f &#128545;": "👎 😡",
    f"a\x00b\x1cc\x7fd\uf0b7e{MARK}f": "a b c d e f",
    "": "",
}
HOSTILE = [
    *(
        "<",
        "&",
        "&#",
        "&amp;",
        "&lt;",
        "<a ",
        "<a<b>",
        "<!--",
        "&#0",
        "&x9;",
        "&#9760;",
        "a&",
        "\u200b",
        "\x01",
    ),
    *("😡", "😡💩", "★", "1/10 ", "1/", "1.", "one out of ", "0", MARK, "é", "这"),
]
FRAGMENTS = [
    *(
        "<",
        "</",
        ">",
        "&",
        ";",
        "#",
        "amp",
        "lt",
        "gt",
        "60",
        "x3c",
        "<b>",
        "<br />",
        "<!--",
        "-->",
        "<?",
        '"',
    ),
    *(
        "&lt;",
        "&amp;",
        "&#60;",
        "&shy;",
        "&nbsp;",
        "&eacute;",
        "\u200b",
        "\x96",
        "\x85",
        "\x1c",
        "\t",
        " ",
        "  ",
    ),
    *(
        "😡",
        "👎",
        "💩",
        "\U0001f3ff",
        "\u200d",
        "★",
        "☆",
        "⭐",
        "½",
        "0",
        "1",
        "5",
        "10",
        "/",
        " out of ",
        "ten",
    ),
    *(
        "One",
        "zero",
        " stars",
        "é",
        "e\u0301",
        "日",
        "a",
        "the",
        ".",
        ",",
        "-",
        "(",
        MARK[0],
        "\ufeff",
        "'",
        "\0",
    ),
]


@pytest.mark.parametrize(("text", "expected"), CLEANED.items())
def test_clean(text: str, expected: str) -> None:
    assert clean(text) == expected


@pytest.mark.parametrize("text", [*CLEANED, *(fragment * (20_000 // len(fragment)) for fragment in HOSTILE)])
def test_a_text_has_the_tokens_of_the_cleaned_text(tokenizer: Tokenizer, text: str) -> None:
    """The hostile texts would take minutes if a rule's time were not linear."""
    assert tokenizer.encode(text).ids == tokenizer.encode(clean(text)).ids


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=14).map("".join) | st.text(max_size=30))
def test_any_text_has_the_tokens_of_the_cleaned_text(tokenizer: Tokenizer, text: str) -> None:
    cleaned = clean(text)
    assert clean(cleaned) == cleaned
    encoding = tokenizer.encode(text)
    assert encoding.ids == tokenizer.encode(cleaned).ids
    assert all(0 <= start <= end <= len(text) for start, end in encoding.offsets)


def base_letter(character: str) -> str:
    """Return an accented letter without its accent, or an empty string if Unicode does not decompose it."""
    letter = unicodedata.normalize("NFD", character)[0]
    return letter if letter.isascii() else WITHOUT_BASE.get(character, "")


def test_references_are_decoded_by_name_and_number() -> None:
    """Letters lose their accents, as in an uncased tokenizer, and emoji of one word become one emoji."""
    letters = "".join(letter for letter in ACCENTED if base_letter(letter))
    same = TYPOGRAPHY + letters + "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
    names = [f"&{name}" for name, value in html5.items() if value in [*same] and name[-1] == ";"]
    numbers = [
        form.format(ord(one)) for one in same for form in ("&#{};", "&#{:06d};", "&#x{:x};", "&#X{:X};")
    ]
    assert len(names) > 250
    for reference in [*names, *numbers]:
        expected = html.unescape(reference)
        expected = (expected in ACCENTED and base_letter(expected)) or expected
        assert clean(f"({reference})") == f"({expected})", reference
    for emoji in itertools.chain(*WORDS.values()):
        assert clean(f"&#{ord(emoji)};") == clean(f"&#x{ord(emoji):X};") != f"&#{ord(emoji)};"
    assert all(clean(f"a&#{ord(space)};b") == "a b" for space in SPACES)
    assert all(clean(f"a&#{ord(none)};b") == "ab" for none in INVISIBLE)


@pytest.mark.skipif(not ARCHIVE.exists(), reason="needs a copy of the IMDB archive")
def test_real_reviews_have_the_tokens_of_the_cleaned_reviews(tokenizer: Tokenizer) -> None:
    reviews = [row.text for row in imdb(ARCHIVE) if isinstance(row, LabelledReview)][::25]
    cleaned = [clean(review) for review in reviews]
    assert sum("<br" in review for review in reviews) > len(reviews) / 3
    assert not any("<br" in review for review in cleaned)
    raw, plain = tokenizer.encode_batch_fast(reviews), tokenizer.encode_batch_fast(cleaned)
    assert [encoding.ids for encoding in raw] == [encoding.ids for encoding in plain]
