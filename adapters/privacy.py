"""Personal data in examples replaced by typed placeholders: [email], [phone], [card], [iban], [ip].

What stands in an example's passages stays: the owner published it, and a model that was taught to write "[email]"
where the notes name the support address would be worse than useless. Finds no names and no street addresses: rules
cannot. Every pattern is linear in the length of the text. Called by `dataset.py`, and by `overlap.py` so that masked
and unmasked wordings of a question meet.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

from adapters.types import Example

PLACEHOLDERS = {kind: f"[{kind}]" for kind in ("email", "iban", "card", "ip", "phone")}
Replace = Callable[[str, str], str]
"""(kind, value) to what takes its place."""
Accepts = Callable[[str, int, int], bool]
"""Whether text[start:end] is one."""

_EMAIL = re.compile(r"(?<![\w.+%-])[\w.+%-]++(?:'[\w.+%-]++)?@(?:[\w-]{1,63}\.)+[^\W\d_][\w-]{1,23}(?![\w-])")
_IBAN = re.compile(r"(?<![^\W_])(?=([A-Z]{2}\d{2}(?:[ \u00a0-]?[A-Z0-9]){11,30}))", re.I | re.A)
_IPV4 = re.compile(r"(?<![\w.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?!\w|\.[0-9])")
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f:]{3,45}(?![\w:])")
_VERSION = re.compile(r"\b(?:version|release|build|v)\s*$", re.I)
_CARD_RUN = re.compile(r"(?<![\w./])\d+(?:[ \u00a0-]\d+)*")
_PHONE_RUN = re.compile(r"(?<![\w./-])[+(]{0,2}\d+(?:[ \u00a0().\u2011/-]{1,3}\d+)*")
_GROUP = re.compile(r"[+(]{0,2}\d+")

_IBAN_LENGTHS = {
    name[:2]: int(name[2:])
    for name in (
        "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 "
        "ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 "
        "LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 "
        "PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 "
        "YE30"
    ).split()
}
"""Characters of an IBAN by country (SWIFT's IBAN registry, ISO 13616)."""
_ISSUED = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|5[1-5]\d{14}|2[2-7]\d{14}|3[47]\d{13}|3[0689]\d{12}|35\d{14}|(?:5[06-9]|6)\d{12,18}"
)
"""Numbers that card networks issue (ISO/IEC 7812 ranges): keeps most order numbers and times out."""
GROUPS_MAX = 5
"""Nobody writes a card or telephone number in more groups."""
_PHONE_EDGE = re.compile(r"[./-]?\w")
_DECIMAL = re.compile(r"\d+\.\d+")
_AREA_CODE = re.compile(r"\(?(?!000)\d\d")
_LIST = re.compile(r"(?:\D*\d){6}.* [/-] ")
"""A stroke with spaces around it stands after the area code, or between two numbers."""
_JOINS = (".", "/", "-")
_DATE = re.compile(r"\d{4}([-./])\d{1,2}\1\d{1,2}|\d{1,2}([-./])\d{1,2}\2\d{4}")
_AMERICAN = re.compile(r"(?:1[ .-]?)?(?:\([2-9]\d\d\) ?|[2-9]\d\d[ .-])[2-9]\d\d[ .-]\d{4}")
_CALL = re.compile(
    r"(?:^|[^\w])(?:phone|tel|telephone|telefon|call|mobile|cell|fax|whatsapp|sms|hotline|handy|dial)\b[^\n]{0,12}$",
    re.I,
)


def mask(text: str, public: frozenset[str] = frozenset()) -> tuple[str, Counter[str]]:
    """Put placeholders where personal data stands.

    Args:
        text: any text.
        public: values that stay, as `values` gives them.

    Returns:
        The text, and how many of each kind were replaced.
    """
    counts: Counter[str] = Counter()

    def hide(kind: str, value: str) -> str:
        if _key(value) in public:
            return value
        counts[kind] += 1
        return PLACEHOLDERS[kind]

    return _walk(text, hide), counts


def values(text: str) -> frozenset[str]:
    """Every value that `mask` would replace, in a form that can be compared."""
    found = set()

    def note(kind: str, value: str) -> str:
        found.add(_key(value))
        return PLACEHOLDERS[kind]

    _walk(text, note)
    return frozenset(found)


def mask_example(example: Example) -> tuple[Example, Counter[str]]:
    """The example with personal data masked in question, history, answer and rejected draft; passages stay."""
    public = values("\n".join(passage.text for passage in example.passages))
    total: Counter[str] = Counter()

    def masked(text: str) -> str:
        said, counts = mask(text, public)
        total.update(counts)
        return said

    done = replace(
        example,
        question=masked(example.question),
        answer=masked(example.answer),
        history=tuple(replace(turn, text=masked(turn.text)) for turn in example.history),
        rejected=masked(example.rejected),
    )
    return done, total


