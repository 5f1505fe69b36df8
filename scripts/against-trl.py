"""Steps of TRL's GRPOTrainer: the other side of grpo-speed.ts.

Arguments: answers of a step, tokens of an answer, tokens of a prompt, vocabulary, steps. Prints the completion tokens a second of every step
after the first. The model is GPT-2's of two layers, four heads and 128 channels, random; nothing ends before its last token; the reward is the
number of different tokens.
"""

import os
import sys
import tempfile
import time

answers, tokens, prompt, vocabulary, steps = map(int, sys.argv[1:6])
os.environ.setdefault("OMP_NUM_THREADS", "2")
import torch

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

words = Tokenizer(models.WordLevel({f"t{i}": i for i in range(vocabulary)}, unk_token="t0"))
words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
end = f"t{vocabulary - 1}"
tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token=end, pad_token=end, padding_side="left")
torch.manual_seed(0)
sizes = dict(n_layer=2, n_head=4, n_embd=128, n_positions=128, vocab_size=vocabulary)
ends = dict(bos_token_id=vocabulary - 1, eos_token_id=vocabulary - 1)
model = GPT2LMHeadModel(GPT2Config(**sizes, **ends, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0))
model.generation_config.eos_token_id = None
asked = [" ".join(f"t{(7 * i + 13 * t) % (vocabulary - 1)}" for t in range(prompt)) for i in range(512)]
done, marks = [0], []


def reward(prompts, completions, completion_ids, **_):
    done[0] += sum(len(ids) for ids in completion_ids)
    return [float(len(set(ids))) for ids in completion_ids]


class Clock(TrainerCallback):
    def on_step_end(self, *_, **__):
        marks.append((time.perf_counter(), done[0]))


config = GRPOConfig(
    output_dir=tempfile.mkdtemp(),
    per_device_train_batch_size=answers,
    num_generations=8,
    max_completion_length=tokens,
    max_steps=steps + 1,
    learning_rate=1e-4,
    report_to=[],
    use_cpu=True,
    bf16=False,
    gradient_checkpointing=False,
    save_strategy="no",
    disable_tqdm=True,
    logging_steps=1000,
    beta=0.0,
)
data = Dataset.from_list([{"prompt": text} for text in asked])
GRPOTrainer(
    model=model, processing_class=tokenizer, reward_funcs=reward, args=config, train_dataset=data, callbacks=[Clock()]
).train()
for (start, before), (stop, after) in zip(marks, marks[1:]):
    print(f"{(after - before) / (stop - start):.0f}", flush=True)
