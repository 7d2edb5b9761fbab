// SPDX-License-Identifier: Apache-2.0
#include "plan_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <nlohmann/json.hpp>
#include <vector>

#include "core/memory_info.h"
#include "engine/run_setup.h"

namespace nextscale::cli {
namespace {

using nlohmann::json;

constexpr double kTera = 1e12;
constexpr double kPaperGigabyte = 0x1p30;

std::string counted(int64_t count, std::string_view what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

// "12.11 TFLOPs", in the unit that leaves one to three digits before the point.
std::string format_flops(double flops) {
  constexpr std::array<std::string_view, 5> kUnits{"FLOPs", "kFLOPs", "MFLOPs", "GFLOPs", "TFLOPs"};
  constexpr double kStep = 1e3;
  size_t unit = 0;
  for (; flops >= kStep && unit + 1 < kUnits.size(); ++unit) flops /= kStep;
  return fmt::format("{:.{}f} {}", flops, unit == 0 ? 0 : 2, kUnits[unit]);
}

void print_line(std::string_view label, std::string_view text) {
  fmt::print("{:<16} {}\n", label, text);
}

void print_subject(const PlanSubject& subject, std::string_view how) {
  const Geometry& geometry = subject.model.geometry;
  const Grid& pixels = subject.model.pixels;
  fmt::print("{}, {}x{} pixels, {} as {}, --kv {}, {}\n", subject.model.name, pixels.width,
             pixels.height, counted(subject.images, "picture"),
             counted(subject.sequences, "sequence"), subject.kv, how);
  fmt::print("{} layers, {} query heads on {} key/value heads of {}\n\n", geometry.layers,
             geometry.query_heads, geometry.kv_heads, geometry.head_dim);
}

void print_prompts(const RunPlan& plan) {
  if (plan.text_tokens == 0) return;
  fmt::print("Prompts of {} are assumed (--text-tokens).\n", counted(plan.text_tokens, "token"));
}

void print_assumption(bool assumes_equal_heads) {
  if (!assumes_equal_heads) return;
  fmt::print(
      "No calibration was given: all heads share the budgets equally. Calibrated budgets cache as "
      "much and attend at most as much.\n");
}

// ---- Tables -------------------------------------------------------------------------------------

struct Column {
  std::string_view title;
  int width;
};

void print_step_head(std::initializer_list<Column> more) {
  fmt::print("{:>4}  {:>9}  {:>7}  {:>9}  {:>9}", "step", "map", "tokens", "attended", "cached");
  for (const Column& column : more) fmt::print("  {:>{}}", column.title, column.width);
  fmt::print("\n");
}

void print_step(size_t step, const StepCost& cost) {
  fmt::print("{:>4}  {:>9}  {:>7}  {:>9.1f}  {:>9.1f}", step,
             fmt::format("{}x{}", cost.map.width, cost.map.height), cost.map.tokens(),
             cost.attended, cost.cached);
}

constexpr Column kBytesColumn{"cache", 11};
constexpr Column kFlopsColumn{"attention", 13};

void print_steps(const RunPlan& plan) {
  print_step_head({kBytesColumn, kFlopsColumn});
  for (size_t step = 0; step < plan.steps.size(); ++step) {
    print_step(step, plan.steps[step]);
    fmt::print("  {:>{}}  {:>{}}\n", format_bytes(plan.kv_bytes[step]), kBytesColumn.width,
               format_flops(plan.steps[step].attention_flops), kFlopsColumn.width);
  }
  fmt::print("\n");
}

void print_steps(const PaperPlan& plan) {
  print_step_head({kFlopsColumn});
  for (size_t step = 0; step < plan.steps.size(); ++step) {
    print_step(step, plan.steps[step]);
    fmt::print("  {:>{}}\n", format_flops(plan.steps[step].attention_flops), kFlopsColumn.width);
  }
  fmt::print("\n");
}

// ---- What this engine takes ---------------------------------------------------------------------

void print_operations(const RunReport& report) {
  const auto& steps = report.plan.steps;
  print_line("attention",
             fmt::format("{} ({} with the full cache)", format_flops(total_attention_flops(steps)),
                         format_flops(total_attention_flops(report.full.steps))));
  print_line("projections", fmt::format("{} of queries, keys, values and attention output",
                                        format_flops(total_projection_flops(steps))));
  print_line("scoring", format_flops(total_scoring_flops(steps)));
}

void print_weights(const RunReport& report) {
  std::string text = format_bytes(report.plan.weights);
  for (const ParameterCount& part : report.subject.model.parameters) {
    text += fmt::format(
        "{} {} {}", &part == report.subject.model.parameters.data() ? ":" : ",", part.part,
        format_bytes(static_cast<size_t>(part.parameters) * dtype_bytes(report.types.compute)));
  }
  print_line("weights", text);
}

void print_memory(const RunReport& report) {
  const RunPlan& plan = report.plan;
  print_line("key/value cache",
             fmt::format("{} reserved, {} held at the most ({} with the full cache)",
                         format_bytes(plan.reserved_kv_bytes), format_bytes(plan.peak_kv_bytes()),
                         format_bytes(report.full.reserved_kv_bytes)));
  print_weights(report);
  const std::string unknown =
      fmt::format("not known: this engine does not run {} models yet", report.subject.model.family);
  print_line("activations", plan.activations ? format_bytes(*plan.activations) : unknown);
  print_line("decoder", plan.decoder ? format_bytes(*plan.decoder) : unknown);
  if (plan.text_encoder) {
    print_line("text encoder", format_bytes(*plan.text_encoder) +
                                   ", read layer by layer and released before the first scale");
  }
  print_line("program", format_bytes(plan.process));
  print_line("total", fmt::format("{} {}", format_bytes(plan.peak),
                                  plan.is_complete() ? "at the most" : "and what is not known"));
  if (!report.subject.model.uncounted.empty()) {
    fmt::print("Not counted: {}.\n", report.subject.model.uncounted);
  }
}

std::string fit_text(const RunReport& report) {
  const FitAnswer& fit = *report.fit;
  if (fit.fits) {
    return fmt::format("fits with {} to spare; the largest batch is {}",
                       format_bytes(report.limit - report.plan.peak), fit.largest_batch);
  }
  std::vector<std::string> ways;
  if (fit.largest_batch > 0) ways.push_back(fmt::format("--batch {}", fit.largest_batch));
  if (fit.mildest) {
    ways.push_back(
        fmt::format("--batch {} --kv {}{}", fit.mildest->images, fit.mildest->spec,
                    fit.mildest->needs_calibration ? " (after `nextscale calibrate`)" : ""));
  }
  const std::string lack =
      fmt::format("is {} too little", format_bytes(report.plan.peak - report.limit));
  if (!ways.empty()) return fmt::format("{}; what fits is {}", lack, fmt::join(ways, ", or "));
  return fmt::format("{}, and nothing fits: one picture with the smallest budget lacks {}", lack,
                     format_bytes(fit.missing_bytes));
}

// ---- JSON ---------------------------------------------------------------------------------------

json subject_json(const PlanSubject& subject, std::string_view accounting) {
  const Geometry& geometry = subject.model.geometry;
  return {{"accounting", accounting},
          {"model", subject.model.name},
          {"family", subject.model.family},
          {"size", subject.model.size},
          {"width", subject.model.pixels.width},
          {"height", subject.model.pixels.height},
          {"kv", subject.kv},
          {"images", subject.images},
          {"sequences", subject.sequences},
          {"layers", geometry.layers},
          {"query_heads", geometry.query_heads},
          {"kv_heads", geometry.kv_heads},
          {"head_dim", geometry.head_dim}};
}

json steps_json(const std::vector<StepCost>& steps) {
  json list = json::array();
  for (const StepCost& step : steps) {
    list.push_back({{"height", step.map.height},
                    {"width", step.map.width},
                    {"attended", step.attended},
                    {"cached", step.cached},
                    {"attention_flops", step.attention_flops},
                    {"projection_flops", step.projection_flops},
                    {"scoring_flops", step.scoring_flops}});
  }
  return list;
}

void add_operations(const std::vector<StepCost>& steps, json* result) {
  (*result)["attention_flops"] = total_attention_flops(steps);
  (*result)["projection_flops"] = total_projection_flops(steps);
  (*result)["scoring_flops"] = total_scoring_flops(steps);
}

json optional_json(const std::optional<uint64_t>& bytes) { return bytes ? json(*bytes) : json(); }

json fit_json(const RunReport& report) {
  const FitAnswer& fit = *report.fit;
  json result{{"limit_bytes", report.limit},
              {"fits", fit.fits},
              {"largest_batch", fit.largest_batch},
              {"mildest", nullptr},
              {"missing_bytes", fit.missing_bytes}};
  if (fit.mildest) {
    result["mildest"] = {{"kv", fit.mildest->spec},
                         {"batch", fit.mildest->images},
                         {"needs_calibration", fit.mildest->needs_calibration}};
  }
  return result;
}

json memory_json(const RunPlan& plan) {
  return {{"kv_reserved_bytes", plan.reserved_kv_bytes},
          {"kv_peak_bytes", plan.peak_kv_bytes()},
          {"weights_bytes", plan.weights},
          {"activations_bytes", optional_json(plan.activations)},
          {"decoder_bytes", optional_json(plan.decoder)},
          {"text_encoder_bytes", optional_json(plan.text_encoder)},
          {"process_bytes", plan.process},
          {"total_bytes", plan.peak},
          {"complete", plan.is_complete()}};
}

}  // namespace

void print_text(const RunReport& report) {
  print_subject(report.subject,
                fmt::format("{} products, {} cache", precision_name(report.types.compute),
                            precision_name(report.types.cache)));
  print_steps(report.plan);
  print_operations(report);
  fmt::print("\n");
  print_memory(report);
  if (report.fit) {
    print_line(format_bytes(report.limit),
               (report.plan.is_complete() ? "" : "before what is not known: ") + fit_text(report));
  }
  print_prompts(report.plan);
  print_assumption(report.plan.assumes_equal_heads);
}

void print_json(const RunReport& report) {
  json result = subject_json(report.subject, "engine");
  result["dtype"] = precision_name(report.types.compute);
  result["kv_dtype"] = precision_name(report.types.cache);
  result["assumes_equal_heads"] = report.plan.assumes_equal_heads;
  result["text_tokens"] = report.plan.text_tokens;
  result["steps"] = steps_json(report.plan.steps);
  for (size_t step = 0; step < report.plan.kv_bytes.size(); ++step) {
    result["steps"][step]["kv_bytes"] = report.plan.kv_bytes[step];
  }
  add_operations(report.plan.steps, &result);
  result["memory"] = memory_json(report.plan);
  result["full"] = {{"attention_flops", total_attention_flops(report.full.steps)},
                    {"kv_reserved_bytes", report.full.reserved_kv_bytes}};
  result["fit"] = report.fit ? fit_json(report) : json();
  fmt::print("{}\n", result.dump(2));
}

void print_text(const PaperReport& report) {
  print_subject(report.subject, "counted as the papers do");
  print_steps(report.plan);
  const auto& steps = report.plan.steps;
  print_line("key/value cache",
             fmt::format("{:.2f} GB ({:.2f} in full)", report.plan.kv_bytes / kPaperGigabyte,
                         report.full.kv_bytes / kPaperGigabyte));
  print_line("attention",
             fmt::format("{:.2f} TFLOPs ({:.2f} in full)", total_attention_flops(steps) / kTera,
                         total_attention_flops(report.full.steps) / kTera));
  const double projections = total_projection_flops(steps);
  const double scoring = total_scoring_flops(steps);
  print_line("with projections",
             fmt::format("{:.2f} TFLOPs: projections {:.2f}, scoring {:.3f}",
                         (total_attention_flops(steps) + projections + scoring) / kTera,
                         projections / kTera, scoring / kTera));
  print_assumption(report.plan.assumes_equal_heads);
}

void print_json(const PaperReport& report) {
  json result = subject_json(report.subject, "paper");
  result["assumes_equal_heads"] = report.plan.assumes_equal_heads;
  result["steps"] = steps_json(report.plan.steps);
  add_operations(report.plan.steps, &result);
  result["kv_bytes"] = report.plan.kv_bytes;
  result["kv_gb"] = fmt::format("{:.2f}", report.plan.kv_bytes / kPaperGigabyte);
  result["attention_tflops"] =
      fmt::format("{:.2f}", total_attention_flops(report.plan.steps) / kTera);
  result["full"] = {{"attention_flops", total_attention_flops(report.full.steps)},
                    {"kv_bytes", report.full.kv_bytes}};
  fmt::print("{}\n", result.dump(2));
}

}  // namespace nextscale::cli
