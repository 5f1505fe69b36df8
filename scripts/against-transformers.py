"""Compares the raw scores of a reward model made by dawngrad with transformers' own, each sequence alone and padded in one batch.

Run: python scripts/against-transformers.py MODEL IDS SCORES, with torch and transformers (and peft for an adapter), where
  dawngrad data show PAIRS --model MODEL --count N --json > IDS
  dawngrad score --model MODEL --data PAIRS --raw --out SCORES
"""
import json
import os
import sys

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

folder, ids_file, scores_file = sys.argv[1:4]
if os.path.exists(os.path.join(folder, "adapter_config.json")):
    from peft import PeftModel

    config = json.load(open(os.path.join(folder, "adapter_config.json")))
    base_path = config["base_model_name_or_path"]
    base_path = os.path.normpath(os.path.join(folder, base_path)) if base_path.startswith("..") else base_path
    base = AutoModelForSequenceClassification.from_pretrained(base_path, num_labels=1)
    model = PeftModel.from_pretrained(base, folder)
    padding = 0
    base.config.pad_token_id = padding
else:
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    padding = model.config.pad_token_id
model.eval()
shown = [json.loads(line) for line in open(ids_file)]
scores = [value for line in open(scores_file) for value in (json.loads(line)["chosen"], json.loads(line)["rejected"])]
rows = [torch.tensor(line["ids"]) for line in shown]
wanted = torch.tensor(scores[: len(rows)])
with torch.no_grad():
    alone = torch.cat([model(row[None]).logits[:, 0] for row in rows])
    width = max(len(row) for row in rows)
    batch = torch.stack([torch.cat([row, torch.full((width - len(row),), padding)]) for row in rows])
    mask = torch.stack([(torch.arange(width) < len(row)).long() for row in rows])
    together = model(batch, attention_mask=mask).logits[:, 0]
wrong = False
for name, found in (("alone", alone), ("padded", together)):
    wrong |= bool(((found - wanted).abs() > 1e-5 * wanted.abs().clamp(min=1)).any())
    print(f"{name}: {len(rows)} sequences of {min(map(len, rows))} to {width} tokens, largest difference {(found - wanted).abs().max():.2e} of scores up to {wanted.abs().max():.2f}")
if os.path.exists(os.path.join(folder, "tokenizer.json")):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    before = [tokenizer(line["text"])["input_ids"] for line in shown]
    tokenizer.pad_token_id = padding
    after = tokenizer([line["text"] for line in shown], padding=True)
    kept = [[i for i, m in zip(ids, mask) if m] for ids, mask in zip(after["input_ids"], after["attention_mask"])]
    wrong |= before != kept or kept != [line["ids"] for line in shown] or padding == tokenizer.eos_token_id
    print(f"tokenised alike before and after padding was set: {before == kept}; as dawngrad does: {kept == [line['ids'] for line in shown]}; padding is {padding}, the end {tokenizer.eos_token_id}")
sys.exit("they differ" if wrong else 0)
