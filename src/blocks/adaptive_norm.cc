// SPDX-License-Identifier: Apache-2.0
#include "blocks/adaptive_norm.h"

#include <algorithm>

namespace nextscale {
namespace {

enum HeadVector { kHeadScale, kHeadShift, kNumHeadVectors };

kernels::LinearSpec product(int64_t in, int64_t out, DType compute) {
  return {.in_features = in, .out_features = out, .compute = compute};
}

size_t activated_bytes(int64_t rows, int64_t width, DType compute) {
  return Arena::rounded(static_cast<size_t>(rows * width) * dtype_bytes(compute));
}

// silu(condition) in the type of the products; lies in scratch memory.
const void* activate(const Context& context, const float* condition, int64_t count, DType compute) {
  void* out = context.scratch->take_bytes(static_cast<size_t>(count) * dtype_bytes(compute));
  context.kernels->silu(context, condition, out, compute, count);
  return out;
}

}  // namespace

BlockModulations::BlockModulations(const AdaptiveNormShape& shape, const BlockName& name,
                                   WeightLoader& loader)
    : shape_(shape) {
  const kernels::LinearSpec spec =
      product(shape.width, kNumBlockVectors * shape.width, shape.compute);
  if (shape.is_shared) products_.push_back(loader.linear("shared_ada_lin.1", spec));
  for (int64_t layer = 0; layer < shape.layers; ++layer) {
    if (shape.is_shared) {
      constants_.push_back(
          loader.values(name(layer) + "ada_gss", Shape{1, 1, kNumBlockVectors, shape.width}));
    } else {
      products_.push_back(loader.linear(name(layer) + "ada_lin.1", spec));
    }
  }
}

void BlockModulations::prepare(int64_t rows) {
  for (auto& each : products_) each->prepare(rows);
}

void BlockModulations::run(const Context& context, const float* condition, int64_t rows,
                           float* vectors) const {
  const ArenaScope scope(*context.scratch);
  const int64_t row_floats = kNumBlockVectors * shape_.width;
  const void* activated = activate(context, condition, rows * shape_.width, shape_.compute);
  for (size_t layer = 0; layer < products_.size(); ++layer) {
    products_[layer]->run(context, activated,
                          vectors + static_cast<int64_t>(layer) * rows * row_floats, rows);
  }
  // The shared vectors, so far those of the first block, serve every block after adding its
  // constant.
  for (size_t layer = constants_.size(); layer-- > 0;) {
    for (int64_t row = 0; row < rows; ++row) {
      float* out = vectors + (static_cast<int64_t>(layer) * rows + row) * row_floats;
      if (layer > 0) std::copy_n(vectors + row * row_floats, row_floats, out);
      context.kernels->add(context, out, constants_[layer].data(), row_floats);
    }
  }
}

Modulation BlockModulations::layer(const float* vectors, int64_t rows, int64_t layer) const {
  const int64_t width = shape_.width;
  const int64_t stride = kNumBlockVectors * width;
  const float* own = vectors + layer * rows * stride;
  return {.attention = {.gate = own + kGamma1 * width,
                        .scale = own + kScale1 * width,
                        .shift = own + kShift1 * width},
          .ffn = {.gate = own + kGamma2 * width,
                  .scale = own + kScale2 * width,
                  .shift = own + kShift2 * width},
          .stride = stride};
}

int64_t BlockModulations::floats(const AdaptiveNormShape& shape, int64_t rows) {
  return shape.layers * rows * kNumBlockVectors * shape.width;
}

size_t BlockModulations::bytes(const Context& context, const AdaptiveNormShape& shape) {
  const auto layers = static_cast<size_t>(shape.layers);
  const size_t each = context.kernels->linear_bytes(
      context, product(shape.width, kNumBlockVectors * shape.width, shape.compute));
  if (!shape.is_shared) return layers * each;
  return each + layers * static_cast<size_t>(kNumBlockVectors * shape.width) * sizeof(float);
}

size_t BlockModulations::scratch_bytes(const AdaptiveNormShape& shape, int64_t rows) {
  return activated_bytes(rows, shape.width, shape.compute);
}

ModulatedHead::ModulatedHead(const HeadShape& shape, WeightLoader& loader)
    : shape_(shape),
      modulation_(loader.linear(
          "head_nm.ada_lin.1",
          product(shape.width, kNumHeadVectors * shape.width, shape.modulation_compute))),
      head_(loader.linear("head", product(shape.width, shape.logits, shape.compute))) {}

void ModulatedHead::prepare_modulation(int64_t rows) { modulation_->prepare(rows); }

void ModulatedHead::modulate(const Context& context, const float* condition, int64_t rows,
                             float* vectors) const {
  const ArenaScope scope(*context.scratch);
  const void* activated =
      activate(context, condition, rows * shape_.width, shape_.modulation_compute);
  modulation_->run(context, activated, vectors, rows);
}

void ModulatedHead::prepare(int64_t num_tokens) { head_->prepare(num_tokens); }

void ModulatedHead::run(const Context& context, const Input& input, float* out) const {
  const ArenaScope scope(*context.scratch);
  const int64_t num_tokens = input.rows * input.tokens;
  void* normed = context.scratch->take_bytes(static_cast<size_t>(num_tokens * shape_.width) *
                                             dtype_bytes(shape_.compute));
  context.kernels->layer_norm(context, {.x = input.x,
                                        .scale = input.vectors + kHeadScale * shape_.width,
                                        .shift = input.vectors + kHeadShift * shape_.width,
                                        .modulation_stride = kNumHeadVectors * shape_.width,
                                        .rows = input.rows,
                                        .tokens = input.tokens,
                                        .width = shape_.width,
                                        .epsilon = shape_.norm_epsilon,
                                        .out = normed,
                                        .out_dtype = shape_.compute});
  head_->run(context, normed, out, num_tokens);
}

int64_t ModulatedHead::floats(const HeadShape& shape, int64_t rows) {
  return rows * kNumHeadVectors * shape.width;
}

size_t ModulatedHead::bytes(const Context& context, const HeadShape& shape) {
  return context.kernels->linear_bytes(context, product(shape.width, kNumHeadVectors * shape.width,
                                                        shape.modulation_compute)) +
         context.kernels->linear_bytes(context, product(shape.width, shape.logits, shape.compute));
}

size_t ModulatedHead::modulation_scratch_bytes(const HeadShape& shape, int64_t rows) {
  return activated_bytes(rows, shape.width, shape.modulation_compute);
}

size_t ModulatedHead::scratch_bytes(const HeadShape& shape, int64_t num_tokens) {
  return activated_bytes(num_tokens, shape.width, shape.compute);
}

}  // namespace nextscale
