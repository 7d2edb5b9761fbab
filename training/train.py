# SPDX-License-Identifier: Apache-2.0
"""Trains one stage of a config: `python train.py --config configs/NAME.json --stage vae|decoder|text|model|judge`.

Writes to RUNS/NAME/STAGE: log.jsonl (a line per report), checkpoint.pt (to go on after --minutes), samples/*.png and the
exported files. Stages of one config find each other's exports there: vae before decoder and model, and text, if at all, before model too.
"""

import argparse
import copy
import json
import math
import platform
import time
from pathlib import Path

import torch

import stages


def cosine(progress, warmup):
    """Factor of the learning rate: linear rise over `warmup`, then half a cosine to 1 %."""
    if progress < warmup:
        return max(progress, 1e-3) / warmup
    along = min(1.0, (progress - warmup) / (1 - warmup))
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * along))


class Ema:
    """Slow copy of a module's weights; what is exported."""

    def __init__(self, module, decay):
        self.decay = decay
        self.weights = [value.detach().clone() for value in module.parameters()]

    @torch.no_grad()
    def update(self, module, step):
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.weights, list(module.parameters()), 1 - decay)

    @torch.no_grad()
    def swap(self, module):
        """Exchanges the two; called again, it takes that back."""
        for slow, fast in zip(self.weights, module.parameters(), strict=True):
            kept = fast.detach().clone()
            fast.copy_(slow)
            slow.copy_(kept)

    def towards(self, weights, share):
        """A copy, moved by `share` of the way to other weights."""
        moved = copy.copy(self)
        moved.weights = torch._foreach_lerp(self.weights, weights, share)
        return moved


class Log:
    def __init__(self, path, quiet_keys=()):
        self.path, self.quiet_keys = path, quiet_keys

    def write(self, **record):
        rounded = {key: float(f"{value:.5g}") if isinstance(value, float) else value for key, value in record.items()}
        with open(self.path, "a") as file:
            file.write(json.dumps(rounded) + "\n")
        print(json.dumps(rounded), flush=True)


