"""What can go wrong in the assistant, as exceptions whose messages are shown to people."""


class AssistantError(Exception):
    """Root of this package's errors. The message says what failed, on which value, and what to do next."""


class BadSettings(AssistantError):
    """One or more settings are wrong; the message lists all of them."""


class BadQuestion(AssistantError):
    """The question cannot be taken: empty, or too long."""


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
