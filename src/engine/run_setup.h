// SPDX-License-Identifier: Apache-2.0
// What every run with these options starts from, whatever the model: operators, threads, types, and
// the memory that is taken or free before a model is there. Plans and runs share it, so that what
// is printed is what is allocated. Plain data; no ownership.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include "core/context.h"
#include "models/model.h"
#include "nextscale/engine.h"

namespace nextscale {

// Strips of the decoder, fastest first; the last still makes progress when memory is short.
inline constexpr std::array<size_t, 2> kDecoderStrips{size_t{32} << 20, size_t{4} << 20};

struct RunSetup {
  Context context;
  RunTypes types;  // with the fastest strips
  size_t process_bytes = 0;
};

RunSetup run_setup(const EngineOptions& options);

// What the automatic types are here.
RunTypes run_types(Precision dtype, Precision kv_dtype);

// The type as --dtype and --kv-dtype spell it.
std::string_view precision_name(DType dtype);

// Bytes that a run may take in all, this process included: the limit that was set, or what the
// machine has free.
size_t usable_bytes(const EngineOptions& options);

}  // namespace nextscale
