"""Rules that remove markup from a text: HTML tags, character references, invisible and control characters.

They are rules of `tokenizers`, so that the tokenizer itself applies them, in training and in serving.
Applying them twice is the same as once: what looks like markup afterwards is taken apart by a space, which
does not change the tokens, since a tokenizer splits at punctuation. A rule's time is linear in the text's
length.

References are decoded if an encoder writes them in English text: ASCII punctuation (no encoder touches
alphanumerics), typographic characters, Latin letters, and the emoji of `emoji.py`; by name, in decimal or in
hexadecimal. Letters with diacritics become their base letter, as in an uncased tokenizer. Names need their
semicolon: without it, `html.unescape` reads "love&paradise" as "love¶dise". Others are left as they are.
"""

import string
import unicodedata
from collections.abc import Iterator
from html.entities import html5

from tokenizers import Regex
from tokenizers.normalizers import Normalizer, Replace, Strip

from pipelines.normalization.emoji import MARK, WORDS

INVISIBLE = (
    "\u00ad\u034f\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e"
    "\u2060\u2061\u2062\u2063\u2064\u2066\u2067\u2068\u2069\u206a\u206b\u206c\u206d\u206e\u206f"
    "\ufe00\ufe01\ufe0e\ufe0f\ufeff\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"
)
"""Soft hyphen, joiners, zero-width spaces, direction marks, variation selectors, skin tones."""

CONTROL = "".join(chr(code) for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n\r")
WORD_BULLETS = "\uf0b7\uf0a7"
"""Of Word's symbol font, in an area for private use."""

WINDOWS_1252 = {"\x85": "…", "\x91\x92": "’", "\x93\x94": "”", "\x95": "•", "\x96\x97": "–"}
"""Punctuation of Windows-1252 that was read as Latin-1, such as 1,651 dashes in IMDB's reviews; if they were
dropped, the words beside them would be joined."""

SPACES = (
    "\t\n\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
"""What `str.split` splits at, but for control characters."""

TYPOGRAPHY = "‘’‚“”„«»‹›–—−‐‑…•·′″¡¿£€¥¢©®™°½¼¾×★☆♥✓✗"
ACCENTED = [chr(code) for code in range(0xC0, 0x180)]
"""The letters of Latin-1 and Latin Extended-A."""
WITHOUT_BASE = {"ß": "ss", "æ": "ae", "Æ": "Ae", "œ": "oe", "Œ": "Oe", "ø": "o", "Ø": "O"} | {
    "ł": "l",
    "Ł": "L",
    "ı": "i",
}
"""Letters that Unicode does not decompose."""

TAG = "(?:/?[A-Za-z]|!--|![A-Za-z]|[?][A-Za-z])[^<>]*>"


def rules() -> Iterator[Normalizer]:
    """Yield the rules, in their order."""
    yield replace(INVISIBLE, "")
    for characters, content in WINDOWS_1252.items():
        yield replace(characters, content)
    yield replace(CONTROL + WORD_BULLETS + MARK[0], " ")
    # Texts are sometimes encoded twice: &amp;lt; is &lt;.
    yield Replace(Regex(f"&(?:{reference('&')})+"), "&")
    decoded = references()
    known = f"&(?=#?[0-9A-Za-z]{{1,31}};)(?={reference('&' + ''.join(decoded))})"
    yield Replace(Regex(known), MARK)
    for characters, content in decoded.items():
        yield Replace(Regex(MARK + reference(characters)), content)
        if content == ">":
            yield Replace(Regex(f"<{TAG}"), " ")
    yield Replace(Regex(known), "& ")
    yield Replace(Regex(f"<(?={TAG})"), "< ")
    yield replace(SPACES.replace(" ", ""), " ")
    yield Replace(Regex("  +"), " ")
    yield Strip()


def references() -> dict[str, str]:
    """Return the characters whose references are decoded, with what they become; < and > are the first."""
    same = [character for character in "<>" + string.punctuation + TYPOGRAPHY if character != "&"]
    return (
        dict(zip(same, same, strict=True))
        | {SPACES: " ", INVISIBLE: ""}
        | {characters: letter for letter, characters in base_letters().items()}
        | {characters: characters[0] for characters in WORDS.values()}
    )


def base_letters() -> dict[str, str]:
    """Return the accented letters by what they are without the accent."""
    found: dict[str, str] = {}
    for character in ACCENTED:
        letter = WITHOUT_BASE.get(character, unicodedata.normalize("NFD", character)[0])
        if letter.isascii():
            found[letter] = found.get(letter, "") + character
    return found


def replace(characters: str, content: str) -> Normalizer:
    """Replace each of the characters. Alternatives are searched faster than a character class."""
    return Replace(Regex("|".join(f"\\x{{{ord(character):x}}}" for character in characters)), content)


def reference(characters: str) -> str:
    """Return a pattern of the references to any of the characters, without their &."""
    codes = [*map(ord, characters), *(code for code in range(0x80, 0xA0) if from_windows(code) in characters)]
    hexadecimal = ("".join(f"[{d}{d.upper()}]" if d.isalpha() else d for d in f"{code:x}") for code in codes)
    names = sorted(name[:-1] for name, value in html5.items() if value in [*characters] and name[-1] == ";")
    numbers = f"0{{0,5}}(?:{'|'.join(map(str, codes))})|[xX]0{{0,5}}(?:{'|'.join(hexadecimal)})"
    return f"(?:{'|'.join([*names, f'#(?:{numbers})'])});"


def from_windows(code: int) -> str:
    """Return what browsers read a number from 128 to 159 as: &#150; is a dash."""
    return bytes([code]).decode("cp1252", "replace")
