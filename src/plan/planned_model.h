// SPDX-License-Identifier: Apache-2.0
// The model that a plan is for: a model folder, or a published model known by name. Nothing is
// loaded; of a folder only the config is read.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "models/model.h"
#include "plan/known_models.h"
#include "weights/model_folder.h"

namespace nextscale {

// As a person writes it.
struct ModelChoice {
  std::string model;  // a folder, or a name of known_models()
  std::string size;   // as find_picture() reads it; empty: the model's own
};

struct PlannedModel {
  std::string name;
  std::string family;
  std::string size = {};  // by name, of a published model that has several
  Grid pixels = {};
  Geometry geometry = {};  // as caches and policies of this engine see it
  // Null for models of families that this engine does not run yet.
  std::unique_ptr<ModelDescription> description;
  std::optional<ModelFolder> folder = {};  // absent for published models
  // What stands in for the description: counted parameters.
  std::span<const ParameterCount> parameters = {};
  std::string_view uncounted = {};  // what else a run takes
  PaperModel paper = {};
};

// Throws Error: kUsage or kNotFound with the nearest names for a model that is neither, kUsage for
// a size that the model does not have, and what reading the folder throws.
PlannedModel choose_model(const ModelChoice& choice);

}  // namespace nextscale
