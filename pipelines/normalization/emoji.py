"""Emoji that carry sentiment in reviews, by a word that says the same."""

from collections.abc import Iterator

from tokenizers import Regex
from tokenizers.normalizers import Normalizer, Replace

MARK = "\U000f0000" * 4
"""Is put before what a rule may replace: searching for a longer literal is fast. Its character is one for
private use, which `markup` removes from texts."""

MOST = 8
"""Number of emoji in a row that are read."""

WORDS = {
    "loved": "❤♥😍🥰😘💕💖💗💘💙💚💛💜🧡🖤💞💓😻♡💝💟🤍",
    "great": "👍😊😀😃😄😁🙂😎🤗☺🥳🎉💪🤘✅😇🙏😉😋",
    "brilliant": "👏🙌💯👌🔥🏆🥇🤩🤯🎊✨🌟",
    "funny": "😂🤣😆😹😝😜🤪😅",
    "bad": "👎❌🚫🙁☹😕😟😒😞😔🤨😑😐🫤😬",
    "awful": "💩🗑🚮🤮🤢🤕☠",
    "angry": "😡🤬😠👿😤💢🖕",
    "boring": "😴💤🥱😪",
    "sad": "😢😭💔😿😩😫😖😣",
    "stupid": "🤦🙄🤡",
    "scary": "😱😨👻",
}
"""By word, in the order of the rules. Left out: emoji that praise and blame alike, such as 💀."""


def rules() -> Iterator[Normalizer]:
    """Yield the rules. Emoji in a row that have the same word give it once, and a row has at most MOST."""
    every = "".join(WORDS.values())
    yield Replace(Regex(f"(?:{'|'.join(every)})(?<=[{every}]{{{MOST + 1}}})"), "")
    yield Replace(Regex(f"(?={'|'.join(every)})"), MARK)
    for word, characters in WORDS.items():
        yield Replace(Regex(f"(?:{MARK}(?:{'|'.join(characters)}))+"), f" {word} ")
