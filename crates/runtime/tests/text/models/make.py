"""Trains the models in this folder on the project's own documentation and records what sentencepiece
makes of some texts.

    python make.py ../../../../../docs/*.md ../../../../../README.md

The unigram model has a small character table of its own, so that its file stays small.
"""

import json
import pathlib
import sys

import sentencepiece

here = pathlib.Path(__file__).parent
TEXTS = [
    "", " ", "   ", "a", "Hello world", " leading and trailing ", "two  spaces   three",
    "The quick brown fox jumps over the lazy dog.", "naïve café Ångström – “quotes” … ﬁ ligature",
    "日本語の文章を埋め込む", "Быстрая коричневая лиса", "😀 emoji 👩‍👩‍👧‍👦 family", "e\u0301 combining vs \u00e9 precomposed",
    "tabs\tand\nnew\r\nlines\u00a0nbsp\u200bzwsp", "SHOUTING CASE And MiXeD", "1234567890 3.14159 1e-9 0xDEADBEEF",
    "https://example.org/path?query=1&x=%20#frag", "don't can't it's", "supercalifragilisticexpialidocious",
    "<sep>", "a<sep>b", "<sep> a <sep>", "before <|x|> after", "<|x|><sep>", "\u2581 \u2581\u2581a", "…", "… ", "ﬁ ﬁ", "\u0007bell",
    "bundle manifest graph session engine " * 20,
]


def lines():
    for name in sys.argv[1:]:
        for line in pathlib.Path(name).read_text(encoding="utf-8").splitlines():
            if line.strip() and len(line) < 300:
                yield line.strip()


def train(name, **options):
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(list(lines())), model_prefix=str(here / name), hard_vocab_limit=False,
        minloglevel=2, num_threads=1, **options)
    (here / f"{name}.vocab").unlink()


rules = here / "rules.tsv"
rules.write_text("".join(
    " ".join(f"{ord(c):X}" for c in source) + "\t" + " ".join(f"{ord(c):X}" for c in target) + "\n"
    for source, target in [("ﬁ", "fi"), ("…", "..."), ("\t", " "), ("\n", " "), ("\u00a0", " "), ("e\u0301", "é"), ("\u200b", ""),
                           ("\u0007", ""), ("\u2581", " ")]))
train("unigram", model_type="unigram", vocab_size=500, user_defined_symbols=["<sep>", "<|x|>"],
      control_symbols=["<ctl>"], pad_id=3, normalization_rule_tsv=str(rules))
rules.unlink()
train("bpe", model_type="bpe", vocab_size=800, byte_fallback=True, normalization_rule_name="identity",
      remove_extra_whitespaces=False, split_digits=True)
recorded = {}
for name in ["unigram", "bpe"]:
    processor = sentencepiece.SentencePieceProcessor(model_file=str(here / f"{name}.model"))
    recorded[name] = [
        {"text": text, "ids": (ids := processor.encode(text)), "decoded": processor.decode(ids)} for text in TEXTS]
(here / "ids.json").write_text(json.dumps(recorded, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
