"""Writes peft/reward: a LoRA adapter of a sequence classifier with its scalar head, as PEFT saves it, over the model in layouts/transformers; and
the scores that transformers gives with it, each sequence alone and padded in one batch.

Run: python test/golden/peft_reward.py, with torch, transformers and peft. Seen with peft 0.21, transformers 5.18, torch 2.13.
"""
import json
import os
import shutil

import torch
from peft import LoraConfig, get_peft_model
from transformers import GPT2ForSequenceClassification

here = os.path.dirname(os.path.abspath(__file__))
out = os.path.join(here, "peft", "reward")
PAD = 36
model = GPT2ForSequenceClassification.from_pretrained(os.path.join(here, "layouts", "transformers"), num_labels=1, pad_token_id=PAD)
config = LoraConfig(r=3, lora_alpha=6, lora_dropout=0.0, target_modules=["c_attn", "c_proj"], fan_in_fan_out=True, task_type="SEQ_CLS")
peft = get_peft_model(model, config)
with torch.no_grad():
    for i, (name, p) in enumerate(peft.named_parameters()):
        if "lora_" in name or "modules_to_save" in name:
            p.copy_(torch.sin(torch.arange(p.numel(), dtype=torch.float32) * 0.37 + i).view_as(p) * 0.3)
peft.eval()
shutil.rmtree(out, ignore_errors=True)
peft.save_pretrained(out)
for name in ("README.md",):
    path = os.path.join(out, name)
    if os.path.exists(path):
        os.remove(path)
path = os.path.join(out, "adapter_config.json")
saved = json.load(open(path))
saved["base_model_name_or_path"] = "../../layouts/transformers"
json.dump(saved, open(path, "w"), indent=2)
torch.manual_seed(5)
rows = [torch.randint(0, 36, (n,)) for n in (3, 9, 1, 12, 5, 7)]
with torch.no_grad():
    alone = [float(peft(row[None]).logits[0, 0]) for row in rows]
    width = max(len(row) for row in rows)
    batch = torch.stack([torch.cat([row, torch.full((width - len(row),), PAD)]) for row in rows])
    padded = [float(v) for v in peft(batch, attention_mask=(batch != PAD).long()).logits[:, 0]]
json.dump({"rows": [row.tolist() for row in rows], "alone": alone, "padded": padded}, open(os.path.join(out, "scores.json"), "w"), indent=1)
print(alone, padded)
