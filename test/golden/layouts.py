"""Writes layouts/: one small random GPT-2 by PyTorch in every layout that checkpoints come in, and the logits of each.

Run: /usr/bin/python3 test/golden/layouts.py. The safetensors files are packed here by hand: nothing is shared with the TypeScript side.
"""
import json
import math
import os
import shutil

import torch
import torch.nn.functional as F

V, P, L, H, C = 37, 12, 2, 2, 16
torch.manual_seed(11)
torch.set_num_threads(1)
normal = lambda *shape, std=0.3: torch.randn(*shape) * std

base = {"wte.weight": normal(V, C), "wpe.weight": normal(P, C)}
for i in range(L):
    for norm in ("ln_1", "ln_2"):
        base[f"h.{i}.{norm}.weight"] = 1 + normal(C, std=0.2)
        base[f"h.{i}.{norm}.bias"] = normal(C, std=0.2)
    for name, rows, columns in (("attn.c_attn", C, 3 * C), ("attn.c_proj", C, C), ("mlp.c_fc", C, 4 * C), ("mlp.c_proj", 4 * C, C)):
        base[f"h.{i}.{name}.weight"] = normal(rows, columns)
        base[f"h.{i}.{name}.bias"] = normal(columns, std=0.2)
base["ln_f.weight"] = 1 + normal(C, std=0.2)
base["ln_f.bias"] = normal(C, std=0.2)
head = normal(V, C)
tokens = torch.randint(0, V, (9,))


def logits(weights, table):
    x = weights["wte.weight"][tokens] + weights["wpe.weight"][: len(tokens)]
    mask = torch.tril(torch.ones(len(tokens), len(tokens), dtype=torch.bool))
    for i in range(L):
        w = lambda name: weights[f"h.{i}.{name}"]
        a = F.layer_norm(x, (C,), w("ln_1.weight"), w("ln_1.bias"), 1e-5) @ w("attn.c_attn.weight") + w("attn.c_attn.bias")
        q, k, v = (part.view(-1, H, C // H).transpose(0, 1) for part in a.split(C, dim=1))
        p = ((q @ k.transpose(-1, -2)) / math.sqrt(C // H)).masked_fill(~mask, float("-inf")).softmax(-1)
        x = x + (p @ v).transpose(0, 1).reshape(-1, C) @ w("attn.c_proj.weight") + w("attn.c_proj.bias")
        m = F.layer_norm(x, (C,), w("ln_2.weight"), w("ln_2.bias"), 1e-5) @ w("mlp.c_fc.weight") + w("mlp.c_fc.bias")
        x = x + (0.5 * m * (1 + torch.tanh(math.sqrt(2 / math.pi) * (m + 0.044715 * m**3)))) @ w("mlp.c_proj.weight") + w("mlp.c_proj.bias")
    return F.layer_norm(x, (C,), weights["ln_f.weight"], weights["ln_f.bias"], 1e-5) @ table.T


NAMES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.uint8: "U8"}


def raw(t):
    # numpy has no bfloat16: its bits are the upper half of the float32's.
    if t.dtype == torch.bfloat16:
        return (t.float().numpy().view("<u4") >> 16).astype("<u2").tobytes()
    return t.contiguous().numpy().tobytes()


def save(path, tensors):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, t in tensors.items():
        part = raw(t)
        header[name] = {"dtype": NAMES[t.dtype], "shape": list(t.shape), "data_offsets": [len(data), len(data) + len(part)]}
        data += part
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + data)


out = os.path.join(os.path.dirname(__file__), "layouts")
shutil.rmtree(out, ignore_errors=True)
expected = {}


def layout(name, tensors, wanted, config=(), shards=1):
    folder = os.path.join(out, name)
    os.makedirs(folder)
    full = {"model_type": "gpt2", "vocab_size": V, "n_positions": P, "n_embd": C, "n_layer": L, "n_head": H, "activation_function": "gelu_new", **dict(config)}
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump(full, file)
    if shards == 1:
        save(os.path.join(folder, "model.safetensors"), tensors)
    else:
        names, places = list(tensors), {}
        for s in range(shards):
            part = f"model-{s + 1:05d}-of-{shards:05d}.safetensors"
            mine = names[s::shards]
            save(os.path.join(folder, part), {n: tensors[n] for n in mine})
            places.update({n: part for n in mine})
        with open(os.path.join(folder, "model.safetensors.index.json"), "w") as file:
            json.dump({"metadata": {}, "weight_map": places}, file)
    expected[name] = [[round(float(v), 6) for v in row] for row in wanted]


prefixed = {f"transformer.{n}": t for n, t in base.items()}
masks = {f"h.{i}.attn.bias": torch.tril(torch.ones(1, 1, P, P)) for i in range(L)}
more = {f"h.{i}.attn.masked_bias": torch.tensor(-1e4) for i in range(L)}
tied = logits(base, base["wte.weight"])
layout("openai", {**base, **masks}, tied, {"n_ctx": P, "n_inner": None, "tie_word_embeddings": True, "layer_norm_epsilon": 1e-5}.items())
layout("transformers", prefixed, tied)
layout("old-transformers", {**prefixed, **{f"transformer.{n}": t for n, t in {**masks, **more}.items()}, "lm_head.weight": base["wte.weight"]}, tied)
layout("byte-masks", {**base, **{n: t.to(torch.uint8) for n, t in masks.items()}}, tied)
layout("own-head", {**prefixed, "lm_head.weight": head}, logits(base, head), {"tie_word_embeddings": False}.items())
for name, dtype in (("float16", torch.float16), ("bfloat16", torch.bfloat16)):
    small = {n: t.to(dtype) for n, t in base.items()}
    wide = {n: t.float() for n, t in small.items()}
    layout(name, {f"transformer.{n}": t for n, t in small.items()}, logits(wide, wide["wte.weight"]), {"torch_dtype": name}.items())
layout("sharded", prefixed, tied, shards=3)
with open(os.path.join(out, "logits.json"), "w") as file:
    json.dump({"tokens": tokens.tolist(), "logits": expected}, file)
