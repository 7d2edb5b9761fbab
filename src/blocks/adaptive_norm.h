// SPDX-License-Identifier: Apache-2.0
// Adaptive norms (AdaLN): from one vector per row, which stands for the condition, to the vectors
// that modulate the blocks and the head of a transformer. They depend on the condition alone, so
// they are computed once per batch. Names are the official ones of VAR and its descendants. The
// matrices of the blocks, a third of VAR's weights, stay in their file and are read once per batch;
// the head's are packed and owned. One thread at a time.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "blocks/transformer_block.h"
#include "blocks/weight_loader.h"
#include "core/context.h"
#include "kernels/kernels.h"

namespace nextscale {

// Vectors of one block, in this order, each as wide as the model.
enum BlockVector { kGamma1, kGamma2, kScale1, kScale2, kShift1, kShift2, kNumBlockVectors };

struct AdaptiveNormShape {
  int64_t width = 0;
  int64_t layers = 0;
  bool is_shared = false;  // one product for all blocks, to which each adds a constant
  DType compute = DType::kF32;
};

class BlockModulations {
 public:
  // Gives the prefix of a layer's tensors: "blocks.3.".
  using BlockName = std::function<std::string(int64_t layer)>;

  BlockModulations(const AdaptiveNormShape& shape, const BlockName& name, WeightLoader& loader);

  void prepare(int64_t rows);
  // condition [rows, width] to vectors [layers, rows, kNumBlockVectors, width].
  void run(const Context& context, const float* condition, int64_t rows, float* vectors) const;
  // Those of one layer, in what run() wrote.
  Modulation layer(const float* vectors, int64_t rows, int64_t layer) const;

  static int64_t floats(const AdaptiveNormShape& shape, int64_t rows);
  static size_t bytes(const AdaptiveNormShape& shape);
  // Taken from context.scratch by run().
  static size_t scratch_bytes(const Context& context, const AdaptiveNormShape& shape, int64_t rows);

 private:
  AdaptiveNormShape shape_;
  std::vector<std::unique_ptr<kernels::Linear>> products_;  // one, or one per layer
  std::vector<std::vector<float>> constants_;  // if shared: per layer [kNumBlockVectors, width]
};

struct HeadShape {
  int64_t width = 0;
  int64_t logits = 0;  // per token
  float norm_epsilon = 1e-6F;
  DType modulation_compute = DType::kF32;
  DType compute = DType::kF32;
};

// LN(x) * (1 + scale) + shift, then the product that gives the logits.
class ModulatedHead {
 public:
  ModulatedHead(const HeadShape& shape, WeightLoader& loader);

  void prepare_modulation(int64_t rows);
  // condition [rows, width] to vectors [rows, 2, width]: scale, shift.
  void modulate(const Context& context, const float* condition, int64_t rows, float* vectors) const;

  void prepare(int64_t num_tokens);
  // x [rows, tokens, width] to out [rows, tokens, logits]; `vectors` are those of these rows.
  struct Input {
    const float* x = nullptr;
    const float* vectors = nullptr;
    int64_t rows = 0;
    int64_t tokens = 0;
  };
  void run(const Context& context, const Input& input, float* out) const;

  static int64_t floats(const HeadShape& shape, int64_t rows);
  static size_t bytes(const Context& context, const HeadShape& shape);
  // Taken from context.scratch by modulate() and by run().
  static size_t modulation_scratch_bytes(const Context& context, const HeadShape& shape,
                                         int64_t rows);
  static size_t scratch_bytes(const Context& context, const HeadShape& shape, int64_t num_tokens);

 private:
  HeadShape shape_;
  std::unique_ptr<kernels::Linear> modulation_;
  std::unique_ptr<kernels::Linear> head_;
};

}  // namespace nextscale
