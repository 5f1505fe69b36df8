"""Writes tokenizer_files.json: what Hugging Face's tokenizers makes of small tokenizer files and texts, and
which code points are white space to it; and what transformers makes of vocab.json, merges.txt and the files beside them.

    pip install tokenizers==0.23.2 transformers==5.18.0
    python test/golden/tokenizer_files.py
"""

import json
import pathlib
import tempfile

import transformers
from tokenizers import Regex, Tokenizer, pre_tokenizers

BYTES = [chr(b) if 33 <= b <= 126 or 161 <= b <= 172 or 174 <= b <= 255 else None for b in range(256)]
fresh = iter(range(256, 512))
BYTES = [c or chr(next(fresh)) for c in BYTES]


def ranges(name):
    """Code points that Oniguruma takes for a class, as [first, last] pairs."""
    split = pre_tokenizers.Split(Regex(name), "removed")
    found = []
    for code in range(0x110000):
        if 0xD800 <= code <= 0xDFFF or split.pre_tokenize_str(chr(code)):
            continue
        if found and found[-1][1] == code - 1:
            found[-1][1] = code
        else:
            found.append([code, code])
    return found


def added(content, id, special=False, **flags):
    token = dict(id=id, content=content, single_word=False, lstrip=False, rstrip=False, normalized=not special, special=special)
    return {**token, **flags}


BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def bpe(tokens=(), **parts):
    vocab = {c: i for i, c in enumerate(BYTES)}
    merges = ["t h", "th e", "\u0120 a", "a b", "\u0120 the"]
    for merge in merges:
        vocab[merge.replace(" ", "")] = len(vocab)
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "", "end_of_word_suffix": "",
             "fuse_unk": False, "byte_fallback": False, "vocab": vocab, "merges": merges}
    file = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": list(tokens), "normalizer": None,
            "pre_tokenizer": BYTE_LEVEL, "post_processor": None, "decoder": BYTE_LEVEL, "model": model}
    return {**file, **parts}


def of_letters(type, letters, extra=(), **parts):
    """A model of single letters and the words `extra`, so that ids tell where text was split."""
    vocab = {token: i for i, token in enumerate(["[UNK]", *letters, *extra])}
    model = {"type": type, "vocab": vocab, "unk_token": "[UNK]"}
    if type == "WordPiece":
        model |= {"continuing_subword_prefix": "##", "max_input_chars_per_word": 100}
    file = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
            "pre_tokenizer": None, "post_processor": None, "decoder": None, "model": model}
    return {**file, **parts}


def unigram(pieces, **parts):
    file = of_letters("WordLevel", "")
    file["model"] = {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], *pieces], "byte_fallback": False}
    return {**file, **parts}


END = added("<|end|>", 261, True)
SPLITTING = "ab, cd!! \u00e9\u00df_x 12\u0663\u00bd a\u0085b \ufeffc\u00a0d\u3000e\u200de \u03a3\u03a3 A\u0301"
LETTERS = sorted(set(SPLITTING.lower()) | set(SPLITTING) | set("\u03c2\u03c3"))
WORDS = ["ab", "cd", "!!", "12", "12\u0663\u00bd", "12\u0663", "\u00e9\u00df_x", "\u00e9\u00df", "\u03c3\u03c3", "a\u0301", "e\u200de", "ab,", " cd!", "!", " cd", "!ab", "!!ab"]


def splits(pre):
    file = of_letters("WordLevel", LETTERS, WORDS, pre_tokenizer=pre)
    return file, [SPLITTING, "\U0001f600ab", "!!ab  cd\u0085", " ab\ufeffcd", "\u1680ab\u180ecd"]


def cleans(*normalizers):
    whole = {"type": "Split", "pattern": {"Regex": "[\\s\\S]"}, "behavior": "Isolated", "invert": False}
    file = of_letters("WordLevel", LETTERS, ["$", "&"], normalizer={"type": "Sequence", "normalizers": list(normalizers)}, pre_tokenizer=whole)
    return file, [SPLITTING, "\u0085 ab\ufeff\u0085", "\ufeff \u03a3\u03a3 \u03a3", "a x b"]


