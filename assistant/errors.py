"""What can go wrong in the assistant, as exceptions whose messages are shown to people."""


class AssistantError(Exception):
    """Root of this package's errors. The message says what failed, on which value, and what to do next."""


class BadSettings(AssistantError):
    """One or more settings are wrong; the message lists all of them."""


class BadQuestion(AssistantError):
    """The question cannot be taken: empty, or too long."""


class AskedBefore(AssistantError):
    """A question with this key was asked in this conversation; `trace_id` says which one it is."""

    def __init__(self, trace_id: str) -> None:
        super().__init__("this question was asked already. Its answer comes once it is written.")
        self.trace_id = trace_id


class BadGoldenSet(AssistantError):
    """A golden-set file cannot be read; the message names the line."""


class HomeInUse(AssistantError):
    """Another process works on the same RUNGS_HOME."""


class ModelError(AssistantError):
    """A language model could not do what was asked."""


class ModelUnavailable(ModelError):
    """The model is not there: missing or damaged weights, a server that does not answer."""


class ModelTimeout(ModelError):
    """A deadline of a model call passed: connect, first byte or total."""


class PromptTooLong(ModelError):
    """The prompt does not fit the model's context."""
