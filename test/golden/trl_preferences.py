"""Writes trl_preferences.json: what TRL logs over three steps on the model in layouts/transformers, by DPO with each of its losses, KTO,
ORPO, CPO and reward models, whole and by an adapter.

Run: python test/golden/trl_preferences.py, with torch, transformers, trl, peft, datasets and accelerate. Seen with trl 1.13, transformers 5.18,
torch 2.13. Of TRL's ways, all of trl/: ORPO's cross-entropy is over the prompt too (experimental/orpo/orpo_trainer.py,
concatenated_forward); sigmoid has no label smoothing (trainer/dpo_trainer.py, _compute_loss); KTO's baseline is each micro-batch's
(trainer/kto_trainer.py, _compute_loss); the reference moves behind a step (trainer/callbacks.py, SyncRefModelCallback).
"""
import json
import os
import tempfile

import torch
from datasets import Dataset
from peft import LoraConfig
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2ForSequenceClassification, GPT2LMHeadModel, PreTrainedTokenizerFast
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer, RewardConfig, RewardTrainer
from trl.experimental.cpo import CPOConfig, CPOTrainer
from trl.experimental.orpo import ORPOConfig, ORPOTrainer

here = os.path.dirname(os.path.abspath(__file__))
base = os.path.join(here, "layouts", "transformers")
EOS, PAD = 35, 36
pairs = [  # prompt, chosen, rejected: the end token is TRL's to add
    ([3, 9, 12], [4, 5, 6], [7]),
    ([1, 2], [11, 13], [30, 31, 32, 33]),
    ([20, 21, 22, 23, 24], [8], [9, 10]),
    ([5], [14, 15, 16, 17, 18], [19]),
]
# With these a sorted margin of the policy meets another pair's of the reference: on the others aot is sigmoid.
crossed = [
    ([5, 25, 29, 31], [9, 3], [9]),
    ([25], [6, 18, 5, 6, 13], [25, 11, 33]),
    ([17, 21, 11, 25], [11, 10, 5], [33, 22]),
    ([5, 21, 33, 27], [29, 3, 8], [11, 31, 14]),
]
judged = [  # prompt, answer, whether it is good
    ([3, 9, 12], [4, 5, 6], True),
    ([8, 9], [7], False),
    ([1, 2], [11, 13], True),
    ([20, 21, 22, 23], [9, 10], False),
    ([5], [14, 15, 16, 17, 18], True),
    ([27, 28], [19], False),
    ([6, 10], [2, 2], True),
]
margins = [0.1, 0.5, 1.0, 0.25]


def text(ids):
    return " ".join(f"t{i}" for i in ids)


