"""The language of a question: told where it is sure, English otherwise, and never an answer in a language not known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from assistant import prompts
from assistant.build import Rungs, build
from assistant.language import NAMES, SORRY, foreign, language_of, sorry
from assistant.settings import Settings
from assistant.types import Question
from knowledge.ingest import ingest
from tests.ui.serving import write_pages

ASKED = {
    "ar": "كيف يمكنني تغيير كلمة المرور؟",
    "de": "Wie setze ich mein Passwort zurück?",
    "es": "¿Cómo cambio la contraseña de mi cuenta?",
    "fr": "Comment puis-je annuler ma commande ?",
    "it": "Come posso cancellare il mio ordine?",
    "ja": "パスワードを変更するには?",
    "ko": "비밀번호를 어떻게 변경하나요?",
    "nl": "Hoe kan ik mijn wachtwoord wijzigen?",
    "pl": "Jak zmienić hasło do mojego konta?",
    "pt": "Onde está o meu pedido?",
    "ru": "Как изменить пароль?",
    "sv": "Hur ändrar jag mitt lösenord?",
    "tr": "Şifremi nasıl değiştirebilirim?",
    "uk": "Як змінити пароль до облікового запису?",
    "zh": "如何更改我的密码?",
}


@pytest.mark.parametrize("language", sorted(NAMES))
def test_a_question_of_each_language_is_known_and_answered_in_words_of_it(language: str) -> None:
    assert language_of(ASKED[language]) == language and language_of(SORRY[language]) == language


@pytest.mark.parametrize(
    "text",
    [
        "kubectl get pods -n default",
        "Zanzibar Pro Max DDR5",
        "git rebase -i HEAD~3",
        "Schadenfreude?",
        "merci",
        "Is the El Niño report in Málaga?",
        "TypeError: 'NoneType' object is not subscriptable",
        "ok",
        "",
        "SELECT * FROM kunden WHERE id = 3",
        "How do I say 'Wie geht es dir' in the app?",
    ],
)
def test_names_code_and_short_texts_pass_for_english(text: str) -> None:
    assert foreign(text, ("en",)) is None


def test_where_any_language_is_answered_nothing_is_foreign() -> None:
    assert foreign(ASKED["de"], ()) is None and foreign(ASKED["de"], ("en", "de")) is None
    assert sorry("de", ("en", "fr")) == sorry("xx", ("en",))


def test_a_model_is_told_the_askers_language_and_english_prompts_stay_as_they_were() -> None:
    before = prompts.fingerprint()
    (system, *_) = prompts.grounded(Question(ASKED["de"], "", (), "chat"), ())
    assert system.content.endswith("Answer in German.")
    (system, *_) = prompts.grounded(Question("How is a lamp switched on?", "", (), "chat"), ())
    assert system.content == prompts.GROUNDED and prompts.fingerprint() == before


@pytest.fixture
def rungs(tmp_path: Path) -> Iterator[Rungs]:
    settings = Settings(home=tmp_path / "home", model="scripted", embedder="hash", demo=False, languages=["en"])
    built = build(settings)
    list(ingest(built.store, [write_pages(tmp_path / "pages")]))
    yield built
    built.close()


def test_a_question_in_another_language_is_told_so_instead_of_being_answered_wrongly(rungs: Rungs) -> None:
    conversation = rungs.traces.open_conversation("a" * 32, "chat")
    trace = rungs.assistant.ask(Question(ASKED["de"], conversation, (), "chat"))
    assert trace.answer.text == SORRY["de"] and trace.answer.outcome == "abstained"
    assert all("German" in (attempt.skipped_because or "") for attempt in trace.attempts)
    english = rungs.assistant.ask(Question("How is a lamp switched on?", conversation, (), "chat"))
    assert any(attempt.skipped_because is None for attempt in english.attempts)
