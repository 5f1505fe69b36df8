"""Writes trl_distillation.json: TRL's divergences between the model in layouts/transformers and a perturbed copy, and the norm of the student's
gradient, on the answers of trl_grpo.py.

Run: python test/golden/trl_distillation.py, with torch, transformers, trl and datasets. Seen with trl 1.13, transformers 5.18, torch 2.13.
Both of TRL's own codes: experimental GKD's generalized_jsd_loss, and _chunked_divergence_loss of trainer/distillation_trainer.py; float64, but for the second, which computes in float32.
Neither multiplies by the square of the temperature.
"""
import json
import math
import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
import torch
from transformers import GPT2LMHeadModel
from trl.experimental.gkd import GKDTrainer
from trl.trainer.distillation_trainer import _chunked_divergence_loss

torch.set_num_threads(1)
here = os.path.dirname(os.path.abspath(__file__))
base = os.path.join(here, "layouts", "transformers")
prompts = [[3, 9, 12, 20], [3, 9, 12, 20], [1, 2, 27, 8], [1, 2, 27, 8]]
completions = [[4, 5, 6, 14, 15, 16], [11, 13, 35], [30, 31, 7, 35], [9, 10, 21, 33, 35]]
T, P = 6, 4


def policy():
    return GPT2LMHeadModel.from_pretrained(base, attn_implementation="eager").double().eval()


student, teacher = policy(), policy()
with torch.no_grad():
    for p in teacher.parameters():
        p.add_(0.1 * torch.sin(torch.arange(p.numel(), dtype=torch.float64)).view_as(p))
ids = torch.tensor([p + c + [36] * (T - len(c)) for p, c in zip(prompts, completions)])
mask = torch.tensor([[1] * len(c) + [0] * (T - len(c)) for c in completions])
labels = torch.cat([torch.full((4, P), -100), torch.where(mask == 1, ids[:, P:], -100)], 1)
runs = []
for beta in (0.0, 0.001, 0.5, 1.0):
    for temperature in (1.0, 2.0):
        for same in (False, True):
            other = student if same else teacher
            student.zero_grad()
            wanted = other(ids).logits.detach()
            loss = GKDTrainer.generalized_jsd_loss(student(ids).logits[:, :-1], wanted[:, :-1], labels[:, 1:], beta=beta, temperature=temperature)
            loss.backward()
            norm = math.sqrt(sum((p.grad**2).sum().item() for p in student.parameters() if p.grad is not None))
            hidden = [m.transformer(ids).last_hidden_state[:, P - 1:-1] for m in (student, other)]
            chunked, *_ = _chunked_divergence_loss(
                hidden[0], hidden[1].detach(), student.lm_head.weight, other.lm_head.weight, mask, beta, 256, num_items_in_batch=None,
                student_lm_head_bias=None, teacher_lm_head_bias=None, student_logit_scale=1.0, teacher_logit_scale=1.0,
                student_final_logit_softcapping=None, teacher_final_logit_softcapping=None, temperature=temperature)
            assert abs(chunked.item() - loss.item()) < 1e-6, (chunked.item(), loss.item())
            runs.append({"beta": beta, "temperature": temperature, "same": same, "loss": loss.item(), "gradient": norm})
with open(os.path.join(here, "trl_distillation.json"), "w") as file:
    json.dump({"prompts": prompts, "completions": completions, "runs": runs}, file, indent=1)
    file.write("\n")
for run in runs:
    print(run)
