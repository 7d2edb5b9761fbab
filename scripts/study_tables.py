# SPDX-License-Identifier: Apache-2.0
"""Tables of the study, from the units of a finished study alone (scripts/study.py)."""

import itertools
import json
import random
import re
import statistics

PAPER_SIZE = 50  # samples of a calibration in the paper
RESAMPLES = 1000
TAIL = 0.025  # on either side of an interval

# Orderings that the papers report (HACK++, arXiv 2606.08302), better one first, and
# what they measured; None: of every family. Settings are those of the table.


def at(budget, *policies):
    return [(policy, budget, budget) for policy in policies]


PAPER = [
    ("var", "VAR-d30, 50 %, FID 2.06 < 2.36 < 3.04 < 3.09 < 6.89",
     at("50%", "hack", "streaming", "h2o", "snapkv", "lookm")),
    ("var", "VAR-d30, 30 %, FID 2.78 < 4.84 < 7.31 < 8.81 < 18.88",
     at("30%", "hack", "streaming", "snapkv", "h2o", "lookm")),
    ("var", "VAR-d30, FID 2.48 < 2.78", [("hackpp", "30%", "20%"), ("hack", "30%", "30%")]),
    ("infinity", "Infinity-2B, 30 %, ImageReward 0.933 > 0.910 > 0.906 > 0.904 > 0.901 > 0.867 > "
     "0.864", at("30%", "hack", "h2o", "cake", "snapkv", "streaming", "meda", "lookm")),
    ("infinity", "Infinity-2B, ImageReward 0.953 > 0.933",
     [("hackpp", "30%", "10%"), ("hack", "30%", "30%")]),
    (None, "Infinity-2B, cache of 10 %, ImageReward 0.953 > 0.942",
     [("hackpp", "30%", "10%"), ("scalekv", "100%", "10%")]),
    (None, "Infinity-2B, cache of 1 %, ImageReward 0.934 > 0.908",
     [("hackpp", "30%", "1%"), ("scalekv", "100%", "1%")]),
]
PAPER_ABLATIONS = [
    ("ImageReward 0.934 > 0.928 > 0.914 > 0.910",
     ["", "score=structural", "score=contextual", "score=swapped"]),
    ("ImageReward 0.934 > 0.918 > 0.913", ["", "structural=norm", "structural=prior"]),
    ("ImageReward 0.934 > 0.897", ["", "axes=none"]),
    ("ImageReward 0.934 > 0.932 > 0.920", ["", "nobs=16", "nobs=8"]),
]


def main_size(sizes):
    """Samples of the calibration that all but the curve over sizes is made with."""
    return PAPER_SIZE if PAPER_SIZE in sizes else max(sizes)


# ---- Reading ------------------------------------------------------------------------------------


def read_study(folder):
    """Finished models of the study, in order of their names."""
    models = []
    for units in sorted(folder.glob("*/units")):
        answers = {path.stem: json.loads(path.read_text(encoding="utf-8"))["answer"]
                   for path in sorted(units.glob("*.json"))}
        if "plan" in answers:
            models.append({"name": units.parent.name, "units": answers, **answers["plan"],
                           "info": answers["model"], **measures_of(answers)})
    return models


def measures_of(answers):
    """What was measured of each setting, and of the reference beside it; why others were not."""
    measured, references, refused = {}, {}, {}
    for name, answer in answers.items():
        if not re.match(r"compare-(budgets|ablations)-", name):
            continue
        refused.update(answer["refused"])
        if answer["comparison"] is None:
            continue
        reference, *others = answer["comparison"]["policies"]
        for policy in others:
            measured[policy["kv"]] = policy
            references[policy["kv"]] = reference
    return {"measured": measured, "references": references, "refused": refused}


# ---- Statistics ---------------------------------------------------------------------------------


def quantile(ascending, share):
    place = share * (len(ascending) - 1)
    below = int(place)
    above = min(below + 1, len(ascending) - 1)
    return ascending[below] + (ascending[above] - ascending[below]) * (place - below)


def bootstrap(values):
    """Mean and its percentile interval, pictures drawn with replacement."""
    numbers = random.Random(0)
    means = sorted(sum(numbers.choices(values, k=len(values))) / len(values)
                   for _ in range(RESAMPLES))
    return {"mean": sum(values) / len(values), "low": quantile(means, TAIL),
            "high": quantile(means, 1 - TAIL)}


def ranks(values):
    """From 0; equal values share the mean of their places."""
    order = sorted(range(len(values)), key=lambda at: values[at])
    result = [0.0] * len(values)
    for _, group in itertools.groupby(enumerate(order), key=lambda pair: values[pair[1]]):
        places = list(group)
        mean = sum(place for place, _ in places) / len(places)
        for _, at in places:
            result[at] = mean
    return result


