"""A question about a passage, and its answer, by rules: from its heading or its first sentence. No model is asked.

Better no question than a bad one: headings that are code or that every document has, and passages that do not begin
with a sentence, give none. Called by `generate.py`.
"""

from __future__ import annotations

import re
from itertools import takewhile

from adapters.types import Passage

WORDS = range(4, 61)
"""Length of an answer that is made, in words."""
HEADING = range(6, 91)
"""Length of a heading that can be asked about, in characters."""
VERBS = frozenset(
    "add build change check choose clean configure connect control convert create debug delete deploy detect disable "
    "download edit enable export find fix get handle identify import install manage measure migrate monitor move open "
    "optimize prepare protect recover reduce remove rename replace replicate reset resolve restore run scale secure "
    "select send set share sign start stop store switch test troubleshoot tune uninstall update upgrade upload use "
    "verify view write".split()
)
"""A heading that opens with one of these says how to do something."""
GENERIC = frozenset(
    "overview,introduction,summary,background,note,example,faq,reference,appendix,conclusion,requirement,prerequisite,"
    "description,content,usage,general,detail,syntax,see also,what's next,next step,table of content,before you start,"
    "in this article,related article".split(",")
)
"""Headings that every document has, without their plural."""
DANGLING = frozenset(
    "after and at before by during for from in of on or since to until when while with without".split()
)
ASKERS = {"you": "I", "your": "my", "yours": "mine", "you're": "I'm", "yourself": "myself"}
TELLING = frozenset("about how what when where which who why".split())

_BULLET = re.compile(r"[ \t]*(?:[-*+•–][ \t]+|\d{1,3}[.)][ \t]+)")
_NO_PROSE = re.compile(r"[ \t]*(?:[|#>]|`{3}|~{3})")
_STOP = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9\"“(\[])")
_CODE = re.compile(r"[`_{}<>=\\|/]|\w\(|--|\b(?:19|20)\d\d\b")
"""Headings that nobody would say: code, paths, dates."""
_NUMBERING = re.compile(r"(?:(?:step|part|chapter|section)\s+)?\d{1,3}(?:\.\d{1,3})*[.):]?\s+", re.I)
_FENCED = re.compile(r"^[ \t]*(`{3,}|~{3,})[^\n]*\n.*?(?:^[ \t]*\1[^\n]*$|\Z)", re.M | re.S)
_POINTS_ON = re.compile(r"\b(?:below|above|following|as follows|these steps|steps? \d)\b|\bsee \W", re.I)
"""A sentence that leaves the answer to what comes after it."""
_META = re.compile(
    r"(?:in )?(?:this|the following|these) (?:section|page|article|document|chapter|guide|topic)|see |note\b", re.I
)
_LEANING = re.compile(r"(?:it|this|that|these|those|they|he|she|such|however|there|you|we|if|when)\b", re.I)
_DEFINES = re.compile(
    r"((?:(?:An?|The) )?(?:[^\W_][\w.-]* ){0,4}[^\W_][\w-]*) (is|are) (?:an?|the|one of|used|designed)\b"
)
_WORD = re.compile(r"\w{3,}")


def question_of(passage: Passage) -> str:
    """What the passage answers, as a person would ask it; empty where no rule fits."""
    heading = " ".join(passage.address.split(" > ")[-1].split()).strip("#*: ")
    heading = _NUMBERING.sub("", heading, count=1) if _NUMBERING.match(heading) else heading
    plain = heading.rstrip("?").lower()
    said = len(heading) in HEADING and not _CODE.search(heading) and plain.split(" ")[0] not in DANGLING
    if said and plain.removesuffix("s") not in GENERIC:
        return _phrased(heading)
    first = next(iter(sentences(passage.text)), "")
    defined = _DEFINES.match(first)
    if defined is None or _LEANING.match(first):
        return ""
    return f"What {defined[2]} {re.sub('^(An?|The) ', lambda word: word.group().lower(), defined[1])}?"


def first_sentences(text: str) -> str:
    """The one or two sentences that a passage opens with, or its list as a whole; empty where that is no answer."""
    units = sentences(text)
    if not units or _META.match(units[0]):
        return ""
    if units[0].endswith(":"):
        answer = " ".join(units)
    else:
        told = list(takewhile(_tells, units[:2]))
        answer = " ".join(told if len(" ".join(told).split()) in WORDS else told[:1])
    return answer if len(answer.split()) in WORDS and not answer.endswith((":", "?")) else ""


def best_sentence(text: str, question: str) -> str:
    """The sentence that shares most words with the question, the first of equals; empty where none shares any."""
    wanted = set(_WORD.findall(question.lower()))
    units = sentences(text)
    shared = [len(wanted & set(_WORD.findall(unit.lower()))) for unit in units]
    return units[shared.index(max(shared))] if any(shared) else ""


def sentences(text: str) -> list[str]:
    """Sentences and list items of prose; tables, quotations, headings and code are left out."""
    units: list[str] = []
    for block in re.split(r"\n[ \t]*\n", _FENCED.sub("", text)):
        joined: list[str] = []
        for line in block.split("\n"):
            if _NO_PROSE.match(line):
                break
            bullet = _BULLET.match(line)
            if bullet or not joined:
                joined.append(line[bullet.end() if bullet else 0 :].strip())
            else:
                joined[-1] = f"{joined[-1]} {line.strip()}"
        units += [unit.strip() for paragraph in joined for unit in _STOP.split(paragraph) if unit.strip()]
    return units


def _tells(sentence: str) -> bool:
    return sentence[-1] in ".!" and not _POINTS_ON.search(sentence)


def _phrased(heading: str) -> str:
    first, _, rest = heading.partition(" ")
    if heading.endswith("?"):
        return heading
    if first.lower() == "if":
        return f"What can I do if {_by_asker(rest)}?"
    if heading.lower().startswith("how to "):
        return f"How do I {_by_asker(heading[7:])}?"
    if first.lower() in VERBS and rest:
        return f"How do I {_by_asker(f'{first.lower()} {rest}')}?"
    inner_capital = any(letter.isupper() for letter in heading[1:])
    telling = first.lower() in TELLING
    if telling or (rest and not inner_capital):
        heading = heading[0].lower() + heading[1:]
    return f"Tell me {heading}." if telling else f"Tell me about {heading}."


def _by_asker(text: str) -> str:
    """What a document says to its reader, as the reader says it."""
    return " ".join(ASKERS.get(word.lower(), word) for word in text.rstrip(".").split(" "))
