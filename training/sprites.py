# SPDX-License-Identifier: Apache-2.0
"""The sprites: emoji of Debian's fonts-noto-color-emoji (SIL OFL 1.1), drawn once into an atlas.

`python sprites.py` writes data/atlas.png (a grid of RGBA cells, row by row in the order of SPRITES)
and data/atlas.json (names, cell side, font and its hash). Both are generated: they are not in git, but small enough to
be carried to a machine that has no fonts.
"""

import argparse
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
FONT_STRIKE = 109  # the only size of the font's bitmaps
CELL = 128
COLUMNS = 10
DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Sprite:
    name: str  # canonical, used as class name
    char: str
    synonyms: tuple[str, ...] = ()
    plural: str = ""

    def plural_of(self, word: str) -> str:
        if word == self.name and self.plural:
            return self.plural
        if word.endswith(("s", "x", "ch", "sh")):
            return word + "es"
        if word.endswith("y") and word[-2] not in "aeiou":
            return word[:-1] + "ies"
        return word + "s"


def _sprite(name, char, *synonyms, plural=""):
    return Sprite(name, char, tuple(synonyms), plural)


# The order is part of every trained model: append, never insert.
SPRITES = (
    _sprite("dog", "🐶", "puppy"),
    _sprite("cat", "🐱", "kitten"),
    _sprite("apple", "🍎", "red apple"),
    _sprite("soccer ball", "⚽", "football"),
    _sprite("sunflower", "🌻"),
    _sprite("pizza", "🍕", "slice of pizza", plural="pizzas"),
    _sprite("car", "🚗", "red car"),
    _sprite("panda", "🐼", "panda bear"),
    _sprite("frog", "🐸"),
    _sprite("star", "⭐"),
    _sprite("banana", "🍌"),
    _sprite("octopus", "🐙"),
    _sprite("penguin", "🐧"),
    _sprite("pumpkin", "🎃", "jack-o'-lantern"),
    _sprite("donut", "🍩", "doughnut"),
    _sprite("watermelon", "🍉", "slice of watermelon"),
    _sprite("pig", "🐷", "piglet"),
    _sprite("tree", "🌳"),
    _sprite("smiley", "😀", "smiling face"),
    _sprite("basketball", "🏀"),
    _sprite("fox", "🦊"),
    _sprite("cactus", "🌵", plural="cacti"),
    _sprite("burger", "🍔", "hamburger"),
    _sprite("gift", "🎁", "present"),
    _sprite("bus", "🚌"),
    _sprite("mushroom", "🍄", "toadstool"),
    _sprite("strawberry", "🍓"),
    _sprite("whale", "🐳"),
    _sprite("ladybug", "🐞", "ladybird"),
    _sprite("clock", "⏰", "alarm clock"),
    _sprite("lion", "🦁"),
    _sprite("snowman", "⛄", plural="snowmen"),
    _sprite("mouse", "🐭", plural="mice"),
    _sprite("rabbit", "🐰", "bunny"),
    _sprite("bear", "🐻"),
    _sprite("koala", "🐨"),
    _sprite("tiger", "🐯"),
    _sprite("cow", "🐮"),
    _sprite("monkey", "🐵"),
    _sprite("chicken", "🐔", "hen"),
    _sprite("bird", "🐦"),
    _sprite("duck", "🦆"),
    _sprite("owl", "🦉"),
    _sprite("horse", "🐴"),
    _sprite("unicorn", "🦄"),
    _sprite("bee", "🐝", "honeybee"),
    _sprite("butterfly", "🦋"),
    _sprite("snail", "🐌"),
    _sprite("turtle", "🐢", "tortoise"),
    _sprite("snake", "🐍"),
    _sprite("crab", "🦀"),
    _sprite("fish", "🐠", "tropical fish", plural="fish"),
    _sprite("elephant", "🐘"),
    _sprite("camel", "🐫"),
    _sprite("palm tree", "🌴", "palm"),
    _sprite("pine tree", "🌲", "fir"),
    _sprite("rose", "🌹", "red rose"),
    _sprite("tulip", "🌷"),
    _sprite("clover", "🍀", "four-leaf clover"),
    _sprite("maple leaf", "🍁", plural="maple leaves"),
    _sprite("pear", "🍐"),
    _sprite("orange", "🍊", "tangerine"),
    _sprite("lemon", "🍋"),
    _sprite("bunch of grapes", "🍇", plural="bunches of grapes"),
    _sprite("pair of cherries", "🍒", plural="pairs of cherries"),
    _sprite("peach", "🍑"),
    _sprite("pineapple", "🍍"),
    _sprite("eggplant", "🍆", "aubergine"),
    _sprite("carrot", "🥕"),
    _sprite("ear of corn", "🌽", "cob of corn", plural="ears of corn"),
    _sprite("hot dog", "🌭"),
    _sprite("box of fries", "🍟", "box of french fries", plural="boxes of fries"),
    _sprite("cookie", "🍪", "biscuit"),
    _sprite("cake", "🎂", "birthday cake"),
    _sprite("ice cream", "🍦", "ice cream cone"),
    _sprite("loaf of bread", "🍞", plural="loaves of bread"),
    _sprite("piece of cheese", "🧀", "wedge of cheese", plural="pieces of cheese"),
    _sprite("fire truck", "🚒", "fire engine"),
    _sprite("tractor", "🚜"),
    _sprite("bicycle", "🚲", "bike"),
    _sprite("rocket", "🚀"),
    _sprite("helicopter", "🚁"),
    _sprite("sailboat", "⛵", "boat"),
    _sprite("train", "🚂", "locomotive"),
    _sprite("house", "🏠"),
    _sprite("castle", "🏰"),
    _sprite("guitar", "🎸"),
    _sprite("drum", "🥁"),
    _sprite("light bulb", "💡", "bulb"),
    _sprite("key", "🔑"),
    _sprite("book", "📕", "red book"),
    _sprite("balloon", "🎈", "red balloon"),
    _sprite("crown", "👑", "golden crown"),
    _sprite("top hat", "🎩"),
    _sprite("heart", "❤", "red heart"),
    _sprite("moon", "🌙", "crescent moon"),
    _sprite("diamond", "💎", "gem"),
    _sprite("bell", "🔔", "golden bell"),
    _sprite("ghost", "👻"),
    _sprite("robot", "🤖", "robot face"),
)
NAMES = tuple(sprite.name for sprite in SPRITES)


