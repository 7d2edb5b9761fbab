# SPDX-License-Identifier: Apache-2.0
"""Reading captions before drawing them: the text encoder and the pooling of the transformer, with one linear layer that says from the
pooled vector what the caption tells. A transformer that starts from these weights is told at once what to draw."""

import re

import torch
import torch.nn as nn
import torch.nn.functional as F
from infinity import TextConditions
from scenes import COLORS, KINDS, PATTERN_WORDS, PATTERNS, RELATIONS, SLOTS
from t5 import T5Encoder

THIRDS = 3  # rows and columns that captions tell places in
QUADRANTS = 4
_PATTERN = re.compile("|".join(word for words in PATTERN_WORDS.values() for word in words if word))


def quadrants(scenes):
    """Class [B, QUADRANTS] of the sprite of a pair, or of the single one, that fills each, as far as its relation tells; else -1. Order
    of words and relation have to meet in it, which the transformer would else be left to learn: it takes the pooled vector as it is."""
    quadrant = torch.arange(QUADRANTS, device=scenes.kind.device)[None]
    farther = torch.where(scenes.relation[:, None] < 2, quadrant % 2, quadrant // 2)  # along the axis of the relation
    slot = farther ^ (scenes.relation[:, None] % 2)  # right of and below: the first named is the farther
    of_pair = scenes.classes.gather(1, slot)
    kind = scenes.kind[:, None]
    return torch.where(kind == KINDS.index("pair"), of_pair, torch.where(kind == KINDS.index("single"), scenes.classes[:, :1], -1))


def questions(scenes, texts, classes):
    """What captions tell: {name: (answers [B], how many there are)}; -1 where the caption does not."""

    def if_told(values, told):
        return torch.where(torch.tensor([told(text) for text in texts], device=values.device), values, -1)

    def ground(text):
        return "background" in text

    def place(text):
        return re.search(r"\b(in|at|on) the\b", text) is not None

    thirds = {name: (getattr(scenes, name)[:, 0] * THIRDS).long().clamp(0, THIRDS - 1) for name in ("x", "y")}
    # Of several of one kind the first is asked for: the others would teach to mix up the first and the second of a pair.
    alike = scenes.kind == KINDS.index("count")
    named = {f"sprite {slot}": (torch.where(alike & (slot > 0), -1, scenes.classes[:, slot]), classes) for slot in range(SLOTS)}
    places = {name: (torch.where(scenes.kind == 0, if_told(value, place), -1), THIRDS) for name, value in thirds.items()}
    fillers = {f"quadrant {number}": (value, classes) for number, value in enumerate(quadrants(scenes).unbind(1))}
    return fillers | named | places | {
        "kind": (scenes.kind, len(KINDS)), "count": (scenes.count - 1, SLOTS), "relation": (scenes.relation, len(RELATIONS)),
        "color": (if_told(scenes.color, ground), len(COLORS)),
        "pattern": (if_told(scenes.pattern, lambda text: bool(_PATTERN.search(text))), len(PATTERNS)),
    }  # fmt: skip


class CaptionReader(TextConditions):
    def __init__(self, text_config, width, text_maxlen, classes):
        super().__init__(text_config["d_model"], width, text_maxlen)
        self.text = T5Encoder(**text_config)
        self.answers = nn.Linear(width, (SLOTS + QUADRANTS) * classes + 2 * THIRDS + len(KINDS) + SLOTS + len(RELATIONS)
                                 + len(COLORS) + len(PATTERNS))  # fmt: skip
        self.text.init_weights()

    def forward(self, ids, mask):
        """What a transformer is told: start vectors [B, C] and sources [tokens, C] of the captions, then of no captions."""
        text = self.text(ids, mask)
        told = [self.start_and_source(each, mask) for each in (text, self.unconditional(text))]
        return [part for start, source in told for part in (start, source[mask].float())]

    def unlikeness(self, told, ids, mask):
        """How far `told` by another reader is from what this one tells: squared errors over the spread among captions, summed."""
        with torch.no_grad():
            wanted = self(ids, mask)
        spreads = [(each - each.mean(0)).square().sum(1).mean() for each in wanted[:2]]
        errors = [(each - own).square().sum(1).mean() for each, own in zip(told, wanted, strict=True)]
        return sum(error / spread for error, spread in zip(errors, spreads * 2, strict=True))

    def answer(self, start, scenes, texts, classes, with_quadrants):
        """Loss, a sum over the questions, and how many answers are right, by question."""
        asked = questions(scenes, texts, classes)
        total, right = 0.0, {}
        by_question = self.answers(start).float().split([count for _, count in asked.values()], 1)
        for (name, (answers, _)), scores in zip(asked.items(), by_question, strict=True):
            known = answers >= 0
            if known.any() and (with_quadrants or not name.startswith("quadrant")):
                total = total + F.cross_entropy(scores[known], answers[known])
                right[name] = (scores[known].argmax(1) == answers[known]).float().mean()
        return total, right
