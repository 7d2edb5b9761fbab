// SPDX-License-Identifier: Apache-2.0
#include "run_options.h"

#include <optional>

#include "core/error_format.h"
#include "core/memory_info.h"

namespace nextscale::cli {
namespace {

Precision parse_precision(const char* flag, const std::string& text) {
  if (text == "auto") return Precision::kAuto;
  if (text == "f32") return Precision::kF32;
  if (text == "bf16") return Precision::kBF16;
  if (text == "int8") return Precision::kInt8;
  fail(ErrorCode::kUsage, "{}: got '{}', wanted auto, f32, bf16 or int8", flag, printable(text));
}

}  // namespace

Precision parse_dtype(const std::string& text) { return parse_precision("--dtype", text); }

Precision parse_kv_dtype(const std::string& text) { return parse_precision("--kv-dtype", text); }

uint64_t parse_bytes(const std::string& flag, const std::string& text) {
  if (const std::optional<uint64_t> bytes = read_bytes(text)) return *bytes;
  fail(ErrorCode::kUsage, "{}: got '{}', wanted a size such as 8GiB or 512MiB", flag,
       printable(text));
}

void add_per_scale(CLI::App& command, const std::string& name, std::optional<PerScale>& target,
                   const std::string& help) {
  command
      .add_option_function<std::vector<float>>(
          name, [&target](const std::vector<float>& values) { target = values; }, help)
      ->delimiter(',');
}

void RunOptions::add_to(CLI::App& command) {
  add_settings(command);
  command.add_option("--class", request.classes, "Classes, as numbers or names: 3,7 or tabby")
      ->required()
      ->delimiter(',');
  command.add_option("--kv", request.kv, "Cache policy (see `nextscale policies`)")
      ->capture_default_str();
  command.add_option("--calibration", engine.calibration,
                     "What `nextscale calibrate` made, for policies that need it (default: "
                     "calibration.safetensors in the model folder)");
}

void RunOptions::add_settings(CLI::App& command) {
  command.add_option("-m,--model", engine.model, "Model folder (made by `nextscale convert`)")
      ->required();
  command.add_option("-s,--seed", request.seed, "Seed of the random numbers")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  add_per_scale(command, "--cfg", request.cfg,
                "Guidance strength, or a list with one for each scale (default: the model's)");
  add_per_scale(
      command, "--tau", request.tau,
      "Temperature of sampling, or a list with one for each scale (default: the model's)");
  command
      .add_option(
          "--cfg-layers", request.cfg_layers,
          "Where guidance mixes, for models that have a choice: 0 for the logits, -m behind "
          "the layer with m - 1 layers after it")
      ->delimiter(',');
  command.add_option("--top-k", request.top_k, "Sample from this many tokens, 0 for all");
  command.add_option("--top-p", request.top_p, "Sample from this total probability, 0 for all");
  command.add_flag("--greedy", request.greedy, "Take the likeliest token");
  command.add_flag("--smooth", request.smooth, "Mix tokens by Gumbel weights: smoother pictures");
  command.add_option("--dtype", dtype, "Type of products: auto, f32, bf16, int8")
      ->capture_default_str();
  command
      .add_option("--kv-dtype", kv_dtype, "Type of cached keys and values: auto, f32, bf16, int8")
      ->capture_default_str();
  command.add_option("-t,--threads", engine.threads, "Threads, 0 for all cores")
      ->check(CLI::Range(0, kMaxThreads));
  command.add_option("--memory", memory, "Refuse to use more than this, such as 8GiB");
  command.add_flag("--reference", reference, "Use the plain reference operators (slow)");
}

EngineOptions RunOptions::engine_options() const {
  EngineOptions options = engine;
  options.dtype = parse_dtype(dtype);
  options.kv_dtype = parse_kv_dtype(kv_dtype);
  if (!memory.empty()) options.memory_limit_bytes = parse_bytes("--memory", memory);
  options.backend = reference ? Backend::kReference : Backend::kCpu;
  return options;
}

}  // namespace nextscale::cli
