"""Writes trl_grpo.json: TRL's loss, norm of the gradient and metrics for one batch of GRPO and of RLOO on the model in
layouts/transformers, and the advantages that TRL makes of rewards.

Run: python test/golden/trl_grpo.py, with torch, transformers, trl, datasets and accelerate. Seen with trl 1.13, transformers 5.18, torch 2.13.
The completions are given instead of sampled, the old and the reference log-probabilities are put in place of TRL's own, and the rest is
TRL's own code (trainer/grpo_trainer.py and rloo_trainer.py, _generate_and_score_completions and _compute_loss) with the model in float64.
Rewards and advantages are TRL's float32. Of TRL's ways: 1e-4 is added to a standard deviation, which divides by n - 1; a completion that is cut
off loses its tokens by mask_truncated_completions and nothing else, so it still counts as a row where rows are counted and its reward still
moves the others of its group; a low_min and a high_max are over completions, without the ones that have no token.
"""
import json
import math
import os
import tempfile

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer
from trl.trainer import grpo_trainer, rloo_trainer

torch.set_num_threads(1)
here = os.path.dirname(os.path.abspath(__file__))
base = os.path.join(here, "layouts", "transformers")
LIMIT, PER_GROUP, TEMPERATURE = 6, 2, 0.7
prompts = [[3, 9, 12, 20], [1, 2, 27, 8]]
completions = [  # two for each prompt: the first is cut off by the limit, the others have the end token, 35
    [4, 5, 6, 14, 15, 16],
    [11, 13, 35],
    [30, 31, 7, 35],
    [9, 10, 21, 33, 35],
]
lengths = [len(completion) for completion in completions]
rows = [prompt for prompt in prompts for _ in range(PER_GROUP)]
rewards = [1.0, 0.0, 0.25, 1.0]
second_rewards = [0.3, 0.9, -0.4, 0.1]
level_rewards = [0.5, 0.5, 0.25, 1.0]  # the first group's are the same
weights = [1.0, 0.5]
metric_names = {
    "clip_ratio/low_mean": "low_mean", "clip_ratio/high_mean": "high_mean", "clip_ratio/region_mean": "region_mean",
    "clip_ratio/low_min": "low_min", "clip_ratio/high_max": "high_max", "cispo_clip_ratio": "cispo", "kl": "kl", "entropy": "entropy",
}


