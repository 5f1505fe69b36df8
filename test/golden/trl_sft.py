"""Writes trl_sft.json: what TRL's SFTTrainer logs over four steps on the model in layouts/transformers, whole and by a LoRA adapter,
each step over six examples of unequal length in one batch and in six accumulated ones.

Run: python test/golden/trl_sft.py, with torch, transformers, trl, peft and datasets. Seen with trl 1.13, transformers 5.18, torch 2.13.
"""
import json
import os
import tempfile

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast
from tokenizers import Tokenizer, models
from trl import SFTConfig, SFTTrainer

here = os.path.dirname(os.path.abspath(__file__))
base = os.path.join(here, "layouts", "transformers")
torch.manual_seed(3)
rows = []
for length, prompt in [(12, 4), (5, 2), (9, 7), (3, 1), (11, 3), (7, 5)]:
    ids = torch.randint(0, 36, (length,)).tolist()
    rows.append({"input_ids": ids, "completion_mask": [0] * prompt + [1] * (length - prompt)})

vocabulary = {f"t{i}": i for i in range(37)}
tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel(vocabulary, unk_token="t0")), pad_token="t36", eos_token="t35")


def run(rows_at_once, accumulate, lora, loss_type="nll"):
    model = GPT2LMHeadModel.from_pretrained(base, attn_implementation="eager")
    for key in ("attn_pdrop", "embd_pdrop", "resid_pdrop"):
        setattr(model.config, key, 0.0)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    settings = SFTConfig(
        output_dir=tempfile.mkdtemp(), per_device_train_batch_size=rows_at_once, gradient_accumulation_steps=accumulate, max_steps=4,
        learning_rate=1e-2, lr_scheduler_type="linear", warmup_steps=0, logging_steps=1, report_to=[], use_cpu=True, bf16=False,
        gradient_checkpointing=False, max_length=12, shuffle_dataset=False, save_strategy="no", disable_tqdm=True, loss_type=loss_type,
        completion_only_loss=True, dataloader_drop_last=False,
    )
    settings.train_sampling_strategy = "sequential"
    peft = None
    if lora:
        peft = LoraConfig(r=4, lora_alpha=8, lora_dropout=0.0, target_modules=["c_attn", "c_fc"], fan_in_fan_out=True, task_type="CAUSAL_LM")
    trainer = SFTTrainer(model=model, args=settings, train_dataset=Dataset.from_list(rows), processing_class=tokenizer, peft_config=peft)
    if lora:  # A from a formula, so that the other side can have the same
        with torch.no_grad():
            for name, p in trainer.model.named_parameters():
                if "lora_A" in name:
                    p.copy_(torch.sin(torch.arange(p.numel(), dtype=torch.float32) * 0.37).view_as(p) * 0.2)
    trainer.train()
    keys = ("loss", "entropy", "mean_token_accuracy", "grad_norm", "learning_rate", "num_tokens", "epoch")
    return [{key: entry[key] for key in keys} for entry in trainer.state.log_history if "loss" in entry]


result = {"rows": rows, "whole": run(6, 1, False), "accumulated": run(1, 6, False), "lora": run(6, 1, True), "dft": run(6, 1, False, "dft")}
json.dump(result, open(os.path.join(here, "trl_sft.json"), "w"), indent=1)
for name in ("whole", "accumulated", "lora", "dft"):
    for line in result[name]:
        print(name, line)