def _walk(text: str, put: Replace) -> str:
    """Each kind in turn: a later one sees what the earlier ones left."""
    text = _EMAIL.sub(lambda found: put("email", found.group()), text)
    text = _put_all(text, _ibans(text), "iban", put)
    text = _put_all(text, _windows(text, _CARD_RUN, range(13, 20), _is_card), "card", put)
    for pattern in (_IPV4, _IPV6):
        text = pattern.sub(lambda found: put("ip", found.group()) if _is_address(found) else found.group(), text)
    return _put_all(text, _windows(text, _PHONE_RUN, range(7, 16), _is_phone), "phone", put)


def _put_all(text: str, spans: Iterator[tuple[int, int]], kind: str, put: Replace) -> str:
    """The text with each span replaced; spans come in order and do not overlap."""
    parts, done = [], 0
    for start, end in spans:
        parts += [text[done:start], put(kind, text[start:end])]
        done = end
    return "".join([*parts, text[done:]])


def _key(value: str) -> str:
    return "".join(character for character in value.casefold() if character.isalnum())


def _ibans(text: str) -> Iterator[tuple[int, int]]:
    """As many characters as the country's numbers have, where their checksum (ISO 7064, mod 97-10) is right."""
    done = 0
    for found in _IBAN.finditer(text):
        length = _IBAN_LENGTHS.get(found[1][:2].upper(), 0)
        places = [i for i, character in enumerate(found[1]) if character.isalnum()][:length]
        if not length or len(places) < length or found.start() < done:
            continue
        end = found.start() + places[-1] + 1
        number = "".join(found[1][i] for i in places)
        if text[end : end + 1].isalnum() or int("".join(str(int(c, 36)) for c in number[4:] + number[:4])) % 97 != 1:
            continue
        yield found.start(), end
        done = end


def _windows(text: str, runs: re.Pattern[str], digits: range, accepts: Accepts) -> Iterator[tuple[int, int]]:
    """Within runs of groups of digits, the groups that are accepted together: leftmost, then longest.

    Only stretches of at most `GROUPS_MAX` groups with so many `digits` are looked at.
    """
    for run in runs.finditer(text):
        groups = [group.span() for group in _GROUP.finditer(text, run.start(), run.end())]
        first = 0
        while first < len(groups):
            fits, total = -1, 0
            for last in range(first, min(first + GROUPS_MAX, len(groups))):
                total += len(text[slice(*groups[last])].lstrip("+("))
                if total in digits and accepts(text, groups[first][0], groups[last][1]):
                    fits = last
            if fits >= 0:
                yield groups[first][0], groups[fits][1]
            first = max(first, fits) + 1


def _is_card(text: str, start: int, end: int) -> bool:
    """A number that card networks issue, with the check digit of ISO/IEC 7812-1 (Luhn)."""
    number = _digits(text[start:end])
    if not _ISSUED.fullmatch(number):
        return False
    digits = [int(digit) for digit in reversed(number)]
    return sum(digits[::2] + [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]) % 10 == 0


def _is_address(found: re.Match[str]) -> bool:
    """An IP address of some machine: neither this one's own (127.0.0.1), nor none (0.0.0.0), nor a version's number."""
    value = found.group()
    if ":" in value and (not re.search(r"\d", value) or len(re.findall(r"[^:]+", value)) < 2):
        return False
    if _VERSION.search(found.string[max(0, found.start() - 12) : found.start()]):
        return False
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified)


def _is_phone(text: str, start: int, end: int) -> bool:
    """Written as telephone numbers are, or after a word that says so; a date or a decimal is none."""
    value = text[start:end]
    cut_off = _PHONE_EDGE.match(text, end) or text[max(0, start - 1) : start] in _JOINS
    if cut_off or _DATE.match(value) or _DECIMAL.fullmatch(value) or _LIST.match(value):
        return False
    digits = _digits(value)
    if value.startswith("+"):
        return len(digits) >= 8
    if digits.startswith("0"):
        return bool(_AREA_CODE.match(value)) and 9 <= len(digits) <= (15 if digits.startswith("00") else 12)
    if _AMERICAN.fullmatch(value):
        return True
    return bool(_CALL.search(text[max(0, start - 32) : start]))


def _digits(value: str) -> str:
    digits = re.sub(r"\D", "", value)
    return digits if digits.isascii() else "".join(str(int(digit)) for digit in digits)
