/**
 * The chat templates that are built in. `alpaca`: the words of https://github.com/tatsu-lab/stanford_alpaca. `instruction`: only its headings.
 * `chat`: turns of plain text, for a model whose vocabulary has no tokens for roles. All end every answer with the end-of-text token.
 */

const ALPACA_WITH_INPUT =
  "Below is an instruction that describes a task, paired with an input that provides further context. Write a response that appropriately completes the request.";
const ALPACA =
  "Below is an instruction that describes a task. Write a response that appropriately completes the request.";

export const builtIn: Readonly<Record<string, string>> = {
  alpaca: [
    "{% for message in messages %}",
    "{% if message.role == 'user' %}",
    "{% if loop.first %}",
    `{% if message.input %}{{ '${ALPACA_WITH_INPUT}\\n\\n' }}{% else %}{{ '${ALPACA}\\n\\n' }}{% endif %}`,
    "{% endif %}",
    "{% if message.input %}",
    "{{ '### Instruction:\\n' + message.instruction + '\\n\\n### Input:\\n' + message.input + '\\n\\n### Response:' }}",
    "{% else %}{{ '### Instruction:\\n' + message.content + '\\n\\n### Response:' }}{% endif %}",
    "{% elif message.role == 'assistant' %}",
    "{% generation %}{{ message.content + eos_token }}{% endgeneration %}",
    "{% if not loop.last %}{{ '\\n\\n' }}{% endif %}",
    "{% else %}{{ message.content + '\\n\\n' }}{% endif %}",
    "{% endfor %}",
  ].join(""),
  instruction: [
    "{% for message in messages %}",
    "{% if message.role == 'user' %}{{ '### Instruction:\\n' + message.content + '\\n\\n### Response:\\n' }}",
    "{% elif message.role == 'assistant' %}{% generation %}{{ message.content + eos_token }}{% endgeneration %}",
    "{% if not loop.last %}{{ '\\n\\n' }}{% endif %}",
    "{% else %}{{ message.content + '\\n\\n' }}{% endif %}",
    "{% endfor %}",
  ].join(""),
  chat: [
    "{% for message in messages %}",
    "{% if message.role == 'user' %}{{ 'User: ' + message.content + '\\n' }}",
    "{% elif message.role == 'assistant' %}",
    "{{ 'Assistant:' }}{% generation %}{{ ' ' + message.content + eos_token }}{% endgeneration %}{{ '\\n' }}",
    "{% else %}{{ message.content + '\\n\\n' }}{% endif %}",
    "{% endfor %}",
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}",
  ].join(""),
};
