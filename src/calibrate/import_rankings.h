// SPDX-License-Identifier: Apache-2.0
// Published results of other methods' calibrations, read as their authors wrote them and put into a
// Calibration: HeatKV's orders/*.json and ScaleKV's budgets/*.json (specs: methods.md 12.2, 13.1).
// Thread safe.
#pragma once

#include <filesystem>

#include "core/geometry.h"
#include "policies/calibration.h"

namespace nextscale {

// HeatKV: per source scale a list of all [head, layer], the least needed first. As many lists as
// scales can be removed; the last belongs to the last scale but one. Replaces removal_orders.
// Throws Error: kNotFound, kBadFile, kMismatch (of another geometry).
void import_heatkv_orders(const std::filesystem::path& path, const Geometry& geometry,
                          Calibration& calibration);

// ScaleKV: per scale ("Scale 9", counted from 1) the role of every block and the budgets of both
// roles. Replaces layer_budgets and drafters. Throws as above.
void import_scalekv_budgets(const std::filesystem::path& path, const Geometry& geometry,
                            Calibration& calibration);

}  // namespace nextscale
