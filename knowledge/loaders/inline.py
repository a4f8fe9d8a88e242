"""Markdown's and HTML's inline mark-up taken out of prose: what is left is what a reader would see.

Links become their text, images their alternative text; comments, tags, hidden elements and emphasis go; tables stay as
rows between bars; code spans are kept as they are. Knows no headings and no fences. Called by `markdown.py`.
"""

from __future__ import annotations

import html
import re

_CODE = re.compile(r"(?<!`)(`+)(?!`)((?:(?!\n\s*\n).){1,2000}?)(?<!`)\1(?!`)", re.S)
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.S)
_DROPPED = re.compile(r"<(script|style|template|noscript|svg|iframe|object)\b[^<>]*>", re.I)
_HIDDEN = re.compile(
    r"<([a-z][a-z0-9]*)\b(?=[^<>]*(?:\shidden\b|display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0))[^<>]*>",
    re.I,
)
_SHORTCODE = re.compile(r"\{\{[<%][^{}\n]*[%>]\}\}")
_BREAKS = re.compile(
    r"<br\s*/?>|</?(?:p|div|section|article|ul|ol|table|thead|tbody|tr|dl|dd|details|summary)\b[^<>]*>", re.I
)
_ITEM = re.compile(r"<(?:li|dt)\b[^<>]*>", re.I)
_CELL = re.compile(r"</t[dh]\s*>", re.I)
_TAG = re.compile(
    r"</?(?:a|abbr|address|audio|b|big|blockquote|button|caption|center|cite|code|col|colgroup|del|dfn|em|embed|figcaption"
    r"|figure|font|footer|form|header|hr|i|img|input|ins|kbd|label|li|dt|main|mark|nav|option|picture|pre|q|s|samp|select"
    r"|small|source|span|strike|strong|sub|sup|td|th|tfoot|time|tt|u|var|video|wbr|h[1-6]"
    r")(?:\s[^<>]*)?/?>",
    re.I,
)
_COMPONENT = re.compile(r"</?[A-Z][A-Za-z0-9]*[a-z][A-Za-z0-9]*(?:\s[^<>]*)?/?>|</?[a-z][\w:-]*\s+[\w:-]+\s*=[^<>]*>")
_AUTOLINK = re.compile(r"<((?:https?|mailto|ftp):[^<>\s]+|[^<>\s@]+@[^<>\s@]+\.[^<>\s@]+)>")
_TARGET = r"\((?:[^()\n]|\([^()\n]*\)|\n(?!\n))*\)"
_IMAGE = re.compile(r"!\[([^\[\]]*)\](?:" + _TARGET + r"|\[[^\[\]\n]*\])")
_LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\[\]]*\])*)\](?:" + _TARGET + r"|\[[^\[\]\n]*\])")
_DEFINITION = re.compile(r"^ {0,3}\[([^\[\]\n^]+)\]:[ \t]*\S+.*$\n?", re.M)
_FOOTNOTE = re.compile(r"\[\^([^\[\]\s]+)\](:?)")
_STRONG = re.compile(r"(?<!\\)(\*{2,3})(?=[^\s*])((?:[^*\n]|\n(?!\s*\n)){1,2000}?)(?<=[^\s*\\])\1")
_LEANING = re.compile(r"(?<![\w*\\])(\*)(?=[^\s*])((?:[^*\n]|\n(?!\s*\n)){1,2000}?)(?<=[^\s*\\])\1(?![\w*])")
_UNDERLINED = re.compile(r"(?<![\w_\\])(_{1,3})(?=[^\s_])((?:[^_\n]|\n(?!\s*\n)){1,2000}?)(?<=[^\s_\\])\1(?![\w_])")
_STRUCK = re.compile(r"~~(?=\S)(.{1,2000}?)(?<=\S)~~", re.S)
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
_RULER = re.compile(r"^[ \t|]*(?::?-+:?[ \t]*\|[ \t|]*)+(?::?-+:?)?[ \t|]*$\n?", re.M)
_RULE = re.compile(r"^ {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$", re.M)
_ROW = re.compile(r"^[ \t]*\|.*$", re.M)
_PADDING = re.compile(r"[ \t]{2,}")
_KEPT = re.compile("\0(\\d+)\0")


def plain(text: str) -> str:
    """Prose without its mark-up. `text` holds no NUL (see `cleaning.clean`)."""
    kept: list[str] = []

    def keep(found: re.Match[str]) -> str:
        kept.append(found[0])
        return f"\0{len(kept) - 1}\0"

    text = _COMMENT.sub("", text) if "<!--" in text else text
    text = _CODE.sub(keep, text) if "`" in text else text
    text = _without_tags(text) if "<" in text else text
    text = _SHORTCODE.sub("", text) if "{{" in text else text
    text = _without_links(text) if "[" in text else text
    text = _without_emphasis(text)
    if "|" in text:
        text = _ROW.sub(lambda row: _PADDING.sub(" ", row[0]).strip(), _RULER.sub("", text))
    text = html.unescape(text).replace("\xa0", " ") if "&" in text else text
    text = _ESCAPED.sub(r"\1", text) if "\\" in text else text
    return _KEPT.sub(lambda found: kept[int(found[1])], text) if kept else text


def plain_line(text: str) -> str:
    """A heading or title without mark-up, code marks included, on one line."""
    return " ".join(plain(text).replace("`", "").split())


def _without_tags(text: str) -> str:
    text = _without_elements(_without_elements(text, _DROPPED), _HIDDEN)
    text = _AUTOLINK.sub(r"\1", text)
    text = _CELL.sub(" | ", _ITEM.sub("\n- ", _BREAKS.sub("\n", text)))
    return _COMPONENT.sub("", _TAG.sub("", text))


def _without_elements(text: str, opening: re.Pattern[str]) -> str:
    """Elements that open so go with what they hold; one that never closes loses its tag alone. Linear."""
    lowered, kept, at = text.lower(), [], 0
    never: set[str] = set()
    for found in opening.finditer(text):
        name = found[1].lower()
        if found.start() < at or name in never:
            continue
        close = lowered.find(f"</{name}", found.end())
        if close < 0:
            never.add(name)
            continue
        kept.append(text[at : found.start()])
        end = text.find(">", close)
        at = len(text) if end < 0 else end + 1
    return "".join([*kept, text[at:]])


def _without_links(text: str) -> str:
    names = {name.casefold() for name in _DEFINITION.findall(text)}
    text = _IMAGE.sub(r"\1", _DEFINITION.sub("", text))
    text = _LINK.sub(lambda link: link[1], text)
    if names:
        text = re.sub(r"\[([^\[\]\n]+)\]", lambda m: m[1] if m[1].casefold() in names else m[0], text)
    return _FOOTNOTE.sub(lambda note: f"{note[1]}." if note[2] else "", text)


def _without_emphasis(text: str) -> str:
    text = _RULE.sub("", text)
    if "*" in text:
        text = _STRONG.sub(r"\2", _LEANING.sub(r"\2", _STRONG.sub(r"\2", text)))
    if "_" in text:
        text = _UNDERLINED.sub(r"\2", text)
    return _STRUCK.sub(r"\1", text) if "~~" in text else text
