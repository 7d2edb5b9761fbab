// SPDX-License-Identifier: Apache-2.0
#include "models/var/config.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/error_format.h"
#include "models/config_reader.h"
#include "models/var/imagenet_classes.h"

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
constexpr int64_t kNormGroups = 32;  // of the decoder's GroupNorms
constexpr size_t kMaxDecoderLevels = 6;

constexpr ConfigReader kRead("var");

void parse_model(const json& model, VarConfig& config) {
  config.layers = kRead.integer(model, "layers", 1, kMaxLayers);
  config.heads = kRead.integer(model, "heads", 1, kMaxHeads);
  config.head_dim = kRead.integer(model, "head_dim", 1, kMaxHeadDim);
  config.width = kRead.integer(model, "width", 1, kMaxWidth);
  config.ffn_width = kRead.integer(model, "ffn_width", 1, kMaxFfnWidth);
  config.classes = kRead.integer(model, "classes", 1, kMaxClasses);
  config.vocab = kRead.integer(model, "vocab", 2, kMaxVocab);
  config.latent_channels = kRead.integer(model, "latent_channels", 1, kMaxLatentChannels);
  config.patch_nums = kRead.integers(model, "patch_nums", kMaxScales, kMaxPatchNum);
  config.shared_adaln = kRead.boolean(model, "shared_adaln");
  config.qk_l2_norm = kRead.boolean(model, "qk_l2_norm");
  config.norm_epsilon = kRead.real(model, "norm_epsilon", 0.0, kMaxEpsilon);
  if (config.width != config.heads * config.head_dim) {
    kRead.refuse("width", ConfigReader::member(model, "width"), "heads times head_dim");
  }
  if (!is_patch_schedule(config.patch_nums)) {
    kRead.refuse("patch_nums", ConfigReader::member(model, "patch_nums"),
                 "at least two ascending sides, the first 1");
  }
}

void parse_vae(const json& vae, VarConfig& config) {
  config.base_channels = kRead.integer(vae, "base_channels", kNormGroups, kMaxBaseChannels);
  if (config.base_channels % kNormGroups != 0) {
    kRead.refuse("base_channels", ConfigReader::member(vae, "base_channels"),
                 fmt::format("a multiple of {}", kNormGroups));
  }
  config.channel_multipliers =
      kRead.integers(vae, "channel_multipliers", kMaxDecoderLevels, kMaxMultiplier);
  if (config.channel_multipliers.empty() || !std::ranges::is_sorted(config.channel_multipliers)) {
    kRead.refuse("channel_multipliers", ConfigReader::member(vae, "channel_multipliers"),
                 "ascending whole numbers");
  }
  config.num_res_blocks = kRead.integer(vae, "num_res_blocks", 1, kMaxResBlocks);
  config.num_phi_convs = kRead.integer(vae, "num_phi_convs", 1, kMaxPhiConvs);
}

std::vector<std::string> class_names(const json& config, int64_t classes) {
  const json* value = ConfigReader::member(config, "class_names");
  if (value == nullptr || value->is_null()) return {};
  if (*value == "imagenet" && classes == static_cast<int64_t>(kNumImagenetClasses)) {
    return imagenet_class_names();
  }
  const auto is_name = [](const json& each) {
    return each.is_string() && !each.get_ref<const std::string&>().empty();
  };
  if (!value->is_array() || static_cast<int64_t>(value->size()) != classes ||
      !std::ranges::all_of(*value, is_name)) {
    kRead.refuse(
        "class_names", value,
        fmt::format("null, a list of {} names, or \"imagenet\" with 1000 classes", classes));
  }
  return value->get<std::vector<std::string>>();
}

json class_names_json(const std::vector<std::string>& names) {
  if (names.empty()) return nullptr;
  return std::ranges::equal(names, imagenet_names()) ? json("imagenet") : json(names);
}

}  // namespace

bool is_patch_schedule(std::span<const int64_t> patch_nums) {
  return patch_nums.size() >= 2 && patch_nums.size() <= kMaxScales && patch_nums.front() == 1 &&
         patch_nums.back() <= kMaxPatchNum &&
         std::ranges::adjacent_find(patch_nums, std::greater_equal<>()) == patch_nums.end();
}

VarConfig parse_var_config(const json& config) {
  VarConfig result;
  parse_model(kRead.section(config, "model"), result);
  parse_vae(kRead.section(config, "vae"), result);
  const json& defaults = kRead.section(config, "defaults");
  result.default_cfg = kRead.real(defaults, "cfg", 0.0, kMaxCfg);
  result.default_top_k = kRead.integer(defaults, "top_k", 0, result.vocab);
  result.default_top_p = kRead.real(defaults, "top_p", 0.0, 1.0);
  result.class_names = class_names(config, result.classes);
  kRead.require_family(config);
  return result;
}

json to_json(const VarConfig& config) {
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
          {"class_names", class_names_json(config.class_names)},
          {"defaults",
           {{"cfg", decimal(config.default_cfg)},
            {"top_k", config.default_top_k},
            {"top_p", decimal(config.default_top_p)}}}};
}

std::string impossible_setting(const VarConfig& config) {
  return refusal_of([&] { parse_var_config(to_json(config)); });
}

}  // namespace nextscale