def bytewise():
    vocab = {"<unk>": 0, "a": 1, "b": 2} | {f"<0x{byte:02X}>": 3 + byte for byte in range(256)}
    file = of_letters("WordLevel", "", decoder={"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]})
    file["model"] = {"type": "BPE", "vocab": vocab, "merges": [], "unk_token": "<unk>", "byte_fallback": True}
    return file, ["a\ufeffb", "\ufeff\u00e9a"]


CASES = {
    "byte-level": (bpe([END]), ["the ab\u0085 the", "the\ufeffab .\ufeffab", "a\u0085\u0085 b  the\u3000\u3000a", "<|end|>the<|end|>", "\u00e9\U0001f600"]),
    "byte-level with a space before": (bpe([END], pre_tokenizer={**BYTE_LEVEL, "add_prefix_space": True}), ["the ab", " the", "the<|end|>ab<|end|> ab", ""]),
    "added, not special": (bpe([END, added("the", 257), added("<x>", 262), added("a b", 263), added("<x>y", 264)]), ["the then<x>", "a b  a bc<x>yz", "<|end|> a b"]),
    "added, stripped": (bpe([END, added("<l>", 262, lstrip=True), added("<r>", 263, rstrip=True), added("<m>", 264, True, lstrip=True, rstrip=True)]),
                        ["a <l> b", "a \u0085\n<r> \ufeff b", "a  <m>  <m> \u0085<l>b <r>\u3000<m>", "<r><l> <r> <l>"]),
    "added, single words": (bpe([END, added("ab", 259, single_word=True)]), ["ab cab ab, abc", "\u00e9ab ab\u00e9 _ab 3ab ab", "ab\u0301 ab\u200d ab-ab"]),
    "added, normalized": (bpe([END, added("The", 262), added("AB", 263, normalized=False)], normalizer={"type": "Lowercase"}), ["The AB ab THE thE", "\u03a3AB\u03a3"]),
    "whitespace": splits({"type": "Whitespace"}),
    "whitespace split": splits({"type": "WhitespaceSplit"}),
    "bert": splits({"type": "BertPreTokenizer"}),
    "punctuation": splits({"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, {"type": "Punctuation", "behavior": "Isolated"}]}),
    "digits": splits({"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, {"type": "Digits", "individual_digits": False}]}),
    "single digits": splits({"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, {"type": "Digits", "individual_digits": True}]}),
    "split at a string": splits({"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, {"type": "Split", "pattern": {"String": "!"}, "behavior": "Removed", "invert": False}]}),
    "split, the rest isolated": splits({"type": "Split", "pattern": {"Regex": "\\w+"}, "behavior": "Isolated", "invert": True}),
    "pieces of two characters": splits({"type": "FixedLength", "length": 2}),
    "split, contiguous": splits({"type": "Split", "pattern": {"Regex": "[!, ]"}, "behavior": "Contiguous", "invert": False}),
    "strip": cleans({"type": "Strip", "strip_left": True, "strip_right": True}),
    "lower case": cleans({"type": "Lowercase"}),
    "all marks are accents": (cleans({"type": "StripAccents"})[0], ["a\u0903b \u0488", "\u00e9A\u0301"]),
    "bert's normalizer": (cleans({"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True})[0], ["\u03a3\u03a3 a\U00020000b", "a\U0002f800b\u4e00c \u00c9"]),
    "split, merged with what is before": splits({"type": "Split", "pattern": {"String": "!"}, "behavior": "MergedWithPrevious", "invert": False}),
    "split, merged with what is behind": splits({"type": "Split", "pattern": {"Regex": "\\s+|!"}, "behavior": "MergedWithNext", "invert": False}),
    "a byte-order mark in bytes": bytewise(),
    "accents": cleans({"type": "NFD"}, {"type": "StripAccents"}),
    "replace": cleans({"type": "Replace", "pattern": {"String": "x"}, "content": "$&"}),
    "metaspace": (unigram([["\u2581", -2.0], ["\u2581ab", -1.0], ["ab", -3.0], ["ab\u2581ab", -1.0], ["a", -4.0], ["b", -4.0]],
                          added_tokens=[added("<x>", 7, True)], pre_tokenizer={"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": True},
                          decoder={"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": True}),
                  ["ab ab", "ab<x>ab<x> ab", "<x>ab", " abb  ab"]),
    "wordpiece": (of_letters("WordPiece", "abc", ["##a", "##b", "##c", "ab"], pre_tokenizer={"type": "BertPreTokenizer"}, decoder={"type": "WordPiece", "prefix": "##", "cleanup": True}),
                  ["abc ab c", "abz ab"]),
    "merges in lists": (of_letters("WordLevel", "", added_tokens=[], decoder={"type": "Fuse"}) | {"model": {"type": "BPE", "vocab": {"a": 0, " ": 1, "a ": 2, "b": 3, "a b": 4}, "merges": [["a", " "], ["a ", "b"]]}}, ["a ba b", "ab a"]),
}

cases = []
for name, (file, texts) in CASES.items():
    tokenizer = Tokenizer.from_str(json.dumps(file))
    encoded = []
    for text in texts:
        row = {"text": text}
        for key, plain in (("special", False), ("plain", True)):
            tokenizer.encode_special_tokens = plain
            row[key] = tokenizer.encode(text, add_special_tokens=False).ids
        # A token found in normalized text is decoded as it stands in the file here, and not as it stood in the text.
        row["decoded"] = None if name == "added, normalized" else tokenizer.decode(row["special"], skip_special_tokens=False)
        encoded.append(row)
    # The bytes are in every byte-level file alike.
    if name != "byte-level" and file["model"] == CASES["byte-level"][0]["model"]:
        file = {**file, "model": None}
    cases.append({"name": name, "file": file, "texts": encoded})

OLDER = {c: i for i, c in enumerate(["a", "b", "c", "\u0120", "<", "|", "e", "n", "d", "o", "f", "t", "x", ">", "z", "ab", "<|endoftext|>"])}
MERGES = "#version: 0.2\na b\n"
FOLDERS = {
    "vocab.json and merges.txt alone": {},
    "merges.txt with carriage returns": {"merges.txt": MERGES.replace("\n", "\r\n")},
    "merges.txt without a version": {"merges.txt": "a b"},
    "added_tokens.json": {"added_tokens.json": {"<z>": 17, "c d": 18}},
    "added_tokens.json and special_tokens_map.json": {"added_tokens.json": {"<z>": 17, "c d": 18}, "special_tokens_map.json": {"pad_token": "c d", "eos_token": "<z>"}},
    "special tokens without ids": {"special_tokens_map.json": {"pad_token": "<z>", "bos_token": {"content": "<a>", "lstrip": True, "rstrip": False, "normalized": False, "single_word": False}, "additional_special_tokens": ["<b>"]}},
    "add_prefix_space": {"tokenizer_config.json": {"add_prefix_space": True}},
    "added_tokens_decoder": {"tokenizer_config.json": {"added_tokens_decoder": {"17": {"content": "<z>", "lstrip": False, "rstrip": True, "normalized": False, "single_word": False, "special": True}}}},
    "two ends": {"tokenizer_config.json": {"eos_token": "<z>"}, "special_tokens_map.json": {"eos_token": "<a>"}},
}
folders = []
for name, files in FOLDERS.items():
    files = {"vocab.json": OLDER, "merges.txt": MERGES, **files}
    with tempfile.TemporaryDirectory() as directory:
        for file, content in files.items():
            text = content if isinstance(content, str) else json.dumps(content)
            (pathlib.Path(directory) / file).write_bytes(text.encode())
        tokenizer = transformers.GPT2TokenizerFast.from_pretrained(directory)
        texts = ["ab ab<|endoftext|>ab", "ab<z> c d ab", " ab <z>  ab  <a> ab <b>"]
        rows = [{"text": text, "ids": tokenizer.encode(text, add_special_tokens=False)} for text in texts]
        folders.append({"name": name, "files": files, "texts": rows, "end": tokenizer.eos_token_id})

golden = {"classes": {name: ranges(name) for name in ["\\s"]}, "cases": cases, "folders": folders}
out = pathlib.Path(__file__).with_name("tokenizer_files.json")
out.write_text(json.dumps(golden, ensure_ascii=True, separators=(",", ":")).replace('},{"name"', '},\n{"name"') + "\n")
