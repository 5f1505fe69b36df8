"""Writes choice.json and choice/: what lm-evaluation-harness makes of small data files by a GPT-2 with random weights.

The tasks are the harness's own (hellaswag, arc_easy, blimp, lambada_openai), read from its files with the data alone replaced, and a plain
one of multiple choice. The rows are written for this, their labels so that acc, acc_norm and acc_bytes differ. Of every request the text, the log-likelihood and whether it is what the
model would say; of every task the metrics with their standard errors.

    pip install torch transformers datasets tokenizers
    pip install --no-deps --target DIR lm_eval==0.4.13
    PYTHONPATH=DIR python test/golden/choice.py
"""
import importlib
import importlib.machinery
import json
import os
import sys
import tempfile
import types

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["DISABLE_MULTIPROC"] = "1"


def stub(name, **members):
    module = types.ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    module.__dict__.update(members)
    sys.modules[name] = module


for name in ("evaluate", "sacrebleu", "sqlitedict", "word2number", "pytablewriter"):
    try:
        __import__(name)
    except ImportError:
        stub(name, SqliteDict=dict, MarkdownTableWriter=object, LatexTableWriter=object, load=lambda *_, **__: None)

import lm_eval
import torch
import yaml
from lm_eval import evaluator
from lm_eval.models.huggingface import HFLM
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

here = os.path.dirname(os.path.abspath(__file__))
END = "<|endoftext|>"
LONG = " ".join(["The ferry left the harbour at noon and nobody waved."] * 9)


def swag(activity, a, b, endings, label):
    return {"activity_label": activity, "ctx_a": a, "ctx_b": b, "ctx": f"{a} {b}", "endings": endings, "label": label}


HELLASWAG = [
    swag("Baking bread", "A woman stands in a kitchen. She has flour on her hands.", "the woman", ["puts the loaf in the oven.", "swims to the island.", "sells the oven to a naïve café — twice.", "is a loaf."], "2"),
    swag("Mending a net", "[header] How to mend a net [title] Look for the hole. [step] Hold the net up to the light.", "", ["You see  the hole at once.", "The net [laughs] is blue.", "Ñandú.", "A hole has no light."], "1"),
    swag("Fährfahrt", "Ein Mann steht am Ufer.", "ÉMILE AND Mr Brown", ["wave at the ferry.", "eat the ferry, the harbour, the river and all the fish that are in it.", "wave.", "drown in ink."], "2"),
    swag("Waiting", LONG, "then IT", ["rained.", "was noon again and nobody waved.", "rained on the hill.", "left."], "1"),
    swag("Rowing", "  Two men row a boat. ", "they", ["row on.", "row on.", "stop to eat the oars.", "sing — 日本語 — and row."], "1"),
]
LETTERS = ["A", "B", "C", "D", "E"]


def arc(question, texts, answer, labels=None):
    return {"id": question[:8], "question": question, "choices": {"text": texts, "label": labels or LETTERS[: len(texts)]}, "answerKey": answer}


ARC = [
    arc("Which of these floats on water?", ["a cork", "a stone", "an anvil", "a nail"], "D"),
    arc("What does a thermometer measure?", ["length", "how warm something is", "weight"], "3", ["1", "2", "3"]),
    arc("Why does ice at −5 °C not melt?", ["It is too cold: −5 °C < 0 °C.", "It is blue.", "It is wet.", "Ice is a stone.", "no reason"], "B"),
    arc(f"{LONG} When did the ferry leave?", ["at noon", "at night", "never", "in winter"], "B"),
]
BLIMP = {
    "agreement.jsonl": [
        {"sentence_good": "The nets are blue.", "sentence_bad": "The nets is blue."},
        {"sentence_good": "The ferry that the men row leaves.", "sentence_bad": "The ferry that the men row leave."},
        {"sentence_good": "No café sells naïve bread.", "sentence_bad": "No café sell naïve bread."},
    ],
    "islands.jsonl": [
        {"sentence_good": "What did nobody wave at?", "sentence_bad": "What did nobody wave at the ferry?"},
        {"sentence_good": "Who left the harbour?", "sentence_bad": "Who did the harbour left?"},
        {"sentence_good": "She rows, doesn't she?", "sentence_bad": "She rows, doesn't it?"},
        {"sentence_good": "He ate it.", "sentence_bad": "He eated it."},
    ],
}
CHOICE = [
    {"context": "The net is full of", "choices": ["fish", "light", "a naïve café — 日本語"], "gold": 2},
    {"context": "At noon the ferry  ", "choices": ["left", "leaves the harbour", "is"], "gold": 2},
    {"context": "", "choices": ["Nobody waved.", "Waved nobody."], "gold": 0},
    {"context": f"{LONG}\n\nAnswer:\n", "choices": ["noon", "night"], "gold": 1},
    {"context": "Q: Who?\n", "choices": ["She.", "He.", "It."], "gold": 0},
]
LAMBADA = [
    "The woman put the loaf in the oven",
    "Two men row a boat and sing at noon, and the ferry left the café",
    LONG + " It was noon and nobody waved at the ferry",
    "Ferry",
]


def texts():
    for row in HELLASWAG:
        yield from [row["activity_label"], row["ctx"], *row["endings"]]
    for row in ARC:
        yield from [row["question"], *row["choices"]["text"]]
    for row in [row for rows in BLIMP.values() for row in rows]:
        yield from row.values()
    for row in CHOICE:
        yield from [row["context"], *row["choices"]]
    yield from LAMBADA