def draw(char, font):
    """One sprite, scaled to fill a cell of CELL pixels, centred."""
    from PIL import Image, ImageDraw

    canvas = Image.new("RGBA", (2 * CELL, 2 * CELL))
    ImageDraw.Draw(canvas).text((CELL // 2, CELL // 2), char, font=font, embedded_color=True)
    box = canvas.getbbox()
    if box is None:
        raise SystemExit(f"the font has no picture for {char!r}")
    glyph = canvas.crop(box)
    scale = (CELL - 4) / max(glyph.size)
    size = tuple(max(1, round(side * scale)) for side in glyph.size)
    cell = Image.new("RGBA", (CELL, CELL))
    cell.paste(glyph.resize(size, Image.LANCZOS), ((CELL - size[0]) // 2, (CELL - size[1]) // 2))
    return cell


def write_atlas(font_path, folder):
    from PIL import Image, ImageFont

    font = ImageFont.truetype(str(font_path), FONT_STRIKE)
    rows = -(-len(SPRITES) // COLUMNS)
    atlas = Image.new("RGBA", (COLUMNS * CELL, rows * CELL))
    for index, sprite in enumerate(SPRITES):
        atlas.paste(draw(sprite.char, font), (index % COLUMNS * CELL, index // COLUMNS * CELL))
    folder.mkdir(parents=True, exist_ok=True)
    atlas.save(folder / "atlas.png", optimize=True)
    record = {
        "names": NAMES,
        "cell": CELL,
        "columns": COLUMNS,
        "font": "Noto Color Emoji (Debian fonts-noto-color-emoji), SIL Open Font License 1.1",
        "font_sha256": hashlib.sha256(font_path.read_bytes()).hexdigest(),
    }
    (folder / "atlas.json").write_text(json.dumps(record, indent=1) + "\n")


def load_atlas(folder=DATA):
    """uint8 array [sprites, CELL, CELL, 4]."""
    import numpy as np
    from PIL import Image

    path = Path(folder) / "atlas.png"
    if not path.exists():
        raise SystemExit(f"{path} is not there: run `python sprites.py` (needs {FONT.name})")
    if tuple(json.loads((Path(folder) / "atlas.json").read_text())["names"]) != NAMES:
        raise SystemExit(f"{path} was drawn from another list of sprites: run `python sprites.py`")
    pixels = np.asarray(Image.open(path).convert("RGBA"))
    rows = pixels.shape[0] // CELL
    cells = pixels.reshape(rows, CELL, COLUMNS, CELL, 4).transpose(0, 2, 1, 3, 4)
    return cells.reshape(-1, CELL, CELL, 4)[: len(SPRITES)].copy()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--font", type=Path, default=FONT)
    parser.add_argument("--out", type=Path, default=DATA)
    arguments = parser.parse_args()
    write_atlas(arguments.font, arguments.out)
