"""Templates written for these tests, each like a kind that people use."""

from __future__ import annotations

TEXT_ONLY = """{# turns alone, as in many scripts for fine-tuning: content must be a string #}
{{- bos_token -}}
{%- for message in messages -%}
    {%- set role = 'model' if message.get('role', 'user') == 'assistant' else message.get('role') -%}
    {{- '<|turn>' + role + '\\n' -}}
    {%- if message['content'] is string -%}
        {%- generation -%}{{- message['content'].strip() -}}{%- endgeneration -%}
    {%- endif -%}
    {{- '<turn|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|turn>model\\n' -}}{%- endif -%}
"""

HERMES = """{#- tools in a system turn as JSON, calls and results between tags -#}
{%- if tools is not none and tools -%}
{{- '<|turn>system\\n' + (tools | tojson) + '<turn|>\\n' -}}
{%- endif -%}
{%- for message in messages -%}
{{- '<|turn>' + message['role'] + '\\n' -}}
{%- for call in message.get('tool_calls', []) -%}
{{- '<tool>' + (call['function'].get('arguments', {}) | tojson) + '</tool>' -}}
{%- endfor -%}
{{- message.get('content') or '' -}}{{- '<turn|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|turn>model\\n' -}}{%- endif -%}
"""

COUNTING = """{%- for message in messages -%}
{{- loop.length ~ ': ' ~ message['content'] ~ '\\n' -}}
{%- endfor -%}
"""
"""Prints how long the conversation is, so what was said before changes with every message."""

BREAKING = """{%- for message in messages -%}
{%- if loop.index > 9 -%}
{%- break -%}
{%- endif -%}
{{- message['content'] -}}
{%- endfor -%}
"""
"""Uses a statement that the engine has not."""

BACKWARDS = "{%- for message in messages -%}{{- message['content'][::-1] -}}{%- endfor -%}"

SWAPPING = """{%- for message in messages -%}
{{- message['content'].swapcase() -}}
{%- endfor -%}
"""
"""Calls a method of strings that the engine has not and that no filter replaces."""

TIRELESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
"""Does not end in anybody's lifetime."""
