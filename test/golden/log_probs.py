"""Writes log_probs.json: log-probabilities, entropies and gradients by PyTorch, and classifier/: GPT-2 with one label.

Of the model in layouts/transformers, alone and with PEFT's adapter on the head. A loss that mixes rows, as preference losses do, is
carried back through them. classifier/ is a GPT2ForSequenceClassification as transformers saves it, with its score at every token.
Run: python test/golden/log_probs.py, with torch, transformers and peft. Seen with torch 2.13, transformers 5.18, peft 0.21.
"""
import json
import os

import torch
from peft import PeftModel
from transformers import GPT2Config, GPT2ForSequenceClassification, GPT2LMHeadModel

here = os.path.dirname(os.path.abspath(__file__))
base = os.path.join(here, "layouts", "transformers")
tokens = json.load(open(os.path.join(here, "layouts", "logits.json")))["tokens"]
ids = torch.tensor([tokens])
torch.manual_seed(11)
SHIFT = torch.linspace(-1, 1, len(tokens) - 1)


def measured(model, temperature):
    """The loss is -log sigmoid of the first half's sum less the second half's, plus a weighted sum of all."""
    model.zero_grad()
    logits = model(ids).logits[0, :-1] / temperature
    log_probs = logits.log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
    half = len(log_probs) // 2
    loss = -torch.nn.functional.logsigmoid(0.1 * (log_probs[:half].sum() - log_probs[half:].sum())) + (SHIFT * log_probs).sum()
    loss.backward()
    distribution = torch.distributions.Categorical(logits=logits)
    return {
        "temperature": temperature,
        "log_probs": log_probs.tolist(),
        "entropy": distribution.entropy().tolist(),
        "accuracy": (logits.argmax(-1) == ids[0, 1:]).float().tolist(),
        "mean_logits": logits.mean(-1).tolist(),
        "loss": loss.item(),
        "gradients": {
            key.replace("base_model.model.", "").replace("transformer.", "").replace(".default", ""): p.grad.flatten().tolist()
            for key, p in model.named_parameters()
            if p.requires_grad and p.grad is not None
        },
    }


result = {"tokens": tokens, "shift": SHIFT.tolist()}
whole = GPT2LMHeadModel.from_pretrained(base, attn_implementation="eager").eval()
result["tied"] = [measured(whole, t) for t in (1.0, 0.7)]
for entry in result["tied"]:
    kept = ("wte.weight", "ln_f.weight", "h.0.attn.c_attn.bias")
    entry["gradients"] = {name: entry["gradients"][name] for name in kept}
plain = GPT2LMHeadModel.from_pretrained(base, attn_implementation="eager")
adapted = PeftModel.from_pretrained(plain, os.path.join(here, "peft", "head"), is_trainable=True).eval()
result["adapter"] = [measured(adapted, 0.7)]

config = GPT2Config(vocab_size=50, n_positions=32, n_embd=16, n_layer=2, n_head=2, num_labels=1, pad_token_id=0, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0)
classifier = GPT2ForSequenceClassification(config).eval()
with torch.no_grad():
    for p in classifier.parameters():
        p.mul_(5) if p.dim() > 1 else p.add_(0.1 * torch.randn_like(p))
short = ids[:, :12] % 50
classifier.save_pretrained(os.path.join(here, "classifier"))
result["classifier"] = {
    "tokens": short[0].tolist(),
    "scores": classifier.score(classifier.transformer(short)[0])[0, :, 0].tolist(),
    "last": classifier(short).logits[0, 0].item(),
}
rounded = json.loads(json.dumps(result), parse_float=lambda s: float("%.8g" % float(s)))
json.dump(rounded, open(os.path.join(here, "log_probs.json"), "w"))
