// SPDX-License-Identifier: Apache-2.0
#include "run_options.h"

#include <fmt/ranges.h>

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

// Texts as they are typed: nothing in them is syntax. Given several times, all count.
void add_texts(CLI::App& command, const std::string& name, std::vector<std::string>& target,
               const std::string& help) {
  command
      .add_option(
          name,
          [&target](const CLI::results_t& texts) {
            target = texts;
            return true;
          },
          help)
      ->type_name("TEXT")
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

void add_text(CLI::App& command, const std::string& name, std::optional<std::string>& target,
              const std::string& help) {
  command
      .add_option(
          name,
          [&target](const CLI::results_t& texts) {
            target = texts.back();
            return true;
          },
          help)
      ->type_name("TEXT")
      ->allow_extra_args(false);
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
  add_classes(command);
  add_prompts(command);
  command.add_option("--text-features", request.text_features,
                     "Instead of prompts, a .safetensors file of what a text encoder made of them");
  add_policy(command);
}

void RunOptions::add_classes(CLI::App& command) {
  command.add_option("--class", request.classes, "Classes, as numbers or names: 3,7 or tabby")
      ->delimiter(',');
}

void RunOptions::add_policy(CLI::App& command) {
  command.add_option("--kv", request.kv, "Cache policy (see `nextscale policies`)")
      ->capture_default_str();
  command.add_option("--calibration", engine.calibration,
                     "What `nextscale calibrate` made, for policies that need it (default: "
                     "calibration.safetensors in the model folder)");
}

void RunOptions::add_prompts(CLI::App& command) {
  add_texts(
      command, "-p,--prompt", prompts,
      "What the pictures show, for models that read prompts: \"a red apple\"; give several by "
      "repeating it");
  add_text(command, "--negative", negative,
           "What they shall not show, for all prompts (default: the model's own \"no text\")");
}

void RunOptions::add_settings(CLI::App& command) {
  command.add_option("-m,--model", engine.model, "Model folder (made by `nextscale convert`)")
      ->required();
  command.add_option("--size", engine.size,
                     "Size of the pictures, for models that have a choice: 1024x768, 1M, "
                     "4:3@0.25M; the nearest that the model knows is made (default: the model's "
                     "own)");
  command.add_option("--text-cache", engine.text_cache,
                     "Folder that keeps what the text encoder made of prompts, so that none is "
                     "encoded twice");
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

Request RunOptions::checked_request(const std::string& prompt_file) const {
  std::vector<std::string_view> given;
  if (!request.classes.empty()) given.push_back("--class");
  if (!prompts.empty()) given.push_back("-p");
  if (!prompt_file.empty()) given.push_back("--prompts");
  if (!request.text_features.empty()) given.push_back("--text-features");
  if (given.size() > 1) {
    fail(ErrorCode::kUsage, "{}: got {}, which say different things about what is shown; keep one",
         given.back(), fmt::join(given, " and "));
  }
  if (negative && prompts.empty() && prompt_file.empty()) {
    fail(ErrorCode::kUsage, "--negative: goes with prompts; give one with -p, or leave it out");
  }
  Request result = request;
  for (const std::string& text : prompts) {
    result.prompts.push_back({.text = text, .negative = negative});
  }
  return result;
}

void refuse_no_subject(std::string_view command, std::string_view options) {
  fail(ErrorCode::kUsage, "{}: nothing is named that could be shown; give {}", command, options);
}

}  // namespace nextscale::cli
