// SPDX-License-Identifier: Apache-2.0
#include "blocks/adaptive_norm.h"

#include <algorithm>

#include "core/stage_times.h"

namespace nextscale {
namespace {

enum HeadVector { kHeadScale, kHeadShift, kNumHeadVectors };

kernels::LinearSpec product(int64_t in, int64_t out, DType compute) {
  return {.in_features = in, .out_features = out, .compute = compute};
}

// Scratch memory of a product and of what it multiplies.
size_t product_scratch(const Context& context, const kernels::LinearSpec& spec, int64_t rows) {
  const size_t x_bytes = static_cast<size_t>(rows * spec.in_features) *
                         dtype_bytes(kernels::activation_type(spec.compute));
  return Arena::rounded(x_bytes) + context.kernels->linear_scratch(context, spec, rows);
}

// silu(condition) as such products read it; lies in scratch memory.
const void* activate(const Context& context, const float* condition, int64_t count, DType compute) {
  const DType dtype = kernels::activation_type(compute);
  void* out = context.scratch->take_bytes(static_cast<size_t>(count) * dtype_bytes(dtype));
  context.kernels->silu(context, condition, out, dtype, count);
  return out;
}

kernels::LinearSpec block_product(const AdaptiveNormShape& shape) {
  return product(shape.width, kNumBlockVectors * shape.width, shape.compute);
}

kernels::LinearSpec modulation_product(const HeadShape& shape) {
  return product(shape.width, kNumHeadVectors * shape.width, shape.modulation_compute);
}

kernels::LinearSpec logits_product(const HeadShape& shape) {
  return product(shape.width, shape.logits, shape.compute);
}

}  // namespace

BlockModulations::BlockModulations(const AdaptiveNormShape& shape, const BlockName& name,
                                   WeightLoader& loader)
    : shape_(shape) {
  const kernels::LinearSpec spec = block_product(shape);
  if (shape.is_shared) products_.push_back(loader.stored_linear("shared_ada_lin.1", spec));
  for (int64_t layer = 0; layer < shape.layers; ++layer) {
    if (shape.is_shared) {
      constants_.push_back(
          loader.values(name(layer) + "ada_gss", Shape{1, 1, kNumBlockVectors, shape.width}));
    } else {
      products_.push_back(loader.stored_linear(name(layer) + "ada_lin.1", spec));
    }
  }
}

void BlockModulations::prepare(int64_t rows) {
  for (auto& each : products_) each->prepare(rows);
}

void BlockModulations::run(const Context& context, const float* condition, int64_t rows,
                           float* vectors) const {
  StageClock clock(context.stages);
  const ArenaScope scope(*context.scratch);
  const int64_t row_floats = kNumBlockVectors * shape_.width;
  const void* activated = activate(context, condition, rows * shape_.width, DType::kF32);
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
  clock.lap(Stage::kNorms);
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

size_t BlockModulations::bytes(const AdaptiveNormShape& shape) {
  // Of the products only the biases are held; a shared one's layers have as many constants.
  const int64_t vectors = shape.is_shared ? shape.layers + 1 : shape.layers;
  return static_cast<size_t>(vectors * kNumBlockVectors * shape.width) * sizeof(float);
}

size_t BlockModulations::scratch_bytes(const Context& context, const AdaptiveNormShape& shape,
                                       int64_t rows) {
  return Arena::rounded(static_cast<size_t>(rows * shape.width) * sizeof(float)) +
         kernels::stored_product_scratch(context, shape.width);
}

ModulatedHead::ModulatedHead(const HeadShape& shape, WeightLoader& loader)
    : shape_(shape),
      modulation_(loader.linear("head_nm.ada_lin.1", modulation_product(shape))),
      head_(loader.linear("head", logits_product(shape))) {}

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
  const DType dtype = kernels::activation_type(shape_.compute);
  void* normed = context.scratch->take_bytes(static_cast<size_t>(num_tokens * shape_.width) *
                                             dtype_bytes(dtype));
  context.kernels->layer_norm(context, {.x = input.x,
                                        .scale = input.vectors + kHeadScale * shape_.width,
                                        .shift = input.vectors + kHeadShift * shape_.width,
                                        .modulation_stride = kNumHeadVectors * shape_.width,
                                        .rows = input.rows,
                                        .tokens = input.tokens,
                                        .width = shape_.width,
                                        .epsilon = shape_.norm_epsilon,
                                        .out = normed,
                                        .out_dtype = dtype});
  head_->run(context, normed, out, num_tokens);
  count_operations(context.stages, Stage::kHead,
                   2.0 * static_cast<double>(num_tokens * shape_.width * shape_.logits));
}

int64_t ModulatedHead::floats(const HeadShape& shape, int64_t rows) {
  return rows * kNumHeadVectors * shape.width;
}

size_t ModulatedHead::bytes(const Context& context, const HeadShape& shape) {
  return context.kernels->linear_bytes(context, modulation_product(shape)) +
         context.kernels->linear_bytes(context, logits_product(shape));
}

size_t ModulatedHead::modulation_scratch_bytes(const Context& context, const HeadShape& shape,
                                               int64_t rows) {
  return product_scratch(context, modulation_product(shape), rows);
}

size_t ModulatedHead::scratch_bytes(const Context& context, const HeadShape& shape,
                                    int64_t num_tokens) {
  return product_scratch(context, logits_product(shape), num_tokens);
}

}  // namespace nextscale
