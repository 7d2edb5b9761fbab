// SPDX-License-Identifier: Apache-2.0
#include "models/var/config.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/error_format.h"

namespace nextscale {
namespace {

using nlohmann::json;

// Bounds on what a config may claim, some times larger than any published model: enough for
// experiments, small enough that no product of them overflows.
constexpr int64_t kMaxLayers = 256;
constexpr int64_t kMaxHeads = 1024;
constexpr int64_t kMaxHeadDim = 1024;
constexpr int64_t kMaxWidth = 32768;
constexpr int64_t kMaxFfnWidth = 8 * kMaxWidth;
constexpr int64_t kMaxClasses = 1'000'000;
constexpr int64_t kMaxVocab = 1 << 20;
constexpr int64_t kMaxLatentChannels = 1024;
constexpr size_t kMaxScales = 64;
constexpr int64_t kMaxPatchNum = 256;
constexpr int64_t kMaxBaseChannels = 1024;
constexpr int64_t kMaxMultiplier = 16;
constexpr int64_t kMaxResBlocks = 8;
constexpr int64_t kMaxPhiConvs = 64;
constexpr double kMaxEpsilon = 1e-2;
constexpr double kMaxCfg = 1000.0;
constexpr int64_t kNormGroups = 32;   // of the decoder's GroupNorms
constexpr size_t kDecoderLevels = 5;  // the picture is 16 times the latent's side
constexpr int64_t kImagenetClasses = 1000;

[[noreturn]] void refuse(std::string_view key, const json* got, std::string_view wanted) {
  const std::string text =
      got == nullptr ? "nothing"
                     : printable(got->dump(-1, ' ', true, json::error_handler_t::replace), 60);
  fail(ErrorCode::kBadFile,
       "var: config.json has {} for '{}', wanted {}; make the model folder again with 'nextscale "
       "convert'",
       text, key, wanted);
}

const json* member(const json& object, std::string_view key) {
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

const json& section(const json& config, std::string_view key) {
  const json* value = config.is_object() ? member(config, key) : nullptr;
  if (value == nullptr || !value->is_object()) refuse(key, value, "an object");
  return *value;
}

int64_t checked_integer(std::string_view key, const json* value, int64_t least, int64_t most) {
  const bool is_huge = value != nullptr && value->is_number_unsigned() &&
                       value->get<uint64_t>() > static_cast<uint64_t>(most);
  const bool is_sound = value != nullptr && value->is_number_integer() && !is_huge &&
                        value->get<int64_t>() >= least && value->get<int64_t>() <= most;
  if (!is_sound) refuse(key, value, fmt::format("a whole number from {} to {}", least, most));
  return value->get<int64_t>();
}

int64_t integer(const json& object, std::string_view key, int64_t least, int64_t most) {
  return checked_integer(key, member(object, key), least, most);
}

float real(const json& object, std::string_view key, double least, double most) {
  const json* value = member(object, key);
  const bool is_sound = value != nullptr && value->is_number() && value->get<double>() >= least &&
                        value->get<double>() <= most;
  if (!is_sound) refuse(key, value, fmt::format("a number from {} to {}", least, most));
  return static_cast<float>(value->get<double>());
}

bool boolean(const json& object, std::string_view key) {
  const json* value = member(object, key);
  if (value == nullptr || !value->is_boolean()) refuse(key, value, "true or false");
  return value->get<bool>();
}

std::vector<int64_t> integers(const json& object, std::string_view key, size_t most_items,
                              int64_t most) {
  const json* value = member(object, key);
  if (value == nullptr || !value->is_array() || value->size() > most_items) {
    refuse(key, value, fmt::format("a list of up to {} whole numbers", most_items));
  }
  std::vector<int64_t> result;
  for (const json& item : *value) result.push_back(checked_integer(key, &item, 1, most));
  return result;
}

void parse_model(const json& model, VarConfig& config) {
  config.layers = integer(model, "layers", 1, kMaxLayers);
  config.heads = integer(model, "heads", 1, kMaxHeads);
  config.head_dim = integer(model, "head_dim", 1, kMaxHeadDim);
  config.width = integer(model, "width", 1, kMaxWidth);
  config.ffn_width = integer(model, "ffn_width", 1, kMaxFfnWidth);
  config.classes = integer(model, "classes", 1, kMaxClasses);
  config.vocab = integer(model, "vocab", 2, kMaxVocab);
  config.latent_channels = integer(model, "latent_channels", 1, kMaxLatentChannels);
  config.patch_nums = integers(model, "patch_nums", kMaxScales, kMaxPatchNum);
  config.shared_adaln = boolean(model, "shared_adaln");
  config.qk_l2_norm = boolean(model, "qk_l2_norm");
  config.norm_epsilon = real(model, "norm_epsilon", 0.0, kMaxEpsilon);
  if (config.width != config.heads * config.head_dim) {
    refuse("width", member(model, "width"), "heads times head_dim");
  }
  if (!is_patch_schedule(config.patch_nums)) {
    refuse("patch_nums", member(model, "patch_nums"), "at least two ascending sides, the first 1");
  }
}

void parse_vae(const json& vae, VarConfig& config) {
  config.base_channels = integer(vae, "base_channels", kNormGroups, kMaxBaseChannels);
  if (config.base_channels % kNormGroups != 0) {
    refuse("base_channels", member(vae, "base_channels"),
           fmt::format("a multiple of {}", kNormGroups));
  }
  config.channel_multipliers = integers(vae, "channel_multipliers", kDecoderLevels, kMaxMultiplier);
  if (config.channel_multipliers.size() != kDecoderLevels) {
    refuse("channel_multipliers", member(vae, "channel_multipliers"),
           fmt::format("{} whole numbers", kDecoderLevels));
  }
  config.num_res_blocks = integer(vae, "num_res_blocks", 1, kMaxResBlocks);
  config.num_phi_convs = integer(vae, "num_phi_convs", 1, kMaxPhiConvs);
}

std::string class_names(const json& config, int64_t classes) {
  const json* value = member(config, "class_names");
  if (value == nullptr || value->is_null()) return "";
  if (*value != "imagenet" || classes != kImagenetClasses) {
    refuse("class_names", value, "null, or \"imagenet\" with 1000 classes");
  }
  return "imagenet";
}

}  // namespace

bool is_patch_schedule(std::span<const int64_t> patch_nums) {
  return patch_nums.size() >= 2 && patch_nums.size() <= kMaxScales && patch_nums.front() == 1 &&
         patch_nums.back() <= kMaxPatchNum &&
         std::ranges::adjacent_find(patch_nums, std::greater_equal<>()) == patch_nums.end();
}

VarConfig parse_var_config(const json& config) {
  VarConfig result;
  parse_model(section(config, "model"), result);
  parse_vae(section(config, "vae"), result);
  const json& defaults = section(config, "defaults");
  result.default_cfg = real(defaults, "cfg", 0.0, kMaxCfg);
  result.default_top_k = integer(defaults, "top_k", 0, result.vocab);
  result.default_top_p = real(defaults, "top_p", 0.0, 1.0);
  result.class_names = class_names(config, result.classes);
  const json* family = member(config, "family");
  if (family == nullptr || *family != "var") {
    fail(ErrorCode::kMismatch,
         "var: config.json is of the family {}, wanted \"var\"; this model needs another engine",
         family == nullptr
             ? "none"
             : printable(family->dump(-1, ' ', true, json::error_handler_t::replace), 60));
  }
  return result;
}

json to_json(const VarConfig& config) {
  // An f32 shown as the double it rounds to would read 9.99999997e-07.
  const auto decimal = [](float value) { return std::stod(fmt::format("{}", value)); };
  return {{"family", "var"},
          {"model",
           {{"layers", config.layers},
            {"heads", config.heads},
            {"head_dim", config.head_dim},
            {"width", config.width},
            {"ffn_width", config.ffn_width},
            {"classes", config.classes},
            {"vocab", config.vocab},
            {"latent_channels", config.latent_channels},
            {"patch_nums", config.patch_nums},
            {"shared_adaln", config.shared_adaln},
            {"qk_l2_norm", config.qk_l2_norm},
            {"norm_epsilon", decimal(config.norm_epsilon)}}},
          {"vae",
           {{"base_channels", config.base_channels},
            {"channel_multipliers", config.channel_multipliers},
            {"num_res_blocks", config.num_res_blocks},
            {"num_phi_convs", config.num_phi_convs}}},
          {"class_names", config.class_names.empty() ? json(nullptr) : json(config.class_names)},
          {"defaults",
           {{"cfg", decimal(config.default_cfg)},
            {"top_k", config.default_top_k},
            {"top_p", decimal(config.default_top_p)}}}};
}

std::string impossible_setting(const VarConfig& config) {
  constexpr std::string_view kStart = "config.json has ";
  try {
    parse_var_config(to_json(config));
    return "";
  } catch (const Error& error) {
    std::string_view reason = error.what();
    reason.remove_prefix(reason.find(kStart) + kStart.size());
    return std::string(reason.substr(0, reason.find("; make the model")));
  }
}

}  // namespace nextscale
