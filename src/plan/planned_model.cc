// SPDX-License-Identifier: Apache-2.0
#include "plan/planned_model.h"

#include <algorithm>
#include <filesystem>
#include <utility>
#include <vector>

#include "core/error_format.h"
#include "core/suggest.h"
#include "models/infinity/infinity_model.h"
#include "models/infinity/picture_size.h"
#include "models/infinity/published.h"
#include "models/registry.h"
#include "models/var/imagenet_classes.h"
#include "models/var/var_model.h"
#include "weights/model_folder.h"

namespace nextscale {
namespace {

namespace fs = std::filesystem;

// The published VAR models (specs of the official repository): everything follows from the depth.
VarConfig published_var(const KnownModel& model, const PictureSize& size) {
  constexpr int64_t kSharedAdalnDepth = 36;
  return {.layers = model.layers,
          .heads = model.query_heads,
          .head_dim = model.head_dim,
          .width = model.query_heads * model.head_dim,
          .ffn_width = 4 * model.query_heads * model.head_dim,
          .classes = 1000,
          .vocab = 4096,
          .latent_channels = 32,
          .patch_nums = {size.maps.begin(), size.maps.end()},
          .shared_adaln = model.layers == kSharedAdalnDepth,
          .base_channels = 160,
          .channel_multipliers = {1, 1, 2, 2, 4},
          .num_res_blocks = 2,
          .num_phi_convs = 4,
          .default_cfg = 1.5F,
          .default_top_k = 900,
          .default_top_p = 0.96F,
          .class_names = imagenet_class_names()};
}

// The text that means exactly this picture, for Infinity's schedules.
std::string size_text(const PictureChoice& picture) {
  return picture_text({.aspect = picture.aspect, .num_scales = picture.size->num_scales});
}

std::unique_ptr<ModelDescription> describe_known(const KnownModel& model,
                                                 const PictureChoice& picture) {
  if (model.family == "var") return describe_var(published_var(model, *picture.size), {});
  constexpr std::string_view kInfinityPrefix = "infinity-";
  if (!model.name.starts_with(kInfinityPrefix)) return nullptr;
  const auto* published = find_published_infinity(model.name.substr(kInfinityPrefix.size()));
  NEXTSCALE_ASSERT(published != nullptr);
  return describe_infinity(infinity_config(*published), {}, size_text(picture));
}

PlannedModel plan_known(const KnownModel& model, const ModelChoice& choice) {
  const PictureChoice picture = find_picture(model, choice.size);
  PlannedModel result{.name = std::string(model.name),
                      .family = std::string(model.family),
                      .size = std::string(picture.size->name),
                      .pixels = picture_pixels(model, picture),
                      .geometry = engine_geometry(model, picture),
                      .description = describe_known(model, picture),
                      .parameters = model.parameters,
                      .uncounted = model.uncounted,
                      .paper = paper_model(model, picture)};
  if (result.description != nullptr) result.geometry = result.description->geometry();
  return result;
}

PlannedModel plan_folder(const ModelChoice& choice) {
  ModelFolder folder = open_model_folder(choice.model);
  PlannedModel result{
      .name = choice.model,
      .family = folder.family,
      .description = describe_model(
          folder.family, {.config = folder.config, .folder = folder.path, .size = choice.size})};
  result.size = result.description->size();
  result.pixels = result.description->image_pixels();
  result.geometry = result.description->geometry();
  result.paper = {.geometry = result.geometry, .pair_bytes = paper_pair_bytes(folder.family)};
  result.folder = std::move(folder);
  return result;
}

[[noreturn]] void refuse(const std::string& name) {
  std::vector<std::string_view> names;
  for (const KnownModel& model : known_models()) names.push_back(model.name);
  fail(ErrorCode::kNotFound,
       "-m: '{}' is neither a model folder nor a known model{}; `nextscale plan --help` lists them",
       printable(name), did_you_mean(name, names));
}

}  // namespace

// A folder comes first: `convert -o var-d16` makes one that is called like the known model.
PlannedModel choose_model(const ModelChoice& choice) {
  if (fs::exists(fs::path(choice.model) / kModelConfigName)) return plan_folder(choice);
  if (const KnownModel* known = find_known_model(choice.model)) return plan_known(*known, choice);
  if (fs::exists(choice.model)) return plan_folder(choice);
  refuse(choice.model);
}

}  // namespace nextscale
