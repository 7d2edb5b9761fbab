// SPDX-License-Identifier: Apache-2.0
#include "plan/known_models.h"

#include <fmt/ranges.h>

#include <array>
#include <string>

#include "core/error_format.h"
#include "models/infinity/picture_size.h"
#include "models/infinity/schedules.h"

namespace nextscale {
namespace {

using Place = TextPrefix::Place;

// Of the last map in each direction, in all these families.
constexpr int64_t kPixelsPerToken = 16;

constexpr std::array<int64_t, 10> kVar256{1, 2, 3, 4, 5, 6, 8, 10, 13, 16};
constexpr std::array<int64_t, 10> kVar512{1, 2, 3, 4, 6, 9, 13, 18, 24, 32};
constexpr std::array<int64_t, 14> kHart1024{1, 2, 3, 4, 5, 7, 9, 12, 16, 21, 27, 36, 48, 64};

constexpr std::array kVarSizes{PictureSize{.name = "256", .side = 256, .maps = kVar256}};
constexpr std::array kVarLargeSizes{PictureSize{.name = "512", .side = 512, .maps = kVar512}};
constexpr std::array kHartSizes{PictureSize{.name = "1024", .side = 1024, .maps = kHart1024}};

constexpr PictureSize k006M{.name = "0.06M", .side = 256, .num_scales = 7};
constexpr PictureSize k025M{.name = "0.25M", .side = 512, .num_scales = 10};
constexpr PictureSize k060M{.name = "0.60M", .side = 768, .num_scales = 12};
constexpr PictureSize k1M{.name = "1M", .side = 1024, .num_scales = kInfinityScales};

constexpr std::array kInfinitySmallSizes{k006M, k025M, k060M, k1M};
constexpr std::array kInfinitySizes{k1M, k060M, k025M, k006M};
constexpr std::array kVargptSizes{k025M};
constexpr std::array kOnecatSizes{k1M, k025M};

// Keys are cached in f32 and values in bf16 by the official code of VAR and Infinity; the others
// cache both in 16 bit.
constexpr int64_t kMixedPair = 6;
constexpr int64_t kHalfPair = 4;

// Of models that do not run here, counted from the official tensor lists; of text encoders what
// makes hidden states, of picture tokenizers what decodes.
constexpr std::array kHart{ParameterCount{"transformer", 732'399'168},
                           ParameterCount{"text encoder (Qwen2-1.5B)", 1'543'714'304},
                           ParameterCount{"picture decoder", 64'831'235}};
constexpr std::array kVargpt{ParameterCount{"visual decoder", 2'204'697'152},
                             ParameterCount{"language model (Qwen2-VL-7B)", 7'615'616'512},
                             ParameterCount{"projectors", 31'730'688},
                             ParameterCount{"picture decoder", 65'092'355}};
constexpr std::array kOnecat{ParameterCount{"transformer with three experts", 9'452'669'024},
                             ParameterCount{"picture decoder", 65'092'355}};

constexpr std::string_view kTextEncoder =
    "the text encoder, which is read layer by layer and released before the first scale";
constexpr std::string_view kVargptUncounted =
    "keys and values of the prompt for cross-attention, and the language model's own cache (57344 "
    "bytes in 16 bit for every token of text and picture)";

constexpr std::array kModels{
    KnownModel{"var-d16", "var", 16, 16, 16, 64, kVarSizes, {}, kMixedPair},
    KnownModel{"var-d20", "var", 20, 20, 20, 64, kVarSizes, {}, kMixedPair},
    KnownModel{"var-d24", "var", 24, 24, 24, 64, kVarSizes, {}, kMixedPair},
    KnownModel{"var-d30", "var", 30, 30, 30, 64, kVarSizes, {}, kMixedPair},
    KnownModel{"var-d36", "var", 36, 36, 36, 64, kVarLargeSizes, {}, kMixedPair},
    KnownModel{"infinity-125m",
               "infinity",
               12,
               8,
               8,
               96,
               kInfinitySmallSizes,
               {},
               kMixedPair,
               {},
               kTextEncoder},
    KnownModel{"infinity-2b",
               "infinity",
               32,
               16,
               16,
               128,
               kInfinitySizes,
               {},
               kMixedPair,
               {},
               kTextEncoder},
    KnownModel{"infinity-8b",
               "infinity",
               40,
               28,
               28,
               128,
               kInfinitySizes,
               {},
               kMixedPair,
               {},
               kTextEncoder},
    KnownModel{
        "hart", "hart", 24, 24, 24, 64, kHartSizes, {Place::kFirstMap, 300}, kHalfPair, kHart},
    KnownModel{"vargpt-v1.1",
               "vargpt",
               32,
               16,
               16,
               128,
               kVargptSizes,
               {},
               kHalfPair,
               kVargpt,
               kVargptUncounted},
    KnownModel{"onecat-3b",
               "onecat",
               36,
               16,
               2,
               128,
               kOnecatSizes,
               {Place::kOwnStep, 43},
               kHalfPair,
               kOnecat},
};

std::vector<Grid> picture_maps(const PictureChoice& picture) {
  const PictureSize& size = *picture.size;
  if (size.maps.empty()) return infinity_schedule(picture.aspect, size.num_scales);
  std::vector<Grid> maps;
  for (const int64_t side : size.maps) maps.push_back({side, side});
  return maps;
}

Geometry picture_geometry(const KnownModel& model, const PictureChoice& picture) {
  return {.layers = model.layers,
          .query_heads = model.query_heads,
          .kv_heads = model.kv_heads,
          .head_dim = model.head_dim,
          .scales = picture_maps(picture)};
}

bool is_named(const PictureSize& size, std::string_view text) {
  return text == size.name || text == std::to_string(size.side);
}

// "256", or "1M (1024), 0.25M (512)".
std::string names_of(std::span<const PictureSize> sizes) {
  std::vector<std::string> names;
  for (const PictureSize& size : sizes) {
    const std::string side = std::to_string(size.side);
    names.push_back(size.name == side ? side : fmt::format("{} ({})", size.name, side));
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace

std::span<const KnownModel> known_models() { return kModels; }

const KnownModel* find_known_model(std::string_view name) {
  for (const KnownModel& model : kModels) {
    if (model.name == name) return &model;
  }
  return nullptr;
}

PictureChoice find_picture(const KnownModel& model, std::string_view text) {
  if (text.empty()) return {.size = &model.sizes.front()};
  for (const PictureSize& size : model.sizes) {
    if (is_named(size, text)) return {.size = &size};
  }
  const bool has_shapes = model.sizes.front().maps.empty();
  const auto picture = has_shapes ? find_infinity_picture(text) : std::nullopt;
  for (const PictureSize& size : model.sizes) {
    if (picture && picture->num_scales == size.num_scales) return {&size, picture->aspect};
  }
  fail(ErrorCode::kUsage, "--size: {} makes no pictures of '{}', wanted {}{}", model.name,
       printable(text), names_of(model.sizes), has_shapes ? ", or another shape as 3:2@1M" : "");
}

Grid picture_pixels(const KnownModel& model, const PictureChoice& picture) {
  const Grid last = picture_geometry(model, picture).scales.back();
  return {kPixelsPerToken * last.height, kPixelsPerToken * last.width};
}

Geometry engine_geometry(const KnownModel& model, const PictureChoice& picture) {
  Geometry geometry = picture_geometry(model, picture);
  const Grid text{1, model.text.tokens};
  if (model.text.place == Place::kFirstMap) geometry.scales.front() = text;
  if (model.text.place == Place::kOwnStep) {
    geometry.scales.insert(geometry.scales.begin(), text);
  }
  return geometry;
}

PaperModel paper_model(const KnownModel& model, const PictureChoice& picture) {
  PaperModel result{.geometry = picture_geometry(model, picture),
                    .pair_bytes = model.paper_pair_bytes};
  if (model.text.place == Place::kFirstMap) {
    result.geometry.scales.front() = {1, model.text.tokens + 1};
  }
  if (model.text.place == Place::kOwnStep) result.attended_prompt = model.text.tokens;
  return result;
}

int64_t paper_pair_bytes(std::string_view family) {
  for (const KnownModel& model : kModels) {
    if (model.family == family) return model.paper_pair_bytes;
  }
  return 0;
}

}  // namespace nextscale
