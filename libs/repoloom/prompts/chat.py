"""Conversations as an instruction-tuned model reads them: rendered here, and for `transformers` as a Jinja template.

The form is that of the released DeepSeek-Coder-Instruct models (arXiv 2401.14196, "Instruction Tuning", and their
tokenizer_config.json). What a model is asked with ends where `### Response:` and its line break end, so that it is a
beginning of what training read; the released template leaves that line break to the model.
"""

import json
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

from repoloom.prompts.special_tokens import BOS, EOT, Segment

SYSTEM = (
    "You are an AI programming assistant, utilizing the DeepSeek Coder model, developed by DeepSeek Company, and you "
    "only answer questions related to computer science. For politically sensitive questions, security and privacy "
    "issues, and other non-computer science questions, you will refuse to answer."
)
"""What a conversation begins with that has no system message (github.com/deepseek-ai/DeepSeek-Coder, finetune)."""

_INSTRUCTION, _RESPONSE, _END = "### Instruction:\n", "### Response:\n", "\n"


class Role(StrEnum):
    """Who says something."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


class Message(NamedTuple):
    """What one says."""

    role: Role
    content: str


class Part(NamedTuple):
    """A stretch of a rendered conversation."""

    segment: Segment
    learned: bool  # whether the model is to write it


def render(messages: Sequence[Message], system: str = SYSTEM) -> Iterator[Part]:
    """A conversation as training reads it. Every text ends with a line break, which no token crosses."""
    yield Part(BOS, False)
    if messages[0].role is not Role.SYSTEM:
        yield Part(f"{system}{_END}", False)
    for role, content in messages:
        match role:
            case Role.SYSTEM:
                yield Part(f"{content}{_END}", False)
            case Role.USER:
                yield Part(f"{_INSTRUCTION}{content}{_END}", False)
            case Role.ASSISTANT:
                yield from (Part(_RESPONSE, False), Part(f"{content}{_END}", True), Part(EOT, True), Part(_END, False))


def template(system: str = SYSTEM) -> str:
    """The same for `apply_chat_template` of `transformers`, which takes text that spells a special token for one."""
    said = "message['content']"
    return (
        "{{ bos_token }}"
        f"{{%- if messages[0]['role'] != 'system' %}}{{{{ {_literal(f'{system}{_END}')} }}}}{{%- endif %}}"
        "{%- for message in messages %}"
        f"{{%- if message['role'] == 'system' %}}{{{{ {said} + {_literal(_END)} }}}}"
        f"{{%- elif message['role'] == 'user' %}}{{{{ {_literal(_INSTRUCTION)} + {said} + {_literal(_END)} }}}}"
        f"{{%- else %}}{{{{ {_literal(_RESPONSE)} + {said} + {_literal(f'{_END}{EOT}{_END}')} }}}}{{%- endif %}}"
        "{%- endfor %}"
        f"{{%- if add_generation_prompt %}}{{{{ {_literal(_RESPONSE)} }}}}{{%- endif %}}"
    )


def _literal(text: str) -> str:
    """As Jinja writes a string, whose escapes are those of JSON where no surrogates are."""
    return json.dumps(text, ensure_ascii=False)
