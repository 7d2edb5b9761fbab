// SPDX-License-Identifier: Apache-2.0
// The next-scale loop: transformer, logits, sampling, quantizer, scale after scale.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "models/model.h"
#include "scales/sampler.h"

namespace nextscale {

// Told after every scale, before the next one starts.
struct ScaleDone {
  int scale = 0;
  double milliseconds = 0;
  std::span<const int32_t> labels{};  // chosen: [images, tokens, labels per token]
};

struct LoopSettings {
  SamplerSettings sampler;
  uint64_t seed = 0;
  std::vector<uint32_t> image_indices;  // of each image of the batch in its request
  std::vector<float> tau{};             // what logits are divided by, per scale; empty: nothing
  // Labels to take instead of the sampled ones, per scale [images, tokens of the scale, labels per
  // token]; empty: none.
  std::vector<std::vector<int32_t>> forced_labels{};
  std::function<void(const ScaleDone&)> on_scale;  // may be empty
};

// Buffers of the loop itself.
struct LoopBuffers {
  std::span<float> logits;
  std::span<int32_t> labels;
};

// What the loop needs beside the model's own memory: buffers, and scratch for sampling.
size_t loop_buffer_bytes(const ModelDescription& model, const Batch& batch);
LoopBuffers take_loop_buffers(const ModelDescription& model, const Batch& batch, Arena& arena);

// Runs all scales. Afterwards `run` can decode its pictures. Throws Error(kCancelled).
void run_scales(const Context& context, const ModelDescription& model, const Batch& batch,
                const LoopSettings& settings, const LoopBuffers& buffers,
                CachedAttention& attention, ScaleRun& run);

}  // namespace nextscale
