#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The study of cache policies in docs/quality.md, as one command:

    scripts/study.py --model pretrained/NAME [--model ...] --out study/ [--pictures N]

Calibrates each model on sets of several sizes, compares all policies at all budgets and the
ablations of HACK++ with the full cache, and writes tables and figures into docs/. Every finished
unit is a JSON file in OUT/MODEL/units with the question it answers; the same command goes on where
an earlier one stopped, and asks again where the question has changed. `--render` only writes tables
and figures, from these files alone.
"""

import argparse
import hashlib
import json
import math
import os
import pathlib
import subprocess
import sys

import study_figures
import study_tables

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Budgets as shares of all tokens: attended, cached.
COUPLED = ["streaming", "h2o", "snapkv", "cake", "lookm", "meda", "hack"]
COUPLED_BUDGETS = ["50%", "30%"]
DECOUPLED = ["hackpp", "mass"]
DECOUPLED_BUDGETS = [("50%", "50%"), ("30%", "30%"), ("50%", "30%"), ("30%", "20%"),
                     ("30%", "10%"), ("30%", "1%")]
# These attend everything; they get the bytes that hackpp takes at its cache budgets.
POST = ["scalekv", "heatkv"]

MAIN_SETTING = "hackpp:attn=30%,cache=10%"
ABLATED = "hackpp:attn=30%,cache=1%"
# What each ablation asks, and the settings it compares; `ABLATED` is the method itself.
ABLATIONS = {
    "one stage alone": [MAIN_SETTING, "hackpp:attn=30%,cache=100%", "hackpp:attn=100%,cache=10%"],
    "score of the heads": [ABLATED] + [f"{ABLATED},score={each}"
                                       for each in ("contextual", "structural", "swapped")],
    "structural score": [ABLATED] + [f"{ABLATED},structural={each}" for each in ("norm", "prior")],
    "axes of the budgets": [ABLATED] + [f"{ABLATED},axes={each}" for each in (
        "none", "layer", "type", "step", "layer+type", "layer+step", "type+step")],
    "sharpness of the sharing": [ABLATED] + [f"{ABLATED},tau={each}"
                                             for each in ("0", "0.5", "1.5", "2")],
    "share of contextual heads": [ABLATED] + [f"{ABLATED},alpha={each}"
                                              for each in ("0", "0.1", "0.35", "0.5", "1")],
    "queries that vote": [ABLATED] + [f"{ABLATED},sampling={each}" for each in ("initial", "last")],
    "number of these queries": [ABLATED] + [f"{ABLATED},nobs={each}"
                                            for each in ("8", "16", "64", "128")],
}

# Settings that share a run of the reference. A larger number saves time, a smaller one loses less
# of it when a run is stopped.
SETTINGS_PER_UNIT = 4

# In the folder of a model that reads prompts.
PROMPTS, CALIBRATION_PROMPTS = "prompts.jsonl", "calibration-prompts.jsonl"

PICTURE_SEED = 0
CALIBRATION_SEED = 1000  # of the sets of all sizes; independent sets follow


def write_atomically(path, text):
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


class Refused(Exception):
    """The tool understood the question and said no; the text is its sentence."""


class Model:
    """One model of the study: its folder, its units, and the tool."""

    def __init__(self, path, options):
        self.path = pathlib.Path(path)
        self.name = self.path.resolve().name
        self.options = options
        self.folder = pathlib.Path(options.out) / self.name
        self.units = self.folder / "units"
        self.units.mkdir(parents=True, exist_ok=True)
        self.hash = self.tool("inspect", self.path, "--json")["hash"]

    # ---- The tool ------------------------------------------------------------------------------

    def tool(self, command, *arguments, is_json=True):
        line = [self.options.nextscale, command, *map(str, arguments)]
        done = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode == 0:
            return json.loads(done.stdout) if is_json else None
        sentence = (done.stderr.strip().splitlines() or ["no message"])[-1]
        if done.returncode == 2:
            raise Refused(sentence.removeprefix("nextscale: "))
        sys.exit(f"study: `{' '.join(line)}` ended with {done.returncode}: {sentence}")

    def run_options(self):
        options = ["-m", self.path]
        if self.options.threads:
            options += ["-t", self.options.threads]
        if self.options.dtype:
            options += ["--dtype", self.options.dtype]
        return options

    # ---- Units ---------------------------------------------------------------------------------

    def unit(self, name, question, answer):
        """What answer() gives, from the file if the same question was answered before."""
        question = json.loads(json.dumps({"model": self.hash, **question}))
        path = self.units / f"{name}.json"
        if path.exists():
            known = json.loads(path.read_text(encoding="utf-8"))
            if known["question"] == question:
                return known["answer"]
        print(f"study: {self.name}: {name}", flush=True)
        result = answer()
        write_atomically(path, json.dumps({"question": question, "answer": result}, indent=1))
        return result

    def describe(self):
        def answer():
            info = self.tool("inspect", self.path, "--json")
            plan = self.tool("plan", *self.run_options(), "--json")
            return {"family": info["family"], "classes": info["model"].get("classes", 0),
                    **{key: plan[key] for key in ("width", "height", "layers", "kv_heads", "dtype",
                                                  "kv_dtype")},
                    "scales": [[step["height"], step["width"]] for step in plan["steps"]]}

        options = {"threads": self.options.threads, "dtype": self.options.dtype}
        return self.unit("model", options, answer)

    def subjects(self, classes):
        """Options that name what all comparisons show."""
        if classes == 0:
            return self.prompt_subjects()
        count = min(self.options.pictures, classes)
        numbers = [place * classes // count for place in range(count)]
        each = math.ceil(self.options.pictures / count)
        return ["--class", ",".join(map(str, numbers)), "-n", each]

    def prompt_subjects(self):
        source = self.prompt_source(self.options.prompts, PROMPTS)
        if source is None:
            sys.exit(f"study: {self.name} reads prompts and has no {PROMPTS}; name a file of them "
                     "with --prompts")
        return ["--prompts", self.prompt_file(
            "prompts", source, self.prompt_lines(source)[:self.options.pictures])]

    def prompt_source(self, named, own):
        """The file that an option names, or the folder's own if there is one."""
        path = pathlib.Path(named) if named else self.path / own
        return path if named or path.exists() else None

    def prompt_lines(self, source):
        lines = source.read_text(encoding="utf-8").splitlines()
        return [line for line in lines if line.strip()]

    def prompt_file(self, name, source, lines):
        path = self.folder / f"{name}{source.suffix}"
        write_atomically(path, "\n".join(lines) + "\n")
        return path

    def worded(self, options):
        """Options as part of a question: what a file of prompts says, not where it is."""
        return [option.read_text(encoding="utf-8") if isinstance(option, pathlib.Path)
                else str(option) for option in options]

    # ---- Calibrations --------------------------------------------------------------------------

    def calibration_subjects(self, classes, part=None):
        """Options that name what a calibration shows: all, or one of the parts that share none."""
        if classes > 0:
            numbers = range(classes)[part::self.options.sets] if part is not None else []
            return ["--classes", ",".join(map(str, numbers))] if numbers else []
        source = (self.prompt_source(self.options.calibration_prompts, CALIBRATION_PROMPTS)
                  or self.prompt_source(self.options.prompts, PROMPTS))
        lines = self.prompt_lines(source)
        name = "calibration-prompts" if part is None else f"calibration-prompts-{part:02}"
        return ["--prompts", self.prompt_file(
            name, source, lines if part is None else lines[part::self.options.sets])]

    def calibrate(self, name, samples, seed, subjects):
        path = self.folder / f"{name}.safetensors"
        question = {"samples": samples, "seed": seed, "subjects": self.worded(subjects),
                    "dtype": self.options.dtype}

        def answer():
            self.tool("calibrate", *self.run_options(), "-n", samples, "-s", seed, *subjects, "-o",
                      path, "--force", is_json=False)
            info = self.tool("inspect", path, "--json", "--kv", MAIN_SETTING)
            return {key: info[key] for key in ("sha256", "variance", "contextual", "cached")}

        if not path.exists():  # units alone make tables, but no pictures
            (self.units / f"{name}.json").unlink(missing_ok=True)
        return path, self.unit(name, question, answer)

    # ---- Settings ------------------------------------------------------------------------------

    def held_bytes(self, kv, calibration):
        plan = self.tool("plan", *self.run_options(), "--kv", kv, "--calibration", calibration,
                         "--json")
        return max(step["kv_bytes"] for step in plan["steps"])

    def at_bytes(self, policy, cache, tokens, calibration):
        """The largest cache of `policy`, in tokens, that holds no more than hackpp does."""
        limit = self.held_bytes(f"hackpp:attn=30%,cache={cache}", calibration)
        fitting, too_many = 0, tokens + 1
        while too_many - fitting > 1:
            middle = (fitting + too_many) // 2
            try:
                fits = self.held_bytes(f"{policy}:cache={middle}tok", calibration) <= limit
            except Refused:  # fewer than the method always keeps
                fits = True
            fitting, too_many = (middle, too_many) if fits else (fitting, middle)
        return f"{policy}:cache={max(fitting, 1)}tok"

    def settings(self, info, calibration, sha256):
        """Rows of the table: budget, policy, setting."""
        rows = []
        for budget in COUPLED_BUDGETS:
            rows += [{"attn": budget, "cache": budget, "kv": f"{policy}:budget={budget}"}
                     for policy in COUPLED]
        for attn, cache in DECOUPLED_BUDGETS:
            rows += [{"attn": attn, "cache": cache, "kv": f"{policy}:attn={attn},cache={cache}"}
                     for policy in DECOUPLED]
        tokens = sum(height * width for height, width in info["scales"])
        for cache in sorted({cache for _, cache in DECOUPLED_BUDGETS},
                            key=lambda share: -float(share[:-1])):
            for policy in POST:
                kv = self.unit(f"bytes-{policy}-{cache[:-1]}",
                               {"policy": policy, "cache": cache, "calibration": sha256},
                               lambda: self.at_bytes(policy, cache, tokens, calibration))
                rows.append({"attn": "100%", "cache": cache, "kv": kv})
        return rows

    def why_refused(self, kv, calibration):
        try:
            self.held_bytes(kv, calibration)
        except Refused as refusal:
            return str(refusal)
        return None

    # ---- Comparisons ---------------------------------------------------------------------------

    def compare(self, name, settings, calibration, sha256, subjects):
        """Measures of the settings; those that the model cannot take get the tool's sentence."""
        options = ["-s", PICTURE_SEED, "--batch", self.options.batch]
        own = self.path / "judge.safetensors"
        judge = pathlib.Path(self.options.judge) if self.options.judge else own
        look = ["--judge", judge] if judge.exists() else []

        def answer():
            refused = {kv: why for kv in settings
                       if (why := self.why_refused(kv, calibration)) is not None}
            wanted = [kv for kv in settings if kv not in refused]
            if not wanted:
                return {"refused": refused, "comparison": None}
            named = [word for kv in ["full", *wanted] for word in ("--kv", kv)]
            result = self.tool("compare", *self.run_options(), *subjects, *options, *look,
                               *named, "--calibration", calibration, "--json")
            return {"refused": refused, "comparison": result}

        question = {"settings": settings, "calibration": sha256,
                    "options": self.worded([*subjects, *options]), "dtype": self.options.dtype,
                    "threads": self.options.threads, "judge": [
                        hashlib.sha256(each.read_bytes()).hexdigest() for each in look[1:]]}
        self.unit(name, question, answer)

    def compare_all(self, name, settings, calibration, sha256, subjects):
        distinct = list(dict.fromkeys(settings))
        for first in range(0, len(distinct), SETTINGS_PER_UNIT):
            self.compare(f"compare-{name}-{first // SETTINGS_PER_UNIT:02}",
                         distinct[first:first + SETTINGS_PER_UNIT], calibration, sha256, subjects)

    # ---- The study -----------------------------------------------------------------------------

    def study(self):
        info = self.describe()
        classes = info["classes"]
        subjects = self.subjects(classes)
        sizes = self.options.sizes
        main_size = study_tables.main_size(sizes)
        calibrations = {}
        for size in sizes:
            path, known = self.calibrate(f"calibration-{size:03}", size, CALIBRATION_SEED,
                                         self.calibration_subjects(classes))
            calibrations[size] = (path, known["sha256"])
        for number in range(self.options.sets):
            self.calibrate(f"set-{number:02}", main_size, CALIBRATION_SEED + 1 + number,
                           self.calibration_subjects(classes, number))
        calibration, sha256 = calibrations[main_size]
        rows = self.settings(info, calibration, sha256)
        plan = {"rows": rows, "ablations": ABLATIONS, "sizes": sizes, "sets": self.options.sets,
                "main_setting": MAIN_SETTING, "ablated": ABLATED}
        self.unit("plan", plan, lambda: plan)
        self.compare_all("budgets", [row["kv"] for row in rows], calibration, sha256, subjects)
        self.compare_all("ablations", [kv for each in ABLATIONS.values() for kv in each],
                         calibration, sha256, subjects)
        for size, (path, checksum) in calibrations.items():
            self.compare(f"compare-size-{size:03}", [MAIN_SETTING], path, checksum, subjects)


