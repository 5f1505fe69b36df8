"""Writes optimizers.json: three steps of torch.optim.Muon on matrices of all shapes, and of Lion, in float64.

Run: python test/golden/optimizers.py, with torch 2.9 or later. torch.optim.Muon computes its iterations in bfloat16: here a tensor's bfloat16() is
itself. Lion is no part of PyTorch: its lines are those of google/automl's lion_pytorch.py. Weights are 0.1 sin(1.3 i), gradients of step s are
cos(0.7 i + s).
"""
import json
import os

import torch

torch.set_num_threads(1)
torch.Tensor.bfloat16 = lambda self: self
LR, DECAY = 0.02, 0.1


def values(f, shape):
    n = shape[0] * shape[1]
    return f(torch.arange(n, dtype=torch.float64)).view(shape)


def run(shape, step):
    w = torch.nn.Parameter(values(lambda i: 0.1 * torch.sin(1.3 * i), shape))
    update = step(w)
    for s in range(3):
        w.grad = values(lambda i: torch.cos(0.7 * i + s), shape)
        update()
    return w.detach().flatten().tolist()


def muon(w):
    return torch.optim.Muon([w], lr=LR, weight_decay=DECAY, momentum=0.95, nesterov=True, adjust_lr_fn="match_rms_adamw").step


def lion(w, beta1=0.9, beta2=0.99):
    m = torch.zeros_like(w)

    @torch.no_grad()
    def step():
        w.mul_(1 - LR * DECAY)
        update = m.clone().mul_(beta1).add(w.grad, alpha=1 - beta1).sign_()
        w.add_(update, alpha=-LR)
        m.mul_(beta2).add_(w.grad, alpha=1 - beta2)

    return step


shapes = [[16, 48], [16, 16], [16, 64], [64, 16]]
golden = {"lr": LR, "decay": DECAY, "muon": [{"shape": s, "weights": run(s, muon)} for s in shapes],
          "lion": [{"shape": s, "weights": run(s, lion)} for s in shapes[:1]]}
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "optimizers.json"), "w") as file:
    json.dump(golden, file)
    file.write("\n")