def correlation(one, other):
    one_mean, other_mean = sum(one) / len(one), sum(other) / len(other)
    product = sum((a - one_mean) * (b - other_mean) for a, b in zip(one, other))
    one_square = sum((a - one_mean) ** 2 for a in one)
    other_square = sum((b - other_mean) ** 2 for b in other)
    return product / (one_square * other_square) ** 0.5 if one_square and other_square else 1.0


def spearman(one, other):
    return correlation(ranks(one), ranks(other))


def flat(rows):
    return [value for row in rows for value in row]


def jaccard(one, other):
    """Size of the intersection over that of the union, of sets given as flags."""
    union = sum(a or b for a, b in zip(one, other))
    return sum(a and b for a, b in zip(one, other)) / union if union else 1.0


def head_agreement(one, other):
    """Rank correlation of the heads' variances, overlap of the contextual heads."""
    return (spearman(flat(one["variance"]), flat(other["variance"])),
            jaccard(flat(one["contextual"]), flat(other["contextual"])))


def calibration_of(model, size):
    return model["units"][f"calibration-{size:03}"]


# ---- Tables -------------------------------------------------------------------------------------


def table(titles, rows):
    """Markdown; the first column is text, the others are numbers."""
    lines = [titles, ["---"] + ["---:"] * (len(titles) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def number(value):
    return f"{value:.3g}"


def interval(value, form=number):
    return f"{form(value['mean'])} [{form(value['low'])}, {form(value['high'])}]"


def shown_bytes(count):
    for unit, size in (("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"


def judge_names(model):
    """Scores of a judge, where one looked at the pictures."""
    names = []
    for policy in model["measured"].values():
        names += [name for name in policy.get("judge", {}) if name not in names]
    return names


def median_time(policy):
    return statistics.median(picture["milliseconds"] for picture in policy["pictures"])


QUALITY = ["KV bytes", "of full", "time of full", "PSNR, dB", "SSIM", "equal tokens",
           "KL, nats/token"]


def quality_cells(model, kv):
    names = judge_names(model)
    if kv in model["refused"]:
        return ["not possible"] + [""] * (len(QUALITY) - 1 + len(names))
    policy, reference = model["measured"][kv], model["references"][kv]
    time = median_time(policy) / median_time(reference)
    return [shown_bytes(policy["kv_bytes"]),
            f"{100 * policy['kv_bytes'] / reference['kv_bytes']:.1f} %", f"{100 * time:.0f} %",
            interval(policy["psnr"], lambda value: f"{value:.1f}"), interval(policy["ssim"]),
            interval(policy["agreement"]), interval(policy["divergence"]),
            *(interval(policy["judge"][name]) if name in policy.get("judge", {}) else ""
              for name in names)]


def reference_cells(model):
    """The full cache, of the unit of the first setting."""
    reference = next(iter(model["references"].values()))
    judged = reference.get("judge", {})
    return [shown_bytes(reference["kv_bytes"]), "100 %", "100 %", "", "", "", "",
            *(interval(judged[name]) if name in judged else "" for name in judge_names(model))]


def models_table(models):
    rows = []
    for model in models:
        info, comparison = model["info"], next(
            answer["comparison"] for name, answer in model["units"].items()
            if name.startswith("compare-budgets") and answer["comparison"])
        tokens = sum(height * width for height, width in info["scales"])
        rows.append([model["name"], f"{info['width']}x{info['height']}",
                     f"{info['layers']} x {info['kv_heads']}", f"{tokens} in {len(info['scales'])}",
                     str(comparison["num_pictures"]), str(len(comparison["subjects"])),
                     str(main_size(model["sizes"])), f"{info['dtype']}, {info['kv_dtype']}"])
    return table(["model", "pixels", "layers x heads", "tokens in scales", "pictures", "subjects",
                  "calibration samples", "products, cache"], rows)


def budgets_table(model):
    rows = [["all / all", "`full`", *reference_cells(model)]]
    for row in sorted(model["rows"], key=lambda row: -float(row["cache"][:-1])):
        rows.append([f"{row['attn'][:-1]} / {row['cache'][:-1]}", f"`{row['kv']}`",
                     *quality_cells(model, row["kv"])])
    return table(["attended / cached, %", "policy", *QUALITY, *judge_names(model)], rows)


def ablations_table(model):
    rows = [[question, f"`{kv}`", *quality_cells(model, kv)]
            for question, settings in model["ablations"].items() for kv in settings]
    return table(["question", "setting", *QUALITY, *judge_names(model)], rows)


# ---- Orderings ----------------------------------------------------------------------------------


# What orderings are judged by: a title, and a number of a picture that is larger where it is
# better, or None. KL is of the change itself, SSIM of the picture, the judge's of what it shows.
MEASURES = {
    "KL less by": lambda picture: -picture["divergence"],
    "SSIM more by": lambda picture: picture["ssim"],
    "judge: all, more by": lambda picture: picture.get("judge", {}).get("all"),
}


def difference(model, better, worse, measure):
    """Of pictures with the same seed; positive where the better one is better."""
    pairs = zip(model["measured"][better]["pictures"], model["measured"][worse]["pictures"])
    values = [(measure(one), measure(other)) for one, other in pairs]
    known = [one - other for one, other in values if one is not None and other is not None]
    return bootstrap(known) if known else None


def verdict(value):
    if value["low"] > 0:
        return "holds"
    return "reversed" if value["high"] < 0 else "not clear"


def ordering_rows(model, claim, settings):
    for better, worse in zip(settings, settings[1:]):
        cells = []
        for measure in MEASURES.values():
            if better not in model["measured"] or worse not in model["measured"]:
                cells += ["", "not possible"]
                continue
            value = difference(model, better, worse, measure)
            cells += ["", ""] if value is None else [interval(value), verdict(value)]
        yield [claim, f"`{better}` before `{worse}`", *cells]


def setting_of(model, policy, attn, cache):
    """The table's setting of this policy and budgets."""
    return next(row["kv"] for row in model["rows"] if row["kv"].startswith(policy + ":")
                and (row["attn"], row["cache"]) == (attn, cache))


def orderings_table(model):
    rows = []
    for family, claim, settings in PAPER:
        if family in (None, model["info"]["family"]):
            rows += ordering_rows(model, claim, [setting_of(model, *each) for each in settings])
    for claim, settings in PAPER_ABLATIONS:
        rows += ordering_rows(model, "Infinity-2B, 30 / 1 %, " + claim, [
            model["ablated"] + ("," + each if each else "") for each in settings])
    titles = [word for title in MEASURES for word in (title, "")]
    return table(["the paper", "ordering", *titles], rows)


# ---- Calibration --------------------------------------------------------------------------------


def sizes_table(model):
    largest = calibration_of(model, max(model["sizes"]))
    rows = []
    for size in model["sizes"]:
        rank, overlap = head_agreement(calibration_of(model, size), largest)
        policy = policy_of_size(model, size)
        rows.append([str(size), f"{rank:.3f}", f"{overlap:.3f}", interval(policy["divergence"]),
                     interval(policy["ssim"])])
    return table(["samples", "rank correlation", "overlap", "KL, nats/token", "SSIM"], rows)


def policy_of_size(model, size):
    return model["units"][f"compare-size-{size:03}"]["comparison"]["policies"][1]


def stability_row(model):
    sets = [model["units"][f"set-{each:02}"] for each in range(model["sets"])]
    pairs = [head_agreement(one, other) for one, other in itertools.combinations(sets, 2)]
    variances = flat(calibration_of(model, main_size(model["sizes"]))["variance"])
    cells = [model["name"], str(len(sets)), str(main_size(model["sizes"])),
             number(max(variances) / min(variances)) if min(variances) > 0 else ""]
    for values in zip(*pairs):
        cells.append(f"{sum(values) / len(values):.3f} (least {min(values):.3f})")
    return cells + [""] * (6 - len(cells))


def stability_table(models):
    return table(["model", "sets", "samples of each", "largest variance over least",
                  "rank correlation", "overlap"], [stability_row(model) for model in models])


# ---- The page -----------------------------------------------------------------------------------

FIGURES = {
    "quality": "KL against the bytes of the cache, one line for each policy.",
    "variance": "Variance of the heads, by rank.",
    "heads": "Contextual and structural heads.",
    "budgets": "Tokens that heads keep after each step, mean over the heads of a class in a layer.",
    "calibration": "KL against the number of calibration samples.",
}


def per_model(models, make):
    return "\n".join(f"### {model['name']}\n\n{make(model)}" for model in models)


def figures_of(model):
    return "\n".join(f"![{words}](figures/{model['name']}-{name}.svg)\n\n{words}\n"
                     for name, words in FIGURES.items())


def sections(models):
    return {"models": models_table(models), "budgets": per_model(models, budgets_table),
            "orderings": per_model(models, orderings_table),
            "ablations": per_model(models, ablations_table),
            "sizes": per_model(models, sizes_table), "stability": stability_table(models),
            "figures": per_model(models, figures_of)}


def fill(page, models):
    """The page with every table between its markers."""
    for name, content in sections(models).items():
        begin, end = f"<!-- study: {name} -->", f"<!-- end of {name} -->"
        if begin not in page or end not in page:
            raise SystemExit(f"study: the page has no markers '{begin}' and '{end}'")
        before, rest = page.split(begin, 1)
        page = f"{before}{begin}\n\n{content}\n{end}{rest.split(end, 1)[1]}"
    return page
