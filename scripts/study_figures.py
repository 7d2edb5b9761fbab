# SPDX-License-Identifier: Apache-2.0
"""Figures of the study as small SVG files, from the same units as its tables. They carry their own
background, so that they read alike on light and dark pages. Every mark says its value in a title.
"""

import html
import math

import study_tables

WIDTH, HEIGHT = 760, 380
LEFT, RIGHT, TOP, BOTTOM = 64, 190, 26, 52  # margins of a plot; names stand on the right
BACKGROUND, INK, SOFT, RULE = "#ffffff", "#1b1d21", "#5c626b", "#e3e4e1"
CONTEXTUAL, STRUCTURAL, FULL = "#d9622b", "#2a6fc4", "#8d939c"
PALETTE = ["#d9622b", "#2a6fc4", "#2e8b6f", "#8a5fc0", "#b8860b", "#c2408c", "#4a7a1e", "#008b9a",
           "#7a4a2b", "#55606e", "#b03030"]
RAMP = ["#eaf2fb", "#d0e2f5", "#b1cfed", "#8db9e3", "#69a1d8", "#4887c8", "#2e6cb0", "#1d5292",
        "#103a6e"]


def draw(model):
    """Name to SVG text."""
    return {"quality": quality(model), "variance": variance(model), "heads": heads(model),
            "budgets": budgets(model), "calibration": calibration(model)}


# ---- Pieces -------------------------------------------------------------------------------------


def svg(body, width=WIDTH, height=HEIGHT):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
            f'width="{width:.0f}" font-family="sans-serif">\n'
            f'<rect width="100%" height="100%" rx="8" fill="{BACKGROUND}"/>\n{body}</svg>\n')


def text(x, y, words, anchor="start", colour=SOFT, size=11, turn=""):
    return (f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" font-size="{size}" '
            f'text-anchor="{anchor}"{turn}>{html.escape(str(words))}</text>\n')


def title_of(words):
    return f"<title>{html.escape(words)}</title>"


class Axis:
    """Values to pixels; a logarithmic axis begins and ends at powers of ten, or near its values."""

    def __init__(self, values, begin, end, logarithmic, from_zero=False):
        self.logarithmic = logarithmic
        shown = [value for value in values if value > 0] if logarithmic else list(values)
        low, high = (min(shown), max(shown)) if shown else (0.1, 1)
        if from_zero:
            low = 0
        self.low, self.high = self.scaled(low), self.scaled(high)
        if self.high - self.low < 1e-9:
            self.low, self.high = self.low - 0.5, self.high + 0.5
        self.begin, self.end = begin, end

    def scaled(self, value):
        return math.log10(value) if self.logarithmic else value

    def at(self, value):
        scaled = self.scaled(value) if not self.logarithmic or value > 0 else self.low
        return self.begin + (scaled - self.low) / (self.high - self.low) * (self.end - self.begin)

    def ticks(self):
        if self.logarithmic:
            digits = (1, 2, 5) if self.high - self.low < 2.5 else (1,)
            powers = range(math.floor(self.low), math.ceil(self.high) + 1)
            values = [digit * 10.0**power for power in powers for digit in digits]
        else:
            rough = (self.high - self.low) / 5
            power = 10.0 ** math.floor(math.log10(rough))
            step = power * next(digit for digit in (1, 2, 5, 10) if digit * power >= rough)
            values = [step * place for place in range(math.floor(self.low / step),
                                                      math.ceil(self.high / step) + 1)]
        slack = 1e-9 * max(1.0, abs(self.high))
        return [value for value in values
                if self.low - slack <= self.scaled(value) <= self.high + slack]


