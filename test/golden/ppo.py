"""Writes ppo.json: one batch of PPO on the model in layouts/transformers, every step of it per token, in plain torch and float64.

Run: python test/golden/ppo.py, with torch and transformers. Seen with torch 2.13, transformers 5.18.
The values are of a head without a bias on the policy's own trunk, behind its last norm, at the place before each token of a completion. What is
made of a rollout (the divergence, the rewards, the advantages and the returns) is made of the old log-probabilities and the old values, which
are the current ones where the batch is on policy, and no gradient flows through it. Every mean is over the tokens of all completions at once.
Rewards are whitened, where they are, without a shift of their mean and before the advantages are made; the returns are of the advantages
before these are whitened. A list of lists holds one list for each completion, with one number for each token of it.
"""
import json
import os

os.environ["OMP_NUM_THREADS"] = "1"
import torch
from transformers import GPT2LMHeadModel

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)
here = os.path.dirname(os.path.abspath(__file__))
LIMIT = 6
prompts = [[3, 9, 12, 20], [1, 2, 27, 8]]
completions = [  # two for each prompt: the first is cut off by the limit, the others have the end token, 35
    [4, 5, 6, 14, 15, 16],
    [11, 13, 35],
    [30, 31, 7, 35],
    [9, 10, 21, 33, 35],
]
scores = [1.0, -0.5, 0.25, 1.5]
COEFFICIENT, LAMBDA, CLIP, VALUE_CLIP, VALUE_WEIGHT, EPSILON = 0.05, 0.95, 0.2, 0.2, 0.1, 1e-8
rows = [prompts[index // 2] for index in range(4)]
lengths = [len(completion) for completion in completions]
# A token's number counts the padding of a batch with LIMIT tokens a row too.
numbers = torch.cat([torch.arange(length) + row * LIMIT for row, length in enumerate(lengths)]).double()

model = GPT2LMHeadModel.from_pretrained(os.path.join(here, "layouts", "transformers"), attn_implementation="eager").double().eval()
head = (torch.sin(0.37 * torch.arange(model.config.n_embd)) * 0.2).requires_grad_()
parameters = [*model.parameters(), head]


def forward():
    """The log-probability, the value and the entropy of every token, all completions in one vector."""
    log_probs, values, entropies = [], [], []
    for prompt, completion in zip(rows, completions):
        hidden = model.transformer(torch.tensor([prompt + completion])).last_hidden_state[0, len(prompt) - 1 : -1]
        all_log_probs = model.lm_head(hidden).log_softmax(-1)
        log_probs.append(all_log_probs[torch.arange(len(completion)), torch.tensor(completion)])
        values.append(hidden @ head)
        entropies.append(-(all_log_probs.exp() * all_log_probs).sum(-1))
    return torch.cat(log_probs), torch.cat(values), torch.cat(entropies)


def by_completion(flat):
    return [part.tolist() for part in flat.detach().split(lengths)]


def divergences(kind, old, reference):
    ratio = reference - old
    return -ratio if kind == "k1" else ratio.exp() - 1 - ratio


def rewards_of(kl):
    parts = (-COEFFICIENT * kl).split(lengths)
    return torch.cat([torch.cat([part[:-1], part[-1:] + score]) for part, score in zip(parts, scores)])


def advantages_of(rewards, values, gamma):
    result = []
    for reward, value in zip(rewards.split(lengths), values.split(lengths)):
        following = torch.cat([value[1:], torch.zeros(1)])
        errors = reward + gamma * following - value
        ahead = torch.arange(len(errors))[None, :] - torch.arange(len(errors))[:, None]
        result.append(torch.where(ahead >= 0, (gamma * LAMBDA) ** ahead.clamp(min=0), 0.0) @ errors)
    return torch.cat(result)


def whitened(values, unbiased, shift=True):
    mean = values.mean()
    result = (values - mean) * torch.rsqrt(values.var(correction=1 if unbiased else 0) + EPSILON)
    return result if shift else result + mean


def norm_of(loss):
    gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return sum((gradient**2).sum() for gradient in gradients if gradient is not None).sqrt().item()


with torch.no_grad():
    now, now_values, now_entropies = forward()
reference = now + 0.3 * torch.sin(0.7 * numbers)
old_of = {True: now + 0.4 * torch.sin(0.9 * numbers), False: now}
old_values_of = {True: now_values + 0.3 * torch.cos(numbers), False: now_values}


def run(off_policy, kl="k1", gamma=1.0, unbiased=True, whiten_rewards=False):
    old, old_values = old_of[off_policy], old_values_of[off_policy]
    kls = divergences(kl, old, reference)
    rewards = rewards_of(kls)
    used = whitened(rewards, unbiased, shift=False) if whiten_rewards else rewards
    raw = advantages_of(used, old_values, gamma)
    returns = raw + old_values
    advantages = whitened(raw, unbiased)

    log_probs, values, entropies = forward()
    ratio = (log_probs - old).exp()
    plain = -advantages * ratio
    clipped = -advantages * ratio.clamp(1 - CLIP, 1 + CLIP)
    policy_losses = torch.maximum(plain, clipped)
    near = torch.minimum(torch.maximum(values, old_values - VALUE_CLIP), old_values + VALUE_CLIP)
    plain_values, clipped_values = (values - returns) ** 2, (near - returns) ** 2
    value_losses = torch.maximum(plain_values, clipped_values)
    policy_loss, value_loss = policy_losses.mean(), 0.5 * value_losses.mean()
    loss = policy_loss + VALUE_WEIGHT * value_loss
    return {
        "off_policy": off_policy, "kl": kl, "gamma": gamma, "unbiased": unbiased, "whiten_rewards": whiten_rewards,
        "kls": by_completion(kls),
        "rewards": by_completion(rewards),
        **({"whitened_rewards": by_completion(used)} if whiten_rewards else {}),
        "advantages": by_completion(raw),
        "returns": by_completion(returns),
        "whitened_advantages": by_completion(advantages),
        "ratios": by_completion(ratio),
        "policy_losses": by_completion(policy_losses),
        "value_losses": by_completion(value_losses),
        "policy_loss": policy_loss.item(),
        "value_loss": value_loss.item(),
        "loss": loss.item(),
        "entropy": entropies.mean().item(),
        "approximate_kl": 0.5 * ((log_probs - old) ** 2).mean().item(),
        "clip_fraction": (clipped > plain).double().mean().item(),
        "value_clip_fraction": (clipped_values > plain_values).double().mean().item(),
        "kl_mean": kls.mean().item(),
        "kl_of_completions": kls.sum().item() / len(completions),
        "grad_norm": norm_of(loss),
        "policy_grad_norm": norm_of(policy_loss),
        "value_grad_norm": norm_of(value_loss),
    }


result = {
    "prompts": prompts,
    "completions": completions,
    "limit": LIMIT,
    "scores": scores,
    "kl_coefficient": COEFFICIENT,
    "lambda": LAMBDA,
    "clip": CLIP,
    "value_clip": VALUE_CLIP,
    "value_weight": VALUE_WEIGHT,
    "epsilon": EPSILON,
    "head": head.tolist(),
    "current_log_probs": by_completion(now),
    "current_values": by_completion(now_values),
    "entropies": by_completion(now_entropies),
    "reference_log_probs": by_completion(reference),
    "old_log_probs": by_completion(old_of[True]),
    "old_values": by_completion(old_values_of[True]),
    "runs": [
        run(False),
        run(False, kl="k3", gamma=0.99),
        run(False, unbiased=False),
        run(True),
        run(True, kl="k3"),
        run(True, gamma=0.99),
        run(True, unbiased=False),
        run(True, whiten_rewards=True),
        run(True, kl="k3", gamma=0.99, unbiased=False, whiten_rewards=True),
    ],
}
json.dump(result, open(os.path.join(here, "ppo.json"), "w"), indent=1)
for line in result["runs"]:
    print({key: value for key, value in line.items() if not isinstance(value, list)})
