"""Writes gpt2.json: a small random GPT-2 by PyTorch (Debian's python3-torch): logits, loss, every gradient, ten AdamW steps.

Run: /usr/bin/python3 test/golden/gpt2.py. Plain torch, float32; nothing here is shared with the TypeScript side.
"""
import base64
import json
import math
import os

import torch
import torch.nn.functional as F

V, P, L, H, C, B, T = 37, 12, 2, 2, 16, 2, 11
torch.manual_seed(7)
torch.set_num_threads(1)


def normal(*shape, std=0.02):
    return torch.randn(*shape) * std


# Larger weights than an initialisation, and biases that are not zero, so that no term can hide.
weights = {"wte.weight": normal(V, C, std=0.3), "wpe.weight": normal(P, C, std=0.3)}
for i in range(L):
    h = f"h.{i}."
    for norm in ("ln_1", "ln_2"):
        weights[h + norm + ".weight"] = 1 + normal(C, std=0.2)
        weights[h + norm + ".bias"] = normal(C, std=0.2)
    for name, rows, columns in (("attn.c_attn", C, 3 * C), ("attn.c_proj", C, C), ("mlp.c_fc", C, 4 * C), ("mlp.c_proj", 4 * C, C)):
        weights[h + name + ".weight"] = normal(rows, columns, std=0.3)
        weights[h + name + ".bias"] = normal(columns, std=0.2)
weights["ln_f.weight"] = 1 + normal(C, std=0.2)
weights["ln_f.bias"] = normal(C, std=0.2)
initial = {name: value.clone() for name, value in weights.items()}
for value in weights.values():
    value.requires_grad_()

tokens = torch.randint(0, V, (B, T))
targets = torch.randint(0, V, (B, T))
targets[0, 3] = targets[1, 7] = -100


def forward():
    x = weights["wte.weight"][tokens] + weights["wpe.weight"][:T]
    mask = torch.tril(torch.ones(T, T, dtype=torch.bool))
    for i in range(L):
        w = lambda name: weights[f"h.{i}.{name}"]
        a = F.layer_norm(x, (C,), w("ln_1.weight"), w("ln_1.bias"), 1e-5)
        qkv = a @ w("attn.c_attn.weight") + w("attn.c_attn.bias")
        q, k, v = (part.view(B, T, H, C // H).transpose(1, 2) for part in qkv.split(C, dim=2))
        scores = (q @ k.transpose(-1, -2)) / math.sqrt(C // H)
        p = scores.masked_fill(~mask, float("-inf")).softmax(-1)
        y = (p @ v).transpose(1, 2).reshape(B, T, C)
        x = x + y @ w("attn.c_proj.weight") + w("attn.c_proj.bias")
        m = F.layer_norm(x, (C,), w("ln_2.weight"), w("ln_2.bias"), 1e-5)
        m = m @ w("mlp.c_fc.weight") + w("mlp.c_fc.bias")
        m = 0.5 * m * (1 + torch.tanh(math.sqrt(2 / math.pi) * (m + 0.044715 * m**3)))
        x = x + m @ w("mlp.c_proj.weight") + w("mlp.c_proj.bias")
    x = F.layer_norm(x, (C,), weights["ln_f.weight"], weights["ln_f.bias"], 1e-5)
    logits = x @ weights["wte.weight"].T
    return logits, F.cross_entropy(logits.view(-1, V), targets.view(-1), ignore_index=-100)


def packed(tensors):
    return {name: {"shape": list(t.shape), "f32": base64.b64encode(t.detach().numpy().astype("<f4").tobytes()).decode()} for name, t in tensors.items()}


settings = {"lr": 3e-3, "beta1": 0.9, "beta2": 0.95, "epsilon": 1e-8, "weightDecay": 0.1, "clip": 1.0}
matrices = [w for w in weights.values() if w.dim() == 2]
vectors = [w for w in weights.values() if w.dim() == 1]
optimizer = torch.optim.AdamW(
    [{"params": matrices, "weight_decay": settings["weightDecay"]}, {"params": vectors, "weight_decay": 0.0}],
    lr=settings["lr"], betas=(settings["beta1"], settings["beta2"]), eps=settings["epsilon"],
)
losses, norms, first = [], [], {}
for step in range(10):
    optimizer.zero_grad()
    logits, loss = forward()
    loss.backward()
    if step == 0:
        first = {"logits": packed({"logits": logits})["logits"], "gradients": packed({n: w.grad for n, w in weights.items()})}
    losses.append(loss.item())
    norms.append(torch.nn.utils.clip_grad_norm_(list(weights.values()), settings["clip"]).item())
    optimizer.step()

with open(os.path.join(os.path.dirname(__file__), "gpt2.json"), "w") as file:
    json.dump(
        {
            "torch": torch.__version__,
            "config": {"vocabulary": V, "context": P, "layers": L, "heads": H, "width": C, "epsilon": 1e-5},
            "batch": {"rows": B, "length": T},
            "tokens": tokens.view(-1).tolist(),
            "targets": targets.view(-1).tolist(),
            "weights": packed(initial),
            **first,
            "settings": settings,
            "losses": losses,
            "norms": norms,
            "finalWeights": packed(weights),
        },
        file,
    )
