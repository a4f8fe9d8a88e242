"""What can go wrong with adapters, as exceptions whose messages are shown to people."""


class AdapterError(Exception):
    """An adapter is missing, damaged, hostile, or made for other weights."""


class BadTrainingSet(AdapterError):
    """Rows that cannot be read, or that must not or cannot be trained on."""


class BadGate(AdapterError):
    """Questions or rules that no adapter can be gated with."""


class AnswerFailed(AdapterError):
    """One question of a gate could not be answered; the gate goes on without it."""
