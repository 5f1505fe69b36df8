"""Writes templates.json: what transformers renders for templates and conversations, and where the assistant speaks.

Run: python test/golden/templates.py, with transformers and jinja2 (bun prints the built-in templates). Seen with transformers 5.18.
"""
import json
import os
import subprocess

from transformers.utils.chat_template_utils import render_jinja_template

here = os.path.dirname(os.path.abspath(__file__))
built_in = json.loads(
    subprocess.check_output(
        ["bun", "-e", 'console.log(JSON.stringify((await import("./src/text/template.ts")).builtIn))'],
        cwd=os.path.join(here, "..", ".."),
    )
)
chatml = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n'}}{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}{% else %}{{ message['content'] + '<|im_end|>' }}"
    "{% endif %}{{ '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
spaced = """{%- for message in messages %}
    {%- if message.role == 'user' %}
        {{- 'Q: ' + message.content | trim }}
    {%- else %}
        {%- generation %}
        {{- '\\nA: ' + message.content + eos_token }}
        {%- endgeneration %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '\\nA:' }}{% endif %}"""
lines = """{# Line ends, blanks before blocks, what is none, and a line end at the end. #}
{%- if tools is not none %}
Tools: {{ tools }}
{%- endif %}
{% if documents is not none %}Documents: {{ documents }}{% endif %}
  {% for message in messages %}
{{ message.role }}:
    {% if message.role == 'assistant' %}
  {%- generation %}
{{ message.content }}
{{ eos_token -}}
  {% endgeneration %}

    {% else %}
{{ message.content }}
\t{# not written #}
    {% endif %}
  {% endfor %}
{% if add_generation_prompt %}
assistant:
{% endif %}
"""
templates = {
    **built_in,
    "chatml": chatml,
    "spaced": spaced,
    "lines": lines,
    "lines ended by CRLF": lines.replace("\n", "\r\n"),
    "lines ended by CR": lines.replace("\n", "\r"),
}
conversations = [
    [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello!"}],
    [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": " One?\nTwo? "},
        {"role": "assistant", "content": "Three."},
        {"role": "user", "content": "Four?"},
        {"role": "assistant", "content": "Five: {{ 6 }} 'seven'."},
    ],
    [
        {"role": "user", "content": "Sort these.\n\nb, a", "instruction": "Sort these.", "input": "b, a"},
        {"role": "assistant", "content": "a, b"},
    ],
]
cases = []
for name, template in templates.items():
    for messages in conversations:
        options = dict(chat_template=template, bos_token="<|endoftext|>", eos_token="<|endoftext|>")
        texts, spans = render_jinja_template([messages], return_assistant_tokens_mask=True, **options)
        prompts, _ = render_jinja_template([messages[:-1]], add_generation_prompt=True, **options)
        cases.append({"name": name, "template": template, "messages": messages, "text": texts[0], "spans": spans[0], "prompt": prompts[0]})
json.dump(cases, open(os.path.join(here, "templates.json"), "w"), indent=1)
