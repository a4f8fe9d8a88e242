"""Words as evidence counts them: content terms, light stemming, names and numbers.

Small and deterministic; used where the share of a question's words that a text covers is a signal. No search is
done here (that is `keywords.py`, with SQLite's own tokenizer).
"""

from __future__ import annotations

import re
from functools import lru_cache

WORDS_REMEMBERED = 50_000
WORD = re.compile(r"[^\W_]+(?:[.'’_-][^\W_]+)*")

STOPWORDS = frozenset(
    """a about after again all also am an and any anybody anyone are as at be because been before being both but by can
    cannot could did do does doing done for from get gets getting give given go goes got had has have having he her here
    hers him his how however i i'd i'll i'm i've if in into is isn't it it's its just know let like lot make many may me
    might mine more most much must my need no nor not now of off on once one only or other our out over own please same
    she should so some someone something such tell than that that's the their them then there there's these they thing
    things this those through to too under until up us use used using very want was we were what what's when where
    where's whether which while who who's whom whose why will with without won't would you your yours""".split()
)


@lru_cache(WORDS_REMEMBERED)
def stem(word: str) -> str:
    """A light English stem: plural, -ing, -ed, -ly and final -e removed, so that wordings of one term meet."""
    word = word.lower().replace("’", "'").removesuffix("'s")
    for suffix, least in (("ies", 4), ("ing", 6), ("ed", 5), ("es", 5), ("ly", 6), ("s", 4)):
        if word.endswith(suffix) and len(word) >= least and not word.endswith("ss"):
            word = word[: -len(suffix)] + ("y" if suffix == "ies" else "")
            break
    return word.removesuffix("e") if len(word) > 4 else word


def terms(text: str) -> frozenset[str]:
    """Stems of the content words of `text`."""
    words = (word.lower() for word in WORD.findall(text))
    return frozenset(stem(word) for word in words if word not in STOPWORDS)


def specifics(text: str) -> frozenset[str]:
    """Stems of what names a particular thing: numbers, and words with a capital, digit or underscore inside a text.

    The first word of a sentence says nothing by its capital and is left out, unless it also holds a digit.
    """
    found = set()
    for match in WORD.finditer(text):
        word, before = match.group(), text[: match.start()].rstrip()
        opens = not before or before[-1] in '.!?:\n"“('
        particular = any(c.isdigit() or c == "_" for c in word) or (not opens and word[0].isupper())
        if particular and word.lower() not in STOPWORDS:
            found.add(stem(word))
    return frozenset(found)


def coverage(wanted: frozenset[str], text_terms: frozenset[str]) -> float:
    """Share of `wanted` that stands in `text_terms`, 0 to 1; 1 where nothing is wanted."""
    return len(wanted & text_terms) / len(wanted) if wanted else 1.0
