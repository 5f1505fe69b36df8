"""Writes scores.json: transformers' scores of six sequences of unequal length by the classifier beside it, alone and right-padded in one batch.

Run: python test/golden/scores.py, with torch and transformers. Seen with transformers 5.18, torch 2.13.
"""
import json
import os

import torch
from transformers import AutoModelForSequenceClassification

here = os.path.dirname(os.path.abspath(__file__))
model = AutoModelForSequenceClassification.from_pretrained(os.path.join(here, "classifier")).eval()
padding = model.config.pad_token_id
assert padding is not None and padding != model.config.eos_token_id
torch.manual_seed(7)
rows = [torch.randint(1, 50, (length,)) for length in (3, 9, 1, 12, 5, 32)]  # without the padding, 0: a score is read before it
width = max(map(len, rows))
batch = torch.stack([torch.cat([row, torch.full((width - len(row),), padding)]) for row in rows])
with torch.no_grad():
    alone = [float(model(row[None]).logits[0, 0]) for row in rows]
    padded = model(batch, attention_mask=(torch.arange(width) < torch.tensor([[len(row)] for row in rows])).long()).logits[:, 0].tolist()
assert max(abs(a - b) for a, b in zip(alone, padded)) < 1e-5
result = {"padding": padding, "ids": [row.tolist() for row in rows], "alone": [round(v, 9) for v in alone], "padded": [round(v, 9) for v in padded]}
json.dump(result, open(os.path.join(here, "scores.json"), "w"))
print(alone, padded)
