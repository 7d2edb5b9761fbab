// SPDX-License-Identifier: Apache-2.0
#include "bench_report.h"

#include <fmt/format.h>

#include "core/memory_info.h"
#include "engine/run_setup.h"

namespace nextscale::cli {
namespace {

constexpr double kMilliseconds = 1e3;
constexpr double kPercent = 100.0;
constexpr double kGiga = 1e-9;

const char* clock_name(const KvBenchSettings& settings) {
  return settings.clock == thread_cpu_seconds ? "processor time" : "wall time";
}

void add_kv_facts(const KvBenchSettings& settings, const KvBenchResult& result, BenchPage* page) {
  const BenchShape& shape = settings.shape;
  const Geometry& geometry = shape.geometry;
  const int last = geometry.num_scales() - 1;
  std::string layers = fmt::format("{} layers", shape.all_layers);
  if (geometry.layers != shape.all_layers) {
    layers += fmt::format(" ({} were run, times and bytes are scaled up)", geometry.layers);
  }
  const auto add = [page](const char* name, std::string value) {
    page->facts.emplace_back(name, std::move(value));
  };
  add("shape", fmt::format("{}: {}, {} heads on {} kv heads of {}, {} scales, {} tokens",
                           shape.name, layers, geometry.query_heads, geometry.kv_heads,
                           geometry.head_dim, last + 1, geometry.tokens_through(last)));
  add("pictures", fmt::format("{} at a time as {} rows, products {}, cache {}", settings.images,
                              settings.images * settings.rows_per_image,
                              precision_name(settings.compute), precision_name(settings.cache)));
  add("inputs", fmt::format("random queries, keys and values of variance 1, seed {}; a calibration "
                            "of invented numbers",
                            settings.seed));
  add("linear layers", fmt::format("{} ms: the blocks' four products (qkv, output, two of the "
                                   "feed-forward part), one layer's weights",
                                   spread_text(result.linear)));
  add("columns", fmt::format("ms of {} of one generation, median of {} (least to most). Attention: "
                             "the operator alone. Scoring: statistics of candidates. Selection: "
                             "the policy's choice. Compaction: merging, and writing and moving "
                             "cached tokens. Overhead: scoring, selection and compaction as a "
                             "share of them, attention and the linear layers; norms, sampling and "
                             "decoder are not counted, so a whole generation's share is smaller. "
                             "Held: keys and values, the most at the end of a step",
                             clock_name(settings), settings.repeats));
}

std::vector<std::string> line_of(const PolicyCost& cost) {
  std::vector<std::string> line{cost.kv};
  for (const Spread& stage : cost.stages) line.push_back(spread_text(stage));
  line.push_back(fmt::format("{:.2f} %", kPercent * cost.overhead));
  line.push_back(format_bytes(cost.held_bytes));
  line.push_back(format_bytes(cost.allocated_bytes));
  return line;
}

void add_kv_json(const KvBenchSettings& settings, const KvBenchResult& result, BenchPage* page) {
  page->json.update({{"shape", settings.shape.name},
                     {"layers", settings.shape.all_layers},
                     {"layers_run", settings.shape.geometry.layers},
                     {"images", settings.images},
                     {"dtype", precision_name(settings.compute)},
                     {"kv_dtype", precision_name(settings.cache)},
                     {"clock", clock_name(settings)},
                     {"repeats", settings.repeats},
                     {"seed", settings.seed},
                     {"linear", spread_json(result.linear)},
                     {"policies", nlohmann::json::array()}});
  for (const PolicyCost& cost : result.policies) {
    page->json["policies"].push_back({{"kv", cost.kv},
                                      {"attention", spread_json(cost.of(Stage::kAttention))},
                                      {"scoring", spread_json(cost.of(Stage::kScoring))},
                                      {"selection", spread_json(cost.of(Stage::kSelection))},
                                      {"compaction", spread_json(cost.of(Stage::kCompaction))},
                                      {"generation", spread_json(cost.generation)},
                                      {"overhead", cost.overhead},
                                      {"held_bytes", cost.held_bytes},
                                      {"allocated_bytes", cost.allocated_bytes}});
  }
}

std::string peaks_text(const PeakRates& peaks) {
  return fmt::format("f32 {:.0f}, bf16 {:.0f}, int8 {:.0f} G operations/s, from registers",
                     kGiga * peaks.f32, kGiga * peaks.bf16, kGiga * peaks.i8);
}

nlohmann::json peaks_json(const PeakRates& peaks) {
  return {{"f32", peaks.f32}, {"bf16", peaks.bf16}, {"int8", peaks.i8}};
}

// Operators against the ceiling of their type.
BenchPage::Table operator_table(const std::vector<OperatorRate>& operators,
                                const PeakRates& peaks) {
  BenchPage::Table table{{"operator", "type", "ms", "G operations/s", "of the ceiling"}};
  for (const OperatorRate& each : operators) {
    const double peak = peak_of(peaks, each.dtype);
    table.push_back({each.name, std::string(precision_name(each.dtype)), spread_text(each.seconds),
                     fmt::format("{:.0f}", kGiga * each.rate()),
                     peak > 0 ? fmt::format("{:.2f}", each.rate() / peak) : "unknown"});
  }
  return table;
}

nlohmann::json operators_json(const std::vector<OperatorRate>& operators) {
  nlohmann::json result = nlohmann::json::array();
  for (const OperatorRate& each : operators) {
    result.push_back({{"name", each.name},
                      {"dtype", precision_name(each.dtype)},
                      {"operations", each.operations},
                      {"time", spread_json(each.seconds)}});
  }
  return result;
}

std::string ratio_text(double seconds, double floor) {
  return floor > 0 ? fmt::format("{:.2f}", seconds / floor) : "";
}

BenchPage::Table stage_table(const ModelBenchResult& result) {
  BenchPage::Table table{{"stage", "ms", "share", "G operations/s", "floor ms", "time / floor"}};
  const auto add = [&](const std::string& name, const Spread& seconds, double operations,
                       double floor) {
    table.push_back(
        {name, spread_text(seconds),
         fmt::format("{:.1f} %", kPercent * seconds.median / result.seconds.median),
         operations > 0 ? fmt::format("{:.0f}", kGiga * operations / seconds.median) : "",
         floor > 0 ? fmt::format("{:.1f}", kMilliseconds * floor) : "",
         ratio_text(seconds.median, floor)});
  };
  double operations = 0;
  for (const StageCost& cost : result.stages) {
    operations += cost.operations;
    if (cost.seconds.most > 0) {
      add(stage_name(cost.stage), cost.seconds, cost.operations, cost.floor);
    }
  }
  add("the rest", result.other, 0, 0);
  add("all", result.seconds, operations, result.floor);
  return table;
}

}  // namespace

BenchPage kv_page(const KvBenchSettings& settings, const KvBenchResult& result,
                  const BenchMachine& machine) {
  BenchPage page;
  page.add_machine(machine.threads, machine.foreign_load);
  add_kv_facts(settings, result, &page);
  add_kv_json(settings, result, &page);
  BenchPage::Table table{{"policy", "attention", "scoring", "selection", "compaction", "overhead",
                          "held", "allocated"}};
  for (const PolicyCost& cost : result.policies) table.push_back(line_of(cost));
  page.tables.push_back(std::move(table));
  return page;
}

BenchPage ceiling_page(const CeilingSettings& settings, const CeilingResult& result,
                       const BenchMachine& machine) {
  BenchPage page;
  page.add_machine(machine.threads, machine.foreign_load);
  page.facts.emplace_back("ceilings", peaks_text(result.peaks));
  page.facts.emplace_back(
      "memory", fmt::format("{:.1f} GB/s, read by all threads", kGiga * result.read_bandwidth));
  page.facts.emplace_back("products",
                          fmt::format("at the shapes of {}, packed and warm", settings.shape.name));
  page.facts.emplace_back("columns", fmt::format("ms of wall time, median of {} (least to most); "
                                                 "a multiplication and an addition are two "
                                                 "operations, softmax and packing of keys are "
                                                 "timed and not counted",
                                                 settings.repeats));
  page.tables = {operator_table(result.products, result.peaks),
                 operator_table(result.attention, result.peaks)};
  page.json.update({{"shape", settings.shape.name},
                    {"repeats", settings.repeats},
                    {"seed", settings.seed},
                    {"ceilings", peaks_json(result.peaks)},
                    {"read_bandwidth", result.read_bandwidth},
                    {"products", operators_json(result.products)},
                    {"attention", operators_json(result.attention)}});
  return page;
}

BenchPage model_page(const PlannedModel& model, const ModelBenchSettings& settings,
                     const RunTypes& types, const ModelBenchResult& result,
                     const BenchMachine& machine) {
  BenchPage page;
  page.add_machine(machine.threads, machine.foreign_load);
  const std::string size = model.size.empty() ? "" : " at " + model.size;
  const auto add = [&page](const char* name, std::string value) {
    page.facts.emplace_back(name, std::move(value));
  };
  add("model", fmt::format("{}{}, {} weights{}", model.name, size,
                           format_bytes(static_cast<uint64_t>(result.weight_bytes)),
                           model.folder.has_value() ? "" : " of random numbers"));
  add("pictures", fmt::format("{} at a time as {} rows, products {}, cache {}, --kv {}",
                              settings.images, result.rows, precision_name(types.compute),
                              precision_name(types.cache), settings.kv));
  add("ceilings", peaks_text(result.peaks));
  add("loading", fmt::format("{:.2f} s, {}packing included", result.load_seconds,
                             model.folder.has_value() ? "" : "making up the numbers and "));
  add("memory", fmt::format("peak {}, plan {}; keys and values {}", format_bytes(result.peak_bytes),
                            format_bytes(result.planned_bytes), format_bytes(result.kv_bytes)));
  add("columns", fmt::format("ms of wall time of one generation, decoder included, median of {} "
                             "(least to most){}; floor: products and convolutions at the ceiling "
                             "of their type",
                             settings.repeats, settings.warm_up ? "" : ", the first included"));
  BenchPage::Table scales{{"scale", "ms"}};
  nlohmann::json scales_json = nlohmann::json::array();
  for (size_t scale = 0; scale < result.scales.size(); ++scale) {
    const Grid& grid = model.geometry.scales[scale];
    scales.push_back({fmt::format("{} ({}x{})", scale + 1, grid.height, grid.width),
                      spread_text(result.scales[scale])});
    scales_json.push_back(spread_json(result.scales[scale]));
  }
  nlohmann::json stages = nlohmann::json::object();
  for (const StageCost& cost : result.stages) {
    stages[stage_name(cost.stage)] = {{"time", spread_json(cost.seconds)},
                                      {"operations", cost.operations},
                                      {"floor_ms", kMilliseconds * cost.floor}};
  }
  page.tables = {stage_table(result), std::move(scales)};
  page.json.update({{"model", model.name},
                    {"size", model.size},
                    {"images", settings.images},
                    {"rows", result.rows},
                    {"dtype", precision_name(types.compute)},
                    {"kv_dtype", precision_name(types.cache)},
                    {"kv", settings.kv},
                    {"repeats", settings.repeats},
                    {"warm_up", settings.warm_up},
                    {"seed", settings.seed},
                    {"ceilings", peaks_json(result.peaks)},
                    {"load_seconds", result.load_seconds},
                    {"weight_bytes", result.weight_bytes},
                    {"time", spread_json(result.seconds)},
                    {"floor_ms", kMilliseconds * result.floor},
                    {"ratio", result.seconds.median / result.floor},
                    {"stages", stages},
                    {"other", spread_json(result.other)},
                    {"scales", scales_json},
                    {"kv_bytes", result.kv_bytes},
                    {"planned_bytes", result.planned_bytes},
                    {"peak_bytes", result.peak_bytes}});
  return page;
}

}  // namespace nextscale::cli
