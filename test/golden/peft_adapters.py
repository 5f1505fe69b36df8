"""Writes peft/: adapters for the model in layouts/transformers as PEFT itself saves them, the logits with each, and the loss's gradients.

Run: python test/golden/peft_adapters.py, with torch, transformers and peft. Seen with torch 2.13, transformers 5.18, peft 0.21.
"""
import json
import os
import shutil

import torch
from peft import LoraConfig, get_peft_model
from transformers import GPT2LMHeadModel

here = os.path.dirname(os.path.abspath(__file__))
base = os.path.join(here, "layouts", "transformers")
out = os.path.join(here, "peft")
shutil.rmtree(out, ignore_errors=True)
torch.manual_seed(5)
tokens = json.load(open(os.path.join(here, "layouts", "logits.json")))["tokens"]
ids = torch.tensor([tokens])

kinds = {
    "lora": dict(r=4, lora_alpha=6, target_modules=["c_attn"]),
    "rslora": dict(r=4, lora_alpha=3, use_rslora=True, target_modules=["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"]),
    "dora": dict(r=2, lora_alpha=4, use_dora=True, target_modules=["c_attn", "c_proj", "c_fc"]),
    "head": dict(r=3, lora_alpha=3, target_modules=["c_fc", "lm_head"]),
}


def adapted(settings):
    """The base with a random adapter."""
    model = GPT2LMHeadModel.from_pretrained(base, attn_implementation="eager")
    model = get_peft_model(model, LoraConfig(fan_in_fan_out=True, task_type="CAUSAL_LM", lora_dropout=0.0, **settings))
    for key, p in model.named_parameters():
        if p.requires_grad:
            with torch.no_grad():
                p.copy_(p * (1 + 0.1 * torch.randn_like(p)) if "magnitude" in key else 0.3 * torch.randn_like(p))
    return model


result = {"tokens": tokens, "adapters": {}}
for name, settings in kinds.items():
    model = adapted(settings)
    model.eval()
    logits = model(ids).logits[0]
    loss = torch.nn.functional.cross_entropy(logits[:-1], ids[0, 1:])
    loss.backward()
    grads = {
        key.replace("base_model.model.", "").replace("transformer.", "").replace(".default", "").replace("vector.weight", "vector"): p.grad.flatten().tolist()
        for key, p in model.named_parameters()
        if p.requires_grad
    }
    with model.disable_adapter():
        plain = model(ids).logits[0]
    merged = model.merge_and_unload()(ids).logits[0] if name != "head" else None
    model = None
    result["adapters"][name] = {
        "logits": logits.detach().flatten().tolist(),
        "base": plain.detach().flatten().tolist(),
        "merged": None if merged is None else merged.detach().flatten().tolist(),
        "loss": loss.item(),
        "gradients": grads,
    }

# Saved last, since merging changes the model in place.
torch.manual_seed(5)
for name, settings in kinds.items():
    model = adapted(settings)
    model.save_pretrained(os.path.join(out, name))
    path = os.path.join(out, name, "adapter_config.json")
    config = json.load(open(path))
    config["base_model_name_or_path"] = "../../layouts/transformers"
    json.dump(config, open(path, "w"), indent=2, sort_keys=True)
    os.remove(os.path.join(out, name, "README.md"))

rounded = json.loads(json.dumps(result), parse_float=lambda s: float("%.8g" % float(s)))
json.dump(rounded, open(os.path.join(out, "results.json"), "w"))
