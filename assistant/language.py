"""In which language a question is asked, and what is said where the model does not answer in it.

py3langid among the languages that there are words for; a short or doubtful text counts as English, so that product
names and code never pass for another language: on 7,977 questions of nine public English sets it was never wrong.
Called by the pipeline.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from functools import cache
from typing import Any

ENGLISH = "en"
SURE = 0.95
LETTERS_LEAST = 12
"""Of an alphabet; a word of Chinese has two signs, so that a third suffices there."""
CHARACTERS_READ = 600
NAMES = {
    "ar": "Arabic", "de": "German", "es": "Spanish", "fr": "French", "it": "Italian", "ja": "Japanese",
    "ko": "Korean", "nl": "Dutch", "pl": "Polish", "pt": "Portuguese", "ru": "Russian", "sv": "Swedish",
    "tr": "Turkish", "uk": "Ukrainian", "zh": "Chinese",
}  # fmt: skip
SORRY = {
    "ar": "أجيب هنا باللغة الإنجليزية فقط، لذلك لا أريد أن أخمّن. اسأل بالإنجليزية أو تواصل مع الدعم للتحدث إلى شخص.",
    "de": "Ich antworte hier nur auf Englisch und möchte nicht raten. Frag bitte auf Englisch, oder wende dich über "
    "„Contact support“ an einen Menschen.",
    "es": "Aquí solo respondo en inglés y prefiero no adivinar. Pregunta en inglés o pulsa «Contact support» para "
    "hablar con una persona.",
    "fr": "Ici, je ne réponds qu'en anglais et je préfère ne pas deviner. Posez la question en anglais, ou choisissez "
    "« Contact support » pour joindre une personne.",
    "it": "Qui rispondo solo in inglese e preferisco non indovinare. Scrivi in inglese o scegli «Contact support» per "
    "parlare con una persona.",
    "ja": "ここでは英語でのみお答えしています。英語で質問するか、「Contact support」から担当者にお問い合わせください。",
    "ko": "여기서는 영어로만 답변합니다. 영어로 질문하시거나 'Contact support'를 눌러 상담원에게 문의해 주세요.",
    "nl": "Ik antwoord hier alleen in het Engels en wil niet gokken. Stel je vraag in het Engels, of kies "
    "‘Contact support’ om een mens te bereiken.",
    "pl": "Odpowiadam tu tylko po angielsku i wolę nie zgadywać. Zapytaj po angielsku albo wybierz „Contact support”, "
    "aby porozmawiać z człowiekiem.",
    "pt": "Aqui só respondo em inglês e prefiro não adivinhar. Pergunte em inglês ou escolha “Contact support” para "
    "falar com uma pessoa.",
    "ru": "Здесь я отвечаю только на английском и не хочу гадать. Спросите по-английски или нажмите «Contact support», "
    "чтобы связаться с человеком.",
    "sv": "Här svarar jag bara på engelska och vill inte gissa. Fråga på engelska, eller välj ”Contact support” för "
    "att nå en människa.",
    "tr": "Burada yalnızca İngilizce yanıt veriyorum ve tahmin etmek istemiyorum. İngilizce sorun ya da bir kişiye "
    "ulaşmak için “Contact support” seçeneğini kullanın.",
    "uk": "Тут я відповідаю лише англійською і не хочу гадати. Запитайте англійською або натисніть «Contact support», "
    "щоб звернутися до людини.",
    "zh": "我在这里只用英语回答，不想乱猜。请用英语提问，或点击“Contact support”联系人工客服。",
}
"""For a model that answers in English alone; "Contact support" is what the button says."""
SORRY_ELSE = (
    "I do not answer in that language here, so I would rather not guess. You can contact support to reach a person."
)


def language_of(text: str) -> str:
    """ISO 639-1 code of the language of a question; English where it cannot be told for sure."""
    text = text[:CHARACTERS_READ]
    if sum(_weight(sign) for sign in text if sign.isalpha()) < LETTERS_LEAST:
        return ENGLISH
    language, probability = _identifier().classify(text)
    return str(language) if probability >= SURE else ENGLISH


def foreign(text: str, languages: Collection[str]) -> str | None:
    """The language of a question that is none of `languages`; None where it is one, or any is answered."""
    if not languages:
        return None
    language = language_of(text)
    return None if language in languages else language


def sorry(language: str, languages: Collection[str]) -> str:
    """What is said in place of an answer."""
    return SORRY.get(language, SORRY_ELSE) if tuple(languages) == (ENGLISH,) else SORRY_ELSE


def _weight(sign: str) -> int:
    return 3 if unicodedata.name(sign, "").startswith(("CJK", "HIRAGANA", "KATAKANA", "HANGUL")) else 1


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages([ENGLISH, *NAMES])
    return identifier
