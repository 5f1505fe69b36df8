"""Training steps of GPT-2 in PyTorch as its users would tune it: the other side of against-pytorch.ts.

The argument is JSON: layers, heads, width, context, vocabulary, rows, length, seconds, compiled. Says on its first line what it is, then
answers each line of standard input by the tokens a second of steps for as many seconds, one step at least. Standard input's end is its own.
"""

import json
import sys
import time
from types import SimpleNamespace

import torch
from torch import nn
from torch.nn import functional as F

size = SimpleNamespace(**json.loads(sys.argv[1]))
C = size.width


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(C), nn.LayerNorm(C)
        self.qkv, self.attended = nn.Linear(C, 3 * C), nn.Linear(C, C)
        self.inner, self.outer = nn.Linear(C, 4 * C), nn.Linear(4 * C, C)

    def forward(self, x):
        B, T, _ = x.shape
        q, k, v = self.qkv(self.ln_1(x)).view(B, T, 3, size.heads, C // size.heads).permute(2, 0, 3, 1, 4)
        heads = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attended(heads.transpose(1, 2).reshape(B, T, C))
        return x + self.outer(F.gelu(self.inner(self.ln_2(x)), approximate="tanh"))


class Gpt2(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(size.vocabulary, C), nn.Embedding(size.context, C)
        self.blocks = nn.ModuleList(Block() for _ in range(size.layers))
        self.ln_f = nn.LayerNorm(C)
        for weight in self.parameters():
            if weight.dim() == 2:
                nn.init.normal_(weight, std=0.02)

    def forward(self, ids, targets):
        x = self.wte(ids) + self.wpe(torch.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.ln_f(x), self.wte.weight)
        return F.cross_entropy(logits.view(-1, size.vocabulary), targets.view(-1))


torch.manual_seed(1)
model = Gpt2()
parameters = list(model.parameters())
groups = [
    {"params": [p for p in parameters if p.dim() == 2], "weight_decay": 0.1},
    {"params": [p for p in parameters if p.dim() != 2], "weight_decay": 0.0},
]
optimizer = torch.optim.AdamW(groups, lr=1e-4, betas=(0.9, 0.95), eps=1e-8, fused=True)
loss_of = torch.compile(model) if size.compiled else model
ids = torch.tensor([(i * 31 + (i >> 3)) % size.vocabulary for i in range(size.rows * size.length)])
ids = ids.view(size.rows, size.length)


def step():
    optimizer.zero_grad(set_to_none=True)
    loss_of(ids, ids).backward()
    nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()


def say(value):
    print(json.dumps(value), flush=True)


try:
    step()
except RuntimeError as error:
    if not size.compiled:
        raise
    say({"cannot": str(error).strip().split("\n")[0]})
    sys.exit()
say({"version": torch.__version__, "threads": torch.get_num_threads(), "parameters": sum(p.numel() for p in parameters)})
for _ in sys.stdin:
    start, steps, spent = time.perf_counter(), 0, 0.0
    while steps == 0 or spent < size.seconds:
        step()
        steps += 1
        spent = time.perf_counter() - start
    say(steps * size.rows * size.length / spent)
