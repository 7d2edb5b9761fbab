// SPDX-License-Identifier: Apache-2.0
// The table of model families, and the way from a model folder to a description.
#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string_view>

#include "models/convert.h"
#include "models/model.h"

namespace nextscale {

// A model folder, and the size of pictures that is asked of it (empty: the model's own).
struct ModelSource {
  const nlohmann::json& config;
  std::filesystem::path folder;
  std::string size = {};
};

struct FamilyRow {
  std::string_view name;
  std::string_view summary;
  std::string_view citation;
  std::unique_ptr<ModelDescription> (*describe)(const ModelSource& source);
  // Makes a model folder from official checkpoint files.
  void (*convert)(const ConvertOptions& options, const ConvertProgress& progress);
};

std::span<const FamilyRow> family_table();

// Throws Error(kUsage) with the nearest names if there is no such family.
const FamilyRow& find_family(std::string_view name);

// Throws Error(kUnsupported) with the nearest names if the family is unknown, and whatever the
// family says about its config and the size.
std::unique_ptr<ModelDescription> describe_model(const std::string& family,
                                                 const ModelSource& source);

}  // namespace nextscale