class Run:
    """One stage under way: the loop, its clock, its files."""

    def __init__(self, arguments, config):
        self.arguments, self.config = arguments, config
        self.settings = config["train"][arguments.stage]
        self.folder = arguments.runs / config["name"] / arguments.stage
        (self.folder / "samples").mkdir(parents=True, exist_ok=True)
        self.device = torch.device(arguments.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.manual_seed(config["seed"])
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        self.stage = stages.STAGES[config["family"], arguments.stage](config, self.device, arguments.runs / config["name"])
        self.module = self.stage.module
        self.optimizers = self._optimizers()
        self.ema = Ema(self.module, self.settings.get("ema", 0.999))
        self.step, self.elapsed = 0, 0.0
        self.log = Log(self.folder / "log.jsonl")
        self.started = None
        if arguments.start:
            self._load_weights(arguments.start)
        elif needing := self.stage.needs_start():
            raise SystemExit(f"{needing}: got nothing to start from, wanted --start with a model")
        self._resume()

    def _optimizers(self):
        """AdamW; with "muon", for the matrices of the transformer's blocks Muon, whose steps are as large as AdamW's."""
        named = [(name, value) for name, value in self.module.named_parameters() if value.requires_grad]
        matrices = [value for name, value in named if "block" in name and value.ndim == 2] if self.settings.get("muon") else []
        taken = {id(value) for value in matrices}
        others = [value for _, value in named if id(value) not in taken]
        lr, decay = self.settings["lr"], self.settings.get("weight_decay", 0.02)
        groups = [{"params": [value for value in others if value.ndim >= 2], "weight_decay": decay},
                  {"params": [value for value in others if value.ndim < 2], "weight_decay": 0.0}]  # fmt: skip
        betas = tuple(self.settings.get("betas", (0.9, 0.95)))
        result = [torch.optim.AdamW(groups, lr=lr, betas=betas, fused=True)]
        if matrices:
            result.append(torch.optim.Muon(matrices, lr=lr, weight_decay=decay, adjust_lr_fn="match_rms_adamw"))
        return result

    # ---- files ----

    def _load_weights(self, path):
        self.stage.load(path)
        self.ema, self.started = (Ema(self.module, self.ema.decay) for _ in range(2))

    def _resume(self):
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            self.log.write(event="start", config=self.config, device=str(self.device), torch=torch.__version__,
                           machine=platform.machine(), threads=torch.get_num_threads(),
                           parameters=sum(value.numel() for value in self.module.parameters()))  # fmt: skip
            return
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.module.load_state_dict(state["module"])
        for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
        self.ema.weights = [value.to(self.device) for value in state["ema"]]
        self.step, self.elapsed = state["step"], state["elapsed"]
        self.stage.load_extra(state["extra"])
        self.log.write(event="resume", step=self.step, elapsed=self.elapsed)

    def save(self):
        path = self.folder / "checkpoint.pt"
        state = {"module": self.module.state_dict(), "optimizers": [each.state_dict() for each in self.optimizers], "ema": self.ema.weights,
                 "step": self.step, "elapsed": self.elapsed, "extra": self.stage.extra()}  # fmt: skip
        torch.save(state, path.with_suffix(".part"))
        path.with_suffix(".part").rename(path)

    def publish(self, name):
        """Exports the slow weights, or their mean with those of the start ("start_share"), and draws pictures with them."""
        share = self.settings.get("start_share")
        slow = self.ema.towards(self.started.weights, share) if share else self.ema
        slow.swap(self.module)
        self.module.eval()
        try:
            # Shapes grow from scale to scale here: compiling for each would cost minutes.
            with torch.compiler.set_stance("force_eager"):
                record = self.stage.evaluate(self.folder / "samples" / f"{name}.png")
            self.stage.export(self.folder)
        finally:
            self.module.train()
            slow.swap(self.module)
        self.log.write(event="evaluation", step=self.step, elapsed=self.elapsed, **record)

    # ---- the loop ----

    @property
    def progress(self):
        """0 to 1: of the steps if the config counts steps, else of the minutes."""
        if "steps" in self.settings:
            return self.step / self.settings["steps"]
        return self.elapsed / (60 * (self.arguments.total_minutes or self.settings["minutes"]))

    def train(self):
        limit = self.arguments.minutes * 60 if self.arguments.minutes else math.inf
        began, last_report, last_save = time.monotonic(), time.monotonic(), time.monotonic()
        before, sums, since, seen = self.elapsed, {}, 0, 0
        picture_every = 60 * self.settings.get("picture_minutes", 5)
        next_picture = self.elapsed + picture_every
        self.module.train()
        while self.progress < 1 and time.monotonic() - began < limit:
            seen += self.stage.turn(self.step)["batch"]
            metrics = self._step()
            since += 1
            for key, value in metrics.items():
                sums[key] = sums.get(key, 0) + value
            now = time.monotonic()
            self.elapsed = before + now - began
            if now - last_report > self.settings.get("report_seconds", 15):
                means = {key: float(value) / since for key, value in sums.items()}
                self.log.write(step=self.step, elapsed=self.elapsed, progress=self.progress,
                               samples_per_second=seen / (time.monotonic() - last_report), **means)
                last_report, sums, since, seen = time.monotonic(), {}, 0, 0
            if now - last_save > 60 * self.settings.get("save_minutes", 5):
                self.save()
                last_save = time.monotonic()
            if self.elapsed > next_picture:
                self.publish(f"{self.step:06d}")
                next_picture = self.elapsed + picture_every
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        self.elapsed = before + time.monotonic() - began
        self.save()
        self.publish("final" if self.progress >= 1 else f"{self.step:06d}")

    def _step(self):
        factor = cosine(self.progress, self.settings.get("warmup", 0.03))
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.settings["lr"] * factor
        loss, metrics = self.stage.loss(self.step, self.progress)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.module.parameters(), self.settings.get("clip", 1.0))
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.stage.after_step(self.step, self.progress, self.ema)
        self.step += 1
        self.ema.update(self.module, self.step)
        return metrics | {"loss": loss.detach(), "gradient": norm.detach()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--stage", choices=("vae", "decoder", "text", "model", "judge"), required=True)
    parser.add_argument("--runs", type=Path, default=Path(__file__).parent / "runs", help="where run folders lie")
    parser.add_argument("--minutes", type=float, help="stop (and save) after so long; run again to go on")
    parser.add_argument("--total-minutes", type=float, help="length of the whole stage, instead of the config's")
    parser.add_argument("--start", type=Path, help="a VAE's .pth, or the folder of a model stage or of a model, to start from")
    parser.add_argument("--device", help="cpu or cuda; the best there is by default")
    parser.add_argument("--threads", type=int, help="of the CPU")
    parser.add_argument("--compile", action="store_true", help="torch.compile the blocks")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    config = json.loads(arguments.config.read_text())
    run = Run(arguments, config)
    if arguments.compile:
        stages.compile_blocks(run.module)
    run.train()


if __name__ == "__main__":
    main()