def render(options):
    models = study_tables.read_study(pathlib.Path(options.out))
    if not models:
        sys.exit(f"study: {options.out} holds no finished study; run it without --render first")
    page = pathlib.Path(options.page)
    figures = page.parent / "figures"
    figures.mkdir(exist_ok=True)
    for model in models:
        for name, drawing in study_figures.draw(model).items():
            write_atomically(figures / f"{model['name']}-{name}.svg", drawing)
    write_atomically(page, study_tables.fill(page.read_text(encoding="utf-8"), models))
    print(f"study: tables in {page}, figures in {figures}")


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", default=[], help="a model folder; repeatable")
    parser.add_argument("--out", required=True, help="folder of the units")
    parser.add_argument("--pictures", type=int, default=100, help="under each policy (100)")
    parser.add_argument("--prompts", help="for models that read prompts: .jsonl or .txt "
                        f"(default: {PROMPTS} of the model folder)")
    parser.add_argument("--calibration-prompts", help="others to calibrate on (default: "
                        f"{CALIBRATION_PROMPTS} of the model folder, else the same)")
    parser.add_argument("--judge", help="judge.safetensors (default: that of the model folder)")
    parser.add_argument("--sizes", default="1,2,5,10,20,50,100",
                        type=lambda text: sorted(set(map(int, text.split(",")))),
                        help="of calibration sets (1,2,5,10,20,50,100)")
    parser.add_argument("--sets", type=int, default=4, help="independent calibration sets (4)")
    parser.add_argument("--batch", type=int, default=1, help="pictures at a time (1)")
    parser.add_argument("--threads", type=int, default=0, help="0: all cores")
    parser.add_argument("--dtype", help="of products (default: the tool's)")
    parser.add_argument("--render", action="store_true", help="only write tables and figures")
    parser.add_argument("--page", default=str(ROOT / "docs" / "quality.md"),
                        help="the page with the tables' markers")
    parser.add_argument("--nextscale", default=str(ROOT / "build" / "apps" / "nextscale"),
                        help="the tool")
    options = parser.parse_args()
    if not options.render and not options.model:
        parser.error("--model: none given")
    if not pathlib.Path(options.page).exists():
        parser.error(f"--page: {options.page} does not exist; copy docs/quality.md, whose markers "
                     "say where tables go")
    return options


def main():
    options = parse_options()
    if not options.render:
        for path in options.model:
            Model(path, options).study()
    render(options)


if __name__ == "__main__":
    main()
