// SPDX-License-Identifier: Apache-2.0
// Feeds files to the importers of published rankings and budgets.
#include "calibrate/import_rankings.h"
#include "fuzz/memory_file.h"
#include "nextscale/error.h"

namespace {

// Of the seeds.
const nextscale::Geometry kGeometry{.layers = 3,
                                    .query_heads = 2,
                                    .kv_heads = 2,
                                    .head_dim = 8,
                                    .scales = {{1, 1}, {2, 3}, {4, 4}, {6, 5}}};

template <typename Import>
void try_import(const Import& import, const nextscale::MemoryFile& file) {
  nextscale::Calibration calibration;
  calibration.layers = kGeometry.layers;
  calibration.kv_heads = kGeometry.kv_heads;
  calibration.scales = kGeometry.scales;
  try {
    import(file.path(), kGeometry, calibration);
  } catch (const nextscale::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const nextscale::MemoryFile file(data, size);
  try_import(nextscale::import_heatkv_orders, file);
  try_import(nextscale::import_scalekv_budgets, file);
  return 0;
}
