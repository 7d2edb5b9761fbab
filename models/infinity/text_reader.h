// SPDX-License-Identifier: Apache-2.0
// From the features of texts to what Infinity's transformer reads of them: one pooled vector per
// row, which is its condition and its first token, and one vector per text token, which the layers
// attend (specs/infinity.md section 6). Texts of several rows lie one behind the other; a row's
// results depend on its own text alone. Always in f32, as officially.
//
// Owns its packed weights; one thread at a time.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "blocks/weight_loader.h"
#include "core/context.h"
#include "kernels/kernels.h"
#include "models/infinity/config.h"
#include "models/model.h"

namespace nextscale {

class TextReader {
 public:
  // `source_dtype` is the type of the vectors that the layers attend: f32 or bf16.
  TextReader(const InfinityConfig& config, DType source_dtype, WeightLoader& loader);

  // The model's own "no text", as long as the text that it is set against.
  TextView no_text(int64_t tokens) const { return {unconditional_.data(), tokens}; }

  // Readies run() for so many rows with so many tokens in all.
  void prepare(int64_t rows, int64_t tokens);
  // pooled [rows, width]; source [tokens, width] in the source's type.
  void run(const Context& context, std::span<const TextView> rows, float* pooled,
           void* source) const;

  static size_t bytes(const Context& context, const InfinityConfig& config, DType source_dtype);
  // Taken from context.scratch by run().
  static size_t scratch_bytes(const Context& context, const InfinityConfig& config, int64_t rows,
                              int64_t tokens);

 private:
  void normalize(const Context& context, std::span<const TextView> rows, float* out) const;
  void pool(const Context& context, std::span<const TextView> rows, const float* normed,
            float* pooled) const;

  InfinityConfig config_;
  std::vector<float> unconditional_;           // [text_tokens, text_channels]
  std::vector<float> norm_;                    // [text_channels]
  std::vector<float> pool_queries_;            // [pool_heads, width / pool_heads]
  std::unique_ptr<kernels::Linear> pool_kv_;   // [2 width, text_channels]: k, v
  std::unique_ptr<kernels::Linear> pool_out_;  // [width, width]
  std::unique_ptr<kernels::Linear> source_1_;  // [width, text_channels] with activation
  std::unique_ptr<kernels::Linear> source_2_;  // [width, width]
};

}  // namespace nextscale
