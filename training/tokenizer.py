# SPDX-License-Identifier: Apache-2.0
"""Captions to ids, by the rules of T5: a sentencepiece unigram model; pad 0, </s> 1, <unk> 2, no start token.

`python tokenizer.py` trains data/spiece.model on captions of the grammar. It is generated, like the atlas.
"""

import argparse
import io
import string
from pathlib import Path

import sentencepiece
import torch

import sprites

PIECES = 384
EXTRA_IDS = 100  # T5 keeps as many ids after the pieces
CAPTIONS = 20_000
SEED = 77
MODEL = sprites.DATA / "spiece.model"


def vocab_rows(pieces=PIECES):
    """Rows of the embedding: pieces and extra ids, rounded up to whole tiles."""
    return -(-(pieces + EXTRA_IDS) // 64) * 64


def train(path):
    import scenes

    maker = scenes.SceneMaker({"side": 8, "recipe": "composed", "kind_weights": [3, 4, 3, 2]})
    index = torch.arange(CAPTIONS)
    text = maker.captions(maker.describe(SEED, index), SEED, index)
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text), model_writer=model, model_type="unigram", vocab_size=PIECES,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, normalization_rule_name="nmt_nfkc", character_coverage=1.0,
        required_chars=string.ascii_letters + string.digits + ".,;:!?'\"()-", num_threads=1, hard_vocab_limit=True,
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.getvalue())


class Tokenizer:
    def __init__(self, path=MODEL):
        if not Path(path).exists():
            raise SystemExit(f"{path} is not there: run `python tokenizer.py`")
        self.pieces = sentencepiece.SentencePieceProcessor(model_file=str(path))

    def ids(self, text, longest):
        return self.pieces.encode(text)[: longest - 1] + [self.pieces.eos_id()]

    def batch(self, texts, length, device):
        """Ids and mask, [R, length], padded."""
        rows = [self.ids(text, length) for text in texts]
        ids = torch.tensor([row + [0] * (length - len(row)) for row in rows])
        mask = torch.arange(length)[None] < torch.tensor([[len(row)] for row in rows])
        return ids.to(device), mask.to(device)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=MODEL)
    train(parser.parse_args().out)