class Plot:
    """Axes, and marks between them."""

    def __init__(self, points, x_title, y_title, logarithmic=(False, True), x_ticks=None):
        self.x = Axis([x for x, _ in points], LEFT + 8, WIDTH - RIGHT - 8, logarithmic[0])
        self.y = Axis([y for _, y in points], HEIGHT - BOTTOM - 6, TOP + 6, logarithmic[1])
        self.names = 0
        bottom = HEIGHT - BOTTOM
        body = ""
        for tick in self.y.ticks():
            y = self.y.at(tick)
            body += (f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" '
                     f'stroke="{RULE}"/>\n')
            body += text(LEFT - 6, y + 4, f"{tick:.3g}", "end")
        for tick in x_ticks or self.x.ticks():
            body += text(self.x.at(tick), bottom + 16, f"{tick:.3g}", "middle")
        body += text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, x_title, "middle", INK)
        middle = (TOP + bottom) / 2
        body += text(16, middle, y_title, "middle", INK,
                     turn=f' transform="rotate(-90 16 {middle:.1f})"')
        self.body = body

    def line(self, points, colour, dashes=""):
        path = " ".join(f"{self.x.at(x):.1f},{self.y.at(y):.1f}" for x, y in points)
        self.body += (f'<polyline points="{path}" fill="none" stroke="{colour}" '
                      f'stroke-width="1.6"{dashes}/>\n')

    def mark(self, x, y, colour, words, radius=3.5):
        self.body += (f'<circle cx="{self.x.at(x):.1f}" cy="{self.y.at(y):.1f}" r="{radius}" '
                      f'fill="{colour}">{title_of(words)}</circle>\n')

    def whisker(self, x, low, high, colour):
        at = self.x.at(x)
        self.body += (f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{self.y.at(low):.1f}" '
                      f'y2="{self.y.at(high):.1f}" stroke="{colour}"/>\n')

    def name(self, words, colour):
        y = TOP + 10 + 18 * self.names
        self.names += 1
        left = WIDTH - RIGHT + 16
        self.body += f'<rect x="{left}" y="{y - 8}" width="10" height="10" fill="{colour}"/>\n'
        self.body += text(left + 16, y + 1, words, colour=INK)


def contextual_of(calibration):
    return study_tables.flat(calibration["contextual"])


def main_calibration(model):
    return study_tables.calibration_of(model, study_tables.main_size(model["sizes"]))


# ---- Figures ------------------------------------------------------------------------------------


def quality(model):
    lines = {}
    for row in model["rows"]:
        kv = row["kv"]
        if kv not in model["measured"]:
            continue
        policy = model["measured"][kv]
        share = 100 * policy["kv_bytes"] / model["references"][kv]["kv_bytes"]
        # Budgets of the cache form a line, where what is attended stays the same.
        attended = row["attn"] if "attn=" in kv else ""
        lines.setdefault((kv.split(":")[0], attended), []).append((share, policy["divergence"], kv))
    points = [(share, value["mean"]) for line in lines.values() for share, value, _ in line]
    colours = dict(zip(dict.fromkeys(name for name, _ in lines), PALETTE))
    plot = Plot(points, "KV bytes, % of the full cache", "KL, nats per token", (True, True))
    for (name, _), line in lines.items():
        colour = colours[name]
        line.sort(key=lambda point: point[:1])
        plot.line([(share, value["mean"]) for share, value, _ in line], colour)
        for share, value, kv in line:
            plot.mark(share, value["mean"], colour,
                      f"{kv}: {study_tables.interval(value)} at {share:.1f} %")
    for name, colour in colours.items():
        plot.name(name, colour)
    return svg(plot.body)


def variance(model):
    known = main_calibration(model)
    values = study_tables.flat(known["variance"])
    classes = contextual_of(known)
    heads_each = len(known["variance"][0])
    order = sorted(range(len(values)), key=lambda at: values[at])
    plot = Plot([(rank + 1, values[at]) for rank, at in enumerate(order)], "heads, by rank",
                "variance of the attention columns")
    for rank, at in enumerate(order):
        plot.mark(rank + 1, values[at], CONTEXTUAL if classes[at] else STRUCTURAL,
                  f"layer {at // heads_each}, head {at % heads_each}: {values[at]:.3g}")
    plot.name("contextual", CONTEXTUAL)
    plot.name("structural", STRUCTURAL)
    return svg(plot.body)


