"""What the tests of models share."""

from __future__ import annotations

from collections.abc import Sequence

from assistant.types import Token

ROUNDING_NATS = 0.3
"""A token's log-probability depends a little on how many tokens the engine computed beside it."""


def alike(one: Sequence[Token], other: Sequence[Token]) -> bool:
    """Whether two greedy replies are the same but for rounding: equal until two tokens were about as likely."""
    for left, right in zip(one, other, strict=False):
        assert left.logprob is not None
        assert right.logprob is not None
        if left.text != right.text:
            return margin(left) < ROUNDING_NATS and margin(right) < ROUNDING_NATS
        if abs(left.logprob - right.logprob) > ROUNDING_NATS:
            return False
    return len(one) == len(other)


def margin(token: Token) -> float:
    """How much likelier the token was than the next best one."""
    assert token.logprob is not None
    assert token.runner_up is not None
    return token.logprob - token.runner_up
