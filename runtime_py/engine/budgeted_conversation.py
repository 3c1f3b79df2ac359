"""A conversation of the stock engine whose pictures become at most so many tokens each.

The engine's C library takes such a budget with every message; ``litert_lm`` 0.18.1 has no argument for it.
It makes the C structure that the budget belongs in by a method of its class, which the one here extends.
"""

from __future__ import annotations

import ctypes
from typing import Any

from litert_lm.conversation import Conversation


class BudgetedConversation(Conversation):  # type: ignore[misc]
    """Takes over a conversation that was just made; the other one is of no use afterwards.

    Args:
        made: The conversation; who waits for its end ends this one.
        visual_tokens: The most tokens that a picture becomes, the pictures of the history included.
    """

    def __init__(self, made: Conversation, visual_tokens: int) -> None:
        super().__init__(
            made._lib,
            made._ptr,
            engine=made._engine,
            automatic_tool_calling=made.automatic_tool_calling,
            extra_context=made.extra_context,
        )
        made._ptr = None  # it would be freed twice
        self._visual_tokens = visual_tokens

    def _create_optional_args(self, **given: Any) -> Any:
        arguments = super()._create_optional_args(**given)
        if arguments is None:
            arguments = self._lib.litert_lm_conversation_optional_args_create()
        self._lib.litert_lm_conversation_optional_args_set_visual_token_budget(
            ctypes.c_void_p(arguments), ctypes.c_int(self._visual_tokens)
        )
        return arguments
