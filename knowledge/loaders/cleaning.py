"""Characters that no reader sees, or that break what comes later, taken out at the edge.

Zero-width and tag characters can hide instructions from a person and show them to a model; NUL and lone surrogates
break databases and tokenizers. Knows nothing of formats. Called by every loader on all text that it returns.
"""

from __future__ import annotations

import re
import unicodedata

_NEWLINES = re.compile(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_UNSEEN = re.compile(
    "[\0-\x08\x0e-\x1f\x7f-\x9f\u00ad\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\ufff9-\uffff"
    "\ud800-\udfff\U000e0000-\U000e0fff]"
)
_JOINERS = re.compile("(?<![\u0600-\u0dff])[\u200c\u200d]|[\u200c\u200d](?![\u0600-\u0dff])")
_SPACES = re.compile("[\u00a0\u2000-\u200a\u202f\u205f\u3000]")
_TRAILING = re.compile(r"[ \t]+$", re.M)
_GAPS = re.compile(r"\n{3,}")


def clean(text: str) -> str:
    r"""NFC with `\n` line ends and nothing invisible; joiners stay where Arabic and Indic scripts need them."""
    text = _NEWLINES.sub("\n", text)
    text = _JOINERS.sub("", _UNSEEN.sub("", text))
    return unicodedata.normalize("NFC", _SPACES.sub(" ", text))


def tidy(text: str) -> str:
    """`clean`, and no white space at line ends, no runs of empty lines, none around the whole."""
    return _GAPS.sub("\n\n", _TRAILING.sub("", clean(text))).strip()