def grid(rows, left, top, side, names):
    """Cells of colours and words, rows down; `names` of both axes."""
    body = ""
    for row, cells in enumerate(rows):
        body += text(left - 6, top + side * (row + 0.5) + 4, row, "end")
        for column, (colour, words) in enumerate(cells):
            body += (f'<rect x="{left + side * column:.1f}" y="{top + side * row:.1f}" '
                     f'width="{side - 1:.1f}" height="{side - 1:.1f}" fill="{colour}">'
                     f"{title_of(words)}</rect>\n")
    for column in range(len(rows[0])):
        body += text(left + side * (column + 0.5), top + side * len(rows) + 14, column, "middle")
    body += text(left + side * len(rows[0]) / 2, top + side * len(rows) + 32, names[1], "middle",
                 INK)
    middle = top + side * len(rows) / 2
    turn = f' transform="rotate(-90 {left - 34:.1f} {middle:.1f})"'
    return body + text(left - 34, middle, names[0], "middle", INK, turn=turn)


def heads(model):
    known = main_calibration(model)
    rows = [[(CONTEXTUAL if is_contextual else STRUCTURAL,
              f"layer {layer}, head {head}: {'contextual' if is_contextual else 'structural'}, "
              f"variance {known['variance'][layer][head]:.3g}")
             for head, is_contextual in enumerate(flags)]
            for layer, flags in enumerate(known["contextual"])]
    side = 22
    body = grid(rows, LEFT, TOP, side, ("layer", "head"))
    left = LEFT + side * len(rows[0]) + 24
    for place, (words, colour) in enumerate((("contextual", CONTEXTUAL), ("structural", STRUCTURAL))):
        y = TOP + 4 + 18 * place
        body += f'<rect x="{left}" y="{y}" width="10" height="10" fill="{colour}"/>\n'
        body += text(left + 16, y + 9, words, colour=INK)
    return svg(body, left + 110, TOP + side * len(rows) + 48)


def class_means(known, wanted):
    """[layers][steps] mean tokens of the heads of a class; None where a layer has none."""
    rows = []
    for layer, flags in enumerate(known["contextual"]):
        chosen = [head for head, flag in enumerate(flags) if flag == wanted]
        rows.append([sum(step[layer][head] for head in chosen) / len(chosen) if chosen else None
                     for step in known["cached"][:-1]])  # nothing is cached after the last step
    return rows


def budgets(model):
    known = main_calibration(model)
    panels = {"contextual": class_means(known, True), "structural": class_means(known, False)}
    values = [value for rows in panels.values() for row in rows for value in row if value]
    most = max(values)
    side, gap = 24, 64
    left, body = LEFT, ""
    for name, rows in panels.items():
        cells = [[(BACKGROUND, "none") if value is None else
                  (RAMP[min(int(len(RAMP) * value / most), len(RAMP) - 1)],
                   f"layer {layer}, step {step}: {value:.1f} tokens")
                  for step, value in enumerate(row)] for layer, row in enumerate(rows)]
        body += text(left, TOP - 8, f"{name} heads", colour=INK)
        body += grid(cells, left, TOP, side, ("layer", "step"))
        left += side * len(rows[0]) + gap
    height = TOP + side * len(known["contextual"]) + 48
    for place, colour in enumerate(RAMP):
        body += (f'<rect x="{LEFT + 40 * place}" y="{height}" width="39" height="9" '
                 f'fill="{colour}"/>\n')
        body += text(LEFT + 40 * place, height + 22, f"{most * place / len(RAMP):.3g}")
    body += text(LEFT + 40 * len(RAMP) + 8, height + 9, "tokens per head, " + model["main_setting"],
                 colour=INK)
    return svg(body, max(left, LEFT + 40 * len(RAMP) + 320), height + 36)


def calibration(model):
    points = [(size, study_tables.policy_of_size(model, size)["divergence"])
              for size in model["sizes"]]
    plot = Plot([(size, value[end]) for size, value in points for end in value],
                "samples of the calibration", "KL, nats per token", (True, False),
                x_ticks=model["sizes"])
    plot.line([(size, value["mean"]) for size, value in points], STRUCTURAL)
    for size, value in points:
        plot.whisker(size, value["low"], value["high"], STRUCTURAL)
        plot.mark(size, value["mean"], STRUCTURAL, f"{size}: {study_tables.interval(value)}")
    plot.name(model["main_setting"].split(":")[0], STRUCTURAL)
    plot.body += text(WIDTH - RIGHT + 16, TOP + 30, model["main_setting"].split(":")[1])
    return svg(plot.body)
