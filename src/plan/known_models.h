// SPDX-License-Identifier: Apache-2.0
// The published models whose cost can be planned without having them: shape, picture sizes,
// parameters, and how the papers count them. Constant data; thread safe.
//
// Not a list of what this engine runs (models/registry.h is); a model that runs is planned from its
// own description, of which this table knows the official settings.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "core/geometry.h"

namespace nextscale {

// A picture size that a model is made for.
struct PictureSize {
  std::string_view name;               // "1M", or the side where no other name is used
  int64_t side = 0;                    // pixels of the square picture
  std::span<const int64_t> maps = {};  // side of every token map; empty: Infinity's schedule
  int num_scales = 0;                  // of Infinity's schedule
};

// Text tokens in the same self-attention cache as the picture's.
struct TextPrefix {
  enum class Place {
    kNone,
    kFirstMap,  // instead of the 1x1 map, which is read off the last of them (HART)
    kOwnStep,   // before the first map (OneCAT)
  };
  Place place = Place::kNone;
  int64_t tokens = 0;
};

struct ParameterCount {
  std::string_view part;
  int64_t parameters = 0;
};

struct KnownModel {
  std::string_view name;
  std::string_view family;
  int64_t layers = 0;
  int64_t query_heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  std::span<const PictureSize> sizes;  // the default first
  TextPrefix text = {};
  // Bytes of one key element and one value element, as the papers cache them.
  int64_t paper_pair_bytes = 0;
  std::span<const ParameterCount> parameters = {};  // of models that do not run here
  // What else a run takes that no figure here holds; may be empty.
  std::string_view uncounted = {};
};

std::span<const KnownModel> known_models();

// Null if there is none of this name.
const KnownModel* find_known_model(std::string_view name);

// One picture of a model: height over width is 1 but for Infinity's schedules.
struct PictureChoice {
  const PictureSize* size = nullptr;
  double aspect = 1.0;
};

// What `text` means: the default if it is empty, a size by its name or side, or for models with
// Infinity's schedules what find_infinity_picture() reads. Throws Error(kUsage) naming what the
// model makes.
PictureChoice find_picture(const KnownModel& model, std::string_view text);

// The shape that caches and policies of this engine see: text is a step of its own or part of the
// first map.
Geometry engine_geometry(const KnownModel& model, const PictureChoice& picture);

Grid picture_pixels(const KnownModel& model, const PictureChoice& picture);

// The shape as the papers count it (methods.md 15.1): HART's text comes on top of the 1x1 map,
// OneCAT's is attended but neither cached nor part of the sequence.
struct PaperModel {
  Geometry geometry;
  int64_t attended_prompt = 0;
  int64_t pair_bytes = 0;  // of one key element and one value element
};
PaperModel paper_model(const KnownModel& model, const PictureChoice& picture);

// Bytes per pair for models of a family, known or not; 0 if no paper has counted it.
int64_t paper_pair_bytes(std::string_view family);

}  // namespace nextscale