def tokenizer():
    words = Tokenizer(models.WordLevel({f"t{i}": i for i in range(37)}, unk_token="t0"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="t36", eos_token="t35", bos_token=None)


def without_dropout(model):
    for key in ("attn_pdrop", "embd_pdrop", "resid_pdrop"):
        setattr(model.config, key, 0.0)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


def policy():
    return without_dropout(GPT2LMHeadModel.from_pretrained(base, attn_implementation="eager"))


def settings(kind, rows=4, accumulate=1, **more):
    made = kind(
        output_dir=tempfile.mkdtemp(), per_device_train_batch_size=rows, gradient_accumulation_steps=accumulate, max_steps=3,
        learning_rate=1e-2, lr_scheduler_type="linear", warmup_steps=0, logging_steps=1, report_to=[], use_cpu=True, bf16=False,
        gradient_checkpointing=False, max_length=12, save_strategy="no", disable_tqdm=True, dataloader_drop_last=False, **more,
    )
    made.train_sampling_strategy = "sequential"
    return made


def logged(trainer):
    trainer.train()
    skip = ("epoch", "step")
    return [
        {key: round(value, 9) for key, value in entry.items() if key not in skip}
        for entry in trainer.state.log_history
        if "loss" in entry
    ]


def adapter(**more):
    return LoraConfig(r=4, lora_alpha=8, lora_dropout=0.0, target_modules=["c_attn", "c_fc"], fan_in_fan_out=True, **more)


def set_first_matrices(model):
    with torch.no_grad():  # A from a formula, so that the other side can have the same
        for name, p in model.named_parameters():
            if "lora_A" in name:
                p.copy_(torch.sin(torch.arange(p.numel(), dtype=torch.float32) * 0.37).view_as(p) * 0.2)


def rows_of(pairs):
    return Dataset.from_list([{"prompt": text(p), "chosen": " " + text(c), "rejected": " " + text(r)} for p, c, r in pairs])


pair_rows = rows_of(pairs)


def dpo(lora=False, of=None, **more):
    of = of or pairs
    trainer = DPOTrainer(
        model=policy(), ref_model=None if lora else policy(), args=settings(DPOConfig, **more), train_dataset=rows_of(of),
        processing_class=tokenizer(), peft_config=adapter(task_type="CAUSAL_LM") if lora else None,
    )
    if lora:
        set_first_matrices(trainer.model)
    first = trainer.train_dataset[0]
    assert first["prompt_ids"] + first["chosen_ids"] == of[0][0] + of[0][1] + [EOS], first
    return logged(trainer)


def kto(**more):
    rows = Dataset.from_list([{"prompt": text(p), "completion": " " + text(a), "label": good} for p, a, good in judged])
    trainer = KTOTrainer(
        model=policy(), ref_model=policy(), args=settings(KTOConfig, rows=7, **more), train_dataset=rows, processing_class=tokenizer(),
    )
    return logged(trainer)


def older(trainer_kind, config_kind, **more):
    trainer = trainer_kind(
        model=policy(), args=settings(config_kind, **more), train_dataset=pair_rows, processing_class=tokenizer(),
    )
    return logged(trainer)


def reward(head, lora=False, with_margins=False, **more):
    model = GPT2ForSequenceClassification.from_pretrained(base, num_labels=1, attn_implementation="eager", pad_token_id=PAD)
    without_dropout(model)
    with torch.no_grad():
        model.score.weight.copy_(torch.tensor([[head(i) for i in range(model.score.weight.numel())]]))
    rows = [{"chosen": text(p + c), "rejected": text(p + r)} for p, c, r in pairs]
    if with_margins:
        rows = [{**row, "margin": margin} for row, margin in zip(rows, margins)]
    trainer = RewardTrainer(
        model=model, args=settings(RewardConfig, **more), train_dataset=Dataset.from_list(rows), processing_class=tokenizer(),
        peft_config=adapter(task_type="SEQ_CLS", modules_to_save=["score"]) if lora else None,
    )
    if lora:
        set_first_matrices(trainer.model)
    assert trainer.train_dataset[0]["chosen_ids"][-1] == EOS
    return logged(trainer)


def sine(i):
    return float(torch.sin(torch.tensor(i + 1.0)))


losses = [
    "sigmoid", "hinge", "ipo", "nca_pair", "bco_pair", "sppo_hard", "apo_zero", "apo_down", "discopop", "sft",
    "sigmoid_norm",
]
runs = {name: dpo(loss_type=[name]) for name in losses}
runs["exo_pair"] = dpo(loss_type=["exo_pair"], label_smoothing=1e-3)
runs["robust"] = dpo(loss_type=["robust"], label_smoothing=0.1)
runs["crossed"] = dpo(of=crossed, loss_type=["sigmoid"])
for name in ("aot", "aot_unpaired"):
    runs[name] = dpo(of=crossed, loss_type=[name])
    runs[f"{name}, smoothed"] = dpo(of=crossed, loss_type=[name], label_smoothing=0.1)
assert all(abs(runs["aot"][step]["loss"] - runs["crossed"][step]["loss"]) > 1e-3 for step in (1, 2))
for divergence in ("forward_kl", "js_divergence", "alpha_divergence"):
    runs[f"sigmoid, {divergence}"] = dpo(loss_type=["sigmoid"], f_divergence_type=divergence)
runs["ipo, js_divergence"] = dpo(loss_type=["ipo"], f_divergence_type="js_divergence")
runs["ld_alpha"] = dpo(loss_type=["sigmoid"], ld_alpha=0.5)
runs["wpo"] = dpo(loss_type=["sigmoid"], use_weighting=True)
runs["mpo"] = dpo(loss_type=["sigmoid", "bco_pair", "sft"], loss_weights=[0.8, 0.2, 1.0])
runs["sigmoid+sft"] = dpo(loss_type=["sigmoid", "sft"], loss_weights=[1.0, 1.0])
runs["synced"] = dpo(loss_type=["sigmoid"], sync_ref_model=True, ref_model_mixup_alpha=0.6, ref_model_sync_steps=1)
runs["adapter"] = dpo(lora=True, loss_type=["sigmoid"])
runs["adapter, accumulated"] = dpo(lora=True, loss_type=["sigmoid"], rows=1, accumulate=4)
runs["accumulated"] = dpo(loss_type=["sigmoid"], rows=1, accumulate=4)
result = {
    "pairs": [{"prompt": p, "chosen": c + [EOS], "rejected": r + [EOS]} for p, c, r in pairs],
    "crossed": [{"prompt": p, "chosen": c + [EOS], "rejected": r + [EOS]} for p, c, r in crossed],
    "judged": [{"prompt": p, "answer": a + [EOS], "good": good} for p, a, good in judged],
    "margins": margins,
    "dpo": runs,
    "kto": {
        "kto": kto(),
        "apo_zero_unpaired": kto(loss_type="apo_zero_unpaired"),
        "weighted": kto(desirable_weight=1.0, undesirable_weight=1.33),
    },
    "orpo": older(ORPOTrainer, ORPOConfig),
    "cpo": {
        "sigmoid": older(CPOTrainer, CPOConfig),
        "sigmoid, smoothed": older(CPOTrainer, CPOConfig, label_smoothing=0.1),
        "hinge": older(CPOTrainer, CPOConfig, loss_type="hinge"),
        "ipo": older(CPOTrainer, CPOConfig, loss_type="ipo"),
        "simpo": older(CPOTrainer, CPOConfig, loss_type="simpo", cpo_alpha=0.0, simpo_gamma=0.5),
        "simpo, alpha": older(CPOTrainer, CPOConfig, loss_type="simpo", cpo_alpha=0.0, simpo_gamma=0.5, alpha=0.25),
    },
    "reward": {
        "zeros": reward(lambda i: 0.0),
        "sines": reward(sine),
        "centred": reward(sine, center_rewards_coefficient=0.01),
        "margins": reward(sine, with_margins=True),
        "adapter": reward(sine, lora=True),
    },
}
json.dump(result, open(os.path.join(here, "trl_preferences.json"), "w"), indent=1)
for group in ("dpo", "kto", "cpo", "reward"):
    for name, lines in result[group].items():
        print(group, name, [(line["loss"], line["grad_norm"]) for line in lines])
print("orpo", [(line["loss"], line["grad_norm"]) for line in result["orpo"]])
