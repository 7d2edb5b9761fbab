// SPDX-License-Identifier: Apache-2.0
#include "calibrate/import_rankings.h"

#include <nlohmann/json.hpp>
#include <optional>

#include "core/error_format.h"
#include "weights/file_error.h"
#include "weights/json_text.h"

namespace nextscale {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// The largest published file has half a megabyte.
constexpr size_t kMaxFileBytes = size_t{64} << 20;

// Numbers of such files are small; anything else is none.
std::optional<int64_t> small_number(const json& value) {
  constexpr uint64_t kMost = uint64_t{1} << 40;
  if (!value.is_number_unsigned() || value.get<uint64_t>() > kMost) return std::nullopt;
  return value.get<int64_t>();
}

class HeatkvOrders {
 public:
  HeatkvOrders(const fs::path& path, const Geometry& geometry)
      : where_(shown(path)), geometry_(geometry) {}

  std::vector<std::vector<LayerHead>> parse(const json& lists) const {
    const size_t scales = geometry_.scales.size();
    if (!lists.is_array() || lists.empty()) refuse("is no list of rankings");
    if (lists.size() >= scales) {
      mismatch(fmt::format("{} rankings; a schedule of {} scales has at most {}", lists.size(),
                           scales, scales - 1));
    }
    std::vector<std::vector<LayerHead>> orders(scales - 1 - lists.size());
    for (const json& list : lists) orders.push_back(parse_order(list));
    orders.emplace_back();  // the last scale is never cached
    return orders;
  }

 private:
  std::vector<LayerHead> parse_order(const json& list) const {
    const int64_t lists = geometry_.layers * geometry_.kv_heads;
    if (!list.is_array()) refuse("has a ranking that is no list");
    if (static_cast<int64_t>(list.size()) != lists) {
      mismatch(fmt::format("rankings of {} heads; the model has {} layers of {}", list.size(),
                           geometry_.layers, geometry_.kv_heads));
    }
    std::vector<LayerHead> order;
    for (const json& pair : list) order.push_back(parse_pair(pair));
    return order;
  }

  LayerHead parse_pair(const json& pair) const {
    if (!pair.is_array() || pair.size() != 2) refuse("has an entry that is no [head, layer]");
    const auto head = small_number(pair[0]);
    const auto layer = small_number(pair[1]);
    if (!head || !layer) refuse("has an entry that is no [head, layer]");
    if (*head >= geometry_.kv_heads || *layer >= geometry_.layers) {
      mismatch(fmt::format("head {} of layer {}; the model has {} layers of {}", *head, *layer,
                           geometry_.layers, geometry_.kv_heads));
    }
    return {.layer = *layer, .head = *head};
  }

  [[noreturn]] void refuse(std::string_view problem) const {
    fail(ErrorCode::kBadFile,
         "--import-heatkv: {} {}; wanted an orders/*.json as HeatKV publishes them", where_,
         problem);
  }
  [[noreturn]] void mismatch(std::string_view got) const {
    fail(ErrorCode::kMismatch,
         "--import-heatkv: {} has {}; give the file that was published for this model", where_,
         got);
  }

  std::string where_;
  const Geometry& geometry_;
};

class ScalekvBudgets {
 public:
  ScalekvBudgets(const fs::path& path, const Geometry& geometry, Calibration& out)
      : where_(shown(path)), geometry_(geometry), out_(out) {}

  void parse(const json& scales) {
    const auto count = static_cast<size_t>(geometry_.layers) * geometry_.scales.size();
    out_.layer_budgets.assign(count, 0);
    out_.drafters.assign(count, 0);
    if (!scales.is_object() || scales.empty()) refuse("is no object of scales");
    for (const auto& [name, scale] : scales.items()) parse_scale(step_of(name), scale);
  }

 private:
  // "Scale 9" is read by the step of number 8.
  int64_t step_of(const std::string& name) const {
    constexpr std::string_view kPrefix = "Scale ";
    constexpr size_t kMaxDigits = 4;
    const std::string digits = name.starts_with(kPrefix) ? name.substr(kPrefix.size()) : "";
    if (digits.empty() || digits.size() > kMaxDigits ||
        digits.find_first_not_of("0123456789") != std::string::npos) {
      refuse(fmt::format("has '{}' where 'Scale 9' was wanted", printable(name)));
    }
    const int64_t scale = std::stoll(digits);
    if (scale < 1 || scale > geometry_.num_scales()) {
      mismatch(fmt::format("scale {}; the model has {}", scale, geometry_.num_scales()));
    }
    return scale - 1;
  }

  int64_t number(const json& scale, const std::string& key) const {
    const auto found = scale.find(key);
    const auto value = found == scale.end() ? std::nullopt : small_number(*found);
    if (!value) refuse(fmt::format("has a scale without '{}'", key));
    return *value;
  }

  int64_t budget(const json& scale, const std::string& key) const {
    const int64_t sequence = geometry_.tokens_through(geometry_.num_scales() - 1);
    const int64_t tokens = number(scale, key);
    if (tokens >= 1 && tokens <= sequence) return tokens;
    mismatch(fmt::format("a budget of {}; the model has {} tokens", tokens, sequence));
  }

  void parse_scale(int64_t step, const json& scale) {
    if (!scale.is_object()) refuse("has a scale that is no object");
    const int64_t of_drafters = budget(scale, "Max");
    const int64_t of_refiners = budget(scale, "Min");
    int64_t num_drafters = 0;
    for (int64_t layer = 0; layer < geometry_.layers; ++layer) {
      const int64_t role = number(scale, fmt::format("Block {}", layer));
      if (role > 1) refuse("has a role that is neither 0 nor 1");
      const auto at = static_cast<size_t>(step * geometry_.layers + layer);
      out_.drafters[at] = static_cast<uint8_t>(role);
      out_.layer_budgets[at] = role == 1 ? of_drafters : of_refiners;
      num_drafters += role;
    }
    if (scale.contains(fmt::format("Block {}", geometry_.layers))) {
      mismatch(fmt::format("more blocks than the model's {} layers", geometry_.layers));
    }
    if (num_drafters != number(scale, "High")) {
      refuse(fmt::format("has {} drafters where 'High' says otherwise", num_drafters));
    }
  }

  [[noreturn]] void refuse(std::string_view problem) const {
    fail(ErrorCode::kBadFile,
         "--import-scalekv: {} {}; wanted a budgets/*.json as ScaleKV publishes them", where_,
         problem);
  }
  [[noreturn]] void mismatch(std::string_view got) const {
    fail(ErrorCode::kMismatch,
         "--import-scalekv: {} has {}; give the file that was published for this model", where_,
         got);
  }

  std::string where_;
  const Geometry& geometry_;
  Calibration& out_;
};

json read_json(const fs::path& path) {
  return parse_json(read_text_file(path, kMaxFileBytes), shown(path));
}

}  // namespace

void import_heatkv_orders(const fs::path& path, const Geometry& geometry,
                          Calibration& calibration) {
  calibration.removal_orders = HeatkvOrders(path, geometry).parse(read_json(path));
  require_calibration_of(calibration, geometry);  // every head once
}

void import_scalekv_budgets(const fs::path& path, const Geometry& geometry,
                            Calibration& calibration) {
  ScalekvBudgets(path, geometry, calibration).parse(read_json(path));
  require_calibration_of(calibration, geometry);
}

}  // namespace nextscale