def tokenizer():
    words = Tokenizer(models.WordLevel({f"t{i}": i for i in range(37)}, unk_token="t0"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="t36", eos_token="t35", bos_token=None)


def policy():
    model = GPT2LMHeadModel.from_pretrained(base, attn_implementation="eager")
    for key in ("attn_pdrop", "embd_pdrop", "resid_pdrop"):
        setattr(model.config, key, 0.0)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model.double()


# TRL reads the reference by the name of its class, which the config of this model does not tell.
grpo_trainer.create_model_from_path = rloo_trainer.create_model_from_path = lambda *_, **__: policy()


def giving(values, name):
    def reward(completions, **_):
        return values

    reward.__name__ = name
    return reward


text = [{"prompt": " ".join(f"t{i}" for i in row)} for row in rows]


def trainer_of(trainer_kind, config_kind, functions=None, **more):
    more.setdefault("max_completion_length", LIMIT)
    settings = config_kind(
        output_dir=tempfile.mkdtemp(), per_device_train_batch_size=4, num_generations=PER_GROUP, max_steps=1, temperature=TEMPERATURE,
        report_to=[], use_cpu=True, bf16=False, gradient_checkpointing=False, save_strategy="no", disable_tqdm=True, **more,
    )
    trainer = trainer_kind(
        model=policy(), reward_funcs=functions or [giving(rewards, "given")], args=settings, train_dataset=Dataset.from_list(text),
        processing_class=tokenizer(),
    )
    said = tokenizer().batch_decode(completions, skip_special_tokens=True)
    short = (rows, completions, said)
    trainer._generate = lambda _: short if trainer_kind is RLOOTrainer else (rows, completions, None, said, None, {}, None, [])
    trainer.current_gradient_accumulation_steps = 1
    trainer.model.train()
    return trainer


def batch_of(trainer):
    return trainer._generate_and_score_completions([dict(row) for row in text])


def current(trainer, batch):
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    seen = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
    with torch.no_grad():
        return trainer._get_per_token_logps_and_entropies(trainer.model, ids, seen, LIMIT)[0]


def unpadded(values):
    return [row[:length] for row, length in zip(values.tolist(), lengths)]


places = torch.arange(len(rows) * LIMIT, dtype=torch.float64).view(len(rows), LIMIT)  # counted over the padding too
shift = 0.4 * torch.sin(0.9 * places)
first = trainer_of(GRPOTrainer, GRPOConfig)
first_batch = batch_of(first)
now = current(first, first_batch)
old = now + shift
reference = now + 0.5 * shift


def outcome(trainer, batch):
    trainer._metrics["train"].clear()
    trainer.model.zero_grad()
    loss = trainer._compute_loss(trainer.model, batch)
    loss.backward()
    squares = sum((p.grad**2).sum().item() for p in trainer.model.parameters() if p.grad is not None)
    metrics = {metric_names[key]: values[-1] for key, values in trainer._metrics["train"].items() if key in metric_names}
    return {"loss": loss.item(), "grad_norm": math.sqrt(squares), **metrics}


def grpo(off_policy, loss_type, level="token", beta=0.0, **more):
    """A word left out of the settings that are written beside the result has TRL's default: see "defaults"."""
    given = dict(loss_type=loss_type, importance_sampling_level=level, beta=beta, **more)
    if loss_type == "cispo":
        given.setdefault("epsilon_high", 5.0)
    trainer = trainer_of(GRPOTrainer, GRPOConfig, **given)
    batch = batch_of(trainer)
    assert "old_per_token_logps" not in batch
    if off_policy:
        batch["old_per_token_logps"] = old
    if beta:
        batch["ref_per_token_logps"] = reference
    return {"off_policy": off_policy, **given, **outcome(trainer, batch)}


def grpo_runs():
    runs = []
    for loss_type in ("grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo"):
        for level in ("token", "sequence") if loss_type in ("grpo", "dapo") else ("token",):
            for beta in (0.0, 0.04):
                runs += [grpo(off_policy, loss_type, level, beta) for off_policy in (False, True)]
        for beta in (0.0, 0.04):
            runs.append(grpo(True, loss_type, beta=beta, mask_truncated_completions=True))
    runs.append(grpo(True, "grpo", beta=0.04, use_bias_correction_kl=False))
    runs.append(grpo(True, "grpo", "sequence", beta=0.04, use_bias_correction_kl=False))
    for level in ("token", "sequence"):
        runs.append(grpo(True, "grpo", level, epsilon=0.1, epsilon_high=0.3))
        runs.append(grpo(True, "grpo", level, epsilon=0.02, epsilon_high=0.03))
    runs.append(grpo(True, "grpo", "sequence", epsilon=0.02, epsilon_high=0.03, mask_truncated_completions=True))
    runs.append(grpo(True, "dr_grpo", max_completion_length=8))
    runs.append(grpo(True, "grpo", delta=1.3))
    runs.append(grpo(True, "cispo", epsilon_high=1.2))
    runs.append(grpo(True, "sapo", sapo_temperature_pos=0.8, sapo_temperature_neg=1.5))
    return runs


def rloo(off_policy, **more):
    trainer = trainer_of(RLOOTrainer, RLOOConfig, beta=0.0, **more)
    batch = batch_of(trainer)
    if off_policy:
        batch["old_logps"] = (old * batch["completion_mask"]).sum(1)
    return {"off_policy": off_policy, **more, "advantages": batch["advantages"].tolist(), **outcome(trainer, batch)}


def rloo_with_penalty(beta):
    """What TRL makes of the rewards less beta times the sum of old minus reference, with the two from above."""
    trainer = trainer_of(RLOOTrainer, RLOOConfig, beta=beta)
    two = iter([old, reference])
    trainer._get_per_token_logps_and_entropies = lambda *_, **__: (next(two), None, None)
    return {"beta": beta, "advantages": batch_of(trainer)["advantages"].tolist()}


def grpo_advantages(functions, **more):
    return batch_of(trainer_of(GRPOTrainer, GRPOConfig, functions=functions, **more))["advantages"].tolist()


one, level_one = [giving(rewards, "one")], [giving(level_rewards, "one")]
both = [giving(rewards, "one"), giving(second_rewards, "two")]
scales = ("group", "batch", "none")
defaults = ("epsilon", "epsilon_high", "delta", "use_bias_correction_kl", "sapo_temperature_pos", "sapo_temperature_neg", "scale_rewards")
result = {
    "prompts": prompts,
    "completions": completions,
    "limit": LIMIT,
    "temperature": TEMPERATURE,
    "rewards": rewards,
    "advantages": first_batch["advantages"].tolist(),
    "current_log_probs": unpadded(now),
    "old_log_probs": unpadded(old),
    "reference_log_probs": unpadded(reference),
    "defaults": {name: getattr(first.args, name) for name in defaults},
    "grpo": grpo_runs(),
    "rloo": [rloo(False), rloo(True), rloo(True, mask_truncated_completions=True)],
    "advantages_by": {
        "rewards": {scale: grpo_advantages(one, scale_rewards=scale) for scale in scales},
        "level_rewards": level_rewards,
        "level": {scale: grpo_advantages(level_one, scale_rewards=scale) for scale in scales},
        "second_rewards": second_rewards,
        "weights": weights,
        "sum_then_normalize": {
            scale: grpo_advantages(both, scale_rewards=scale, reward_weights=weights, multi_objective_aggregation="sum_then_normalize")
            for scale in scales
        },
        "normalize_then_sum": grpo_advantages(both, reward_weights=weights, multi_objective_aggregation="normalize_then_sum"),
        "rloo": rloo(False)["advantages"],
        "rloo, level": batch_of(trainer_of(RLOOTrainer, RLOOConfig, functions=level_one, beta=0.0))["advantages"].tolist(),
        "rloo, normalized": rloo(False, normalize_advantages=True)["advantages"],
        "rloo, penalty": rloo_with_penalty(0.05),
    },
}
json.dump(result, open(os.path.join(here, "trl_grpo.json"), "w"), indent=1)
for run in result["grpo"] + result["rloo"]:
    print(run)
print(result["advantages"], result["advantages_by"])