made = Tokenizer(models.BPE())
made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
made.decoder = decoders.ByteLevel()
made.train_from_iterator(texts(), trainers.BpeTrainer(vocab_size=360, special_tokens=[END], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, eos_token=END, bos_token=END, unk_token=END)
torch.manual_seed(29)
model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), n_positions=64, n_embd=16, n_layer=2, n_head=2, bos_token_id=tokenizer.eos_token_id, eos_token_id=tokenizer.eos_token_id, attn_pdrop=0, embd_pdrop=0, resid_pdrop=0)).eval()
with torch.no_grad():
    for parameter in model.parameters():
        parameter.mul_(8) if parameter.dim() > 1 else parameter.add_(0.1 * torch.randn_like(parameter))
folder = os.path.join(here, "choice")
model.save_pretrained(folder)
os.chmod(os.path.join(folder, "model.safetensors"), 0o644)
made.save(os.path.join(folder, "tokenizer.json"))
for name in os.listdir(folder):
    if name not in ("config.json", "model.safetensors", "tokenizer.json"):
        os.remove(os.path.join(folder, name))


def greedy_word(context):
    """The context with the model's next token, where that is a word of its own."""
    ids = tokenizer(context)["input_ids"]
    with torch.no_grad():
        word = tokenizer.decode([model(torch.tensor([ids])).logits[0, -1].argmax().item()])
    alone = word.startswith(" ") and word.count(" ") == 1 and len(word) > 1
    return [context + word] if alone and tokenizer(context + word)["input_ids"][:-1] == ids else []


PREFIXES = [text[:cut] for text in texts() for cut in range(8, min(len(text), 60)) if text[cut] == " "]
GREEDY = [text for prefix in PREFIXES for text in greedy_word(prefix)]
assert len(GREEDY) >= 2, "another seed is wanted"
LAMBADA = [{"text": text} for text in [*LAMBADA, *GREEDY[:2]]]


class Loader(yaml.SafeLoader):
    """YAML with `!function module.name`, from the folder of the file."""


def config_of(path):
    directory = os.path.join(os.path.dirname(lm_eval.__file__), "tasks", os.path.dirname(path))

    def function(_, node):
        module, name = node.value.split(".")
        package = "lm_eval.tasks." + os.path.dirname(path).replace("/", ".")
        return getattr(importlib.import_module(f"{package}.{module}"), name)

    Loader.add_constructor("!function", function)
    config = yaml.load(open(os.path.join(directory, os.path.basename(path))), Loader)
    for unwanted in ("include", "dataset_name", "tag"):
        config.pop(unwanted, None)
    return config


scratch = tempfile.mkdtemp()


def task(name, rows, config):
    path = os.path.join(scratch, f"{name}.json")
    json.dump(rows, open(path, "w"))
    splits = [config[split] for split in ("training_split", "validation_split", "test_split") if config.get(split)]
    return {**config, "task": name, "dataset_path": "json", "dataset_kwargs": {"data_files": {split: path for split in splits}}}


ACCURACIES = [{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in ("acc", "acc_norm", "acc_bytes")]


def with_bytes(config):
    return {**config, "metric_list": ACCURACIES}


plain = {"output_type": "multiple_choice", "test_split": "test", "doc_to_text": "{{context}}", "doc_to_target": "{{gold}}", "doc_to_choice": "choices", "metric_list": ACCURACIES}
FILES = {
    "hellaswag": {"hellaswag": HELLASWAG},
    "arc": {"arc": ARC},
    "blimp": BLIMP,
    "lambada": {"lambada": LAMBADA},
    "choice": {"choice": CHOICE},
}
configs = {
    "hellaswag": with_bytes(config_of("hellaswag/hellaswag.yaml")),
    "arc": with_bytes(config_of("arc/arc_easy.yaml")),
    "blimp": config_of("blimp/_template_yaml"),
    "lambada": config_of("lambada/lambada_openai.yaml"),
    "choice": plain,
}
harness = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=3, device="cpu")
assert harness.max_length == 64
tasks = [task(f"{kind}__{name}", rows, configs[kind]) for kind, files in FILES.items() for name, rows in files.items()]
found = evaluator.simple_evaluate(model=harness, tasks=tasks, log_samples=True, bootstrap_iters=100)
result = {"context": 64, "tasks": {}}
for kind, files in FILES.items():
    result["tasks"][kind] = {}
    for name, rows in files.items():
        label = f"{kind}__{name}"
        samples = sorted(found["samples"][label], key=lambda sample: sample["doc_id"])
        metrics = {key.replace(",none", ""): value for key, value in found["results"][label].items() if isinstance(value, float)}
        result["tasks"][kind][name] = {
            "rows": rows,
            "requests": [[list(arguments) for arguments in sample["arguments"]] for sample in samples],
            "log_likelihoods": [[response[0][0] for response in sample["resps"]] for sample in samples],
            "greedy": [[response[0][1] for response in sample["resps"]] for sample in samples],
            "metrics": metrics,
        }
with open(os.path.join(here, "choice.json"), "w") as file:
    json.dump(result, file, ensure_ascii=False)
for kind, files in result["tasks"].items():
    for name, one in files.items():
        print(kind, name, one["metrics"], one["greedy"])
