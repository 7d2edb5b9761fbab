// SPDX-License-Identifier: Apache-2.0
// The encoder of T5: token ids → one vector per token (specs: T5Config). Texts of any number and
// length run together, one behind the other; each result is what the text alone would give, to the
// bit, whatever the threads.
//
// The weights stay in the file: encode() packs one layer at a time and lets go of it, so that
// neither before nor after the call anything of them is in memory. That costs reading the file once
// per call (seconds for billions of weights), hence many prompts belong into one call.
//
//   const T5Encoder encoder(config, folder / "text_encoder.safetensors", DType::kBF16);
//   const std::vector<Tensor> features = encoder.encode(context, prompts);
//
// Owns the mapped file. One encode() at a time.
#pragma once

#include <filesystem>
#include <span>
#include <vector>

#include "core/context.h"
#include "kernels/kernels.h"
#include "models/text/t5_config.h"
#include "weights/safetensors.h"

namespace nextscale {

// What encode() takes at its largest, in bytes. All of it is gone afterwards but the features.
struct T5Memory {
  size_t weights = 0;      // one packed layer, and what packing it takes
  size_t activations = 0;  // of the texts that run together
  size_t features = 0;     // results of all texts

  size_t peak() const { return weights + activations + features; }
};

class T5Encoder {
 public:
  // Opens the file; reads no weights. `compute` is the type of the products, f32 or bf16. Throws
  // Error: kNotFound, kBadFile, kIo.
  T5Encoder(const T5Config& config, const std::filesystem::path& weights, DType compute);

  // For every prompt, which has at least one id, a tensor [ids, width] f32. Throws
  // Error: kMismatch (an id without a row in the table, or tensors that do not fit the config),
  // kMemory, kCancelled between layers.
  std::vector<Tensor> encode(const Context& context,
                             std::span<const std::vector<int32_t>> prompts) const;

  // What encode() will take for prompts of these numbers of ids.
  T5Memory memory(const Context& context, std::span<const int64_t> lengths) const;

  const T5Config& config() const { return config_; }

 private:
  T5Config config_;
  SafetensorsFile file_;
  DType compute_;
};

}  // namespace nextscale
