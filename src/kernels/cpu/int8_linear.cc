// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/int8_linear.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "kernels/cpu/int8_product.h"
#include "kernels/cpu/int8_rows.h"
#include "kernels/cpu/jobs.h"
#include "kernels/cpu/onednn.h"
#include "kernels/linear_weights.h"

namespace nextscale::kernels::cpu {
namespace {

// The sums of a block: they are written and read once more, which should not go through memory, but
// threads wait for one another at each block's end.
constexpr int64_t kBlockBytes = int64_t{2} << 20;
// Fewer rows would read the weights from memory too often.
constexpr int64_t kMinBlockRows = 64;

int64_t depth_of(const LinearSpec& spec) {
  return (spec.in_features + kInt8DepthStep - 1) / kInt8DepthStep * kInt8DepthStep;
}

int64_t block_rows(const LinearSpec& spec) {
  const int64_t row_bytes = spec.out_features * static_cast<int64_t>(sizeof(int32_t));
  return std::max(kMinBlockRows, kBlockBytes / row_bytes / kMinBlockRows * kMinBlockRows);
}

// Temporaries of one block.
struct Block {
  std::span<uint8_t> x;      // [rows, depth]
  std::span<float> factors;  // [rows]
  std::span<int32_t> sums;   // [rows, out]
};

class Int8Linear final : public Linear {
 public:
  Int8Linear(const Context& context, const LinearSpec& spec, const LinearWeights& weights)
      : spec_(spec),
        depth_(depth_of(spec)),
        bias_(bias_values(spec, weights)),
        offsets_(DType::kI32, {spec.out_features}) {
    Int8Weights rounded = int8_weights(context, spec, weights, depth_);
    const std::vector<uint8_t> zeros(static_cast<size_t>(depth_), kInt8Offset);  // as x stores them
    for_each_token(context, spec.out_features, depth_, [&](int64_t output) {
      multiply_row(zeros.data(), rounded.values.as<int8_t>() + output * depth_, depth_, 1,
                   offsets_.as<int32_t>() + output);
    });
    factors_ = std::move(rounded.factors);
    product_ = make_int8_product(context, rounded.values);
  }

  void prepare(int64_t rows) override {
    with_onednn_errors("linear", [&] {
      const int64_t block = block_rows(spec_);
      if (rows >= block) product_->prepare(block);
      if (rows % block != 0) product_->prepare(rows % block);
    });
  }

  void run(const Context& context, const void* x, void* y, int64_t rows) const override {
    const ArenaScope scope(*context.scratch);
    const int64_t most = std::min(rows, block_rows(spec_));
    const Block block{
        .x = context.scratch->take<uint8_t>(static_cast<size_t>(most * depth_)),
        .factors = context.scratch->take<float>(static_cast<size_t>(most)),
        .sums = context.scratch->take<int32_t>(static_cast<size_t>(most * spec_.out_features))};
    for (int64_t first = 0; first < rows; first += most) {
      const int64_t count = std::min(most, rows - first);
      round_rows(context, static_cast<const BFloat16*>(x) + first * spec_.in_features, count,
                 block);
      product_->run(block.x.data(), count, block.sums.data());
      const auto offset = static_cast<size_t>(first * spec_.out_features);
      finish_rows(context, block, count,
                  static_cast<std::byte*>(y) + offset * dtype_bytes(spec_.output));
    }
  }

  size_t packed_bytes() const override {
    return product_->bytes() + bias_.num_bytes() + factors_.num_bytes() + offsets_.num_bytes();
  }

 private:
  void round_rows(const Context& context, const BFloat16* x, int64_t count,
                  const Block& block) const {
    const auto inputs = static_cast<size_t>(spec_.in_features);
    const auto depth = static_cast<size_t>(depth_);
    for_each_token(context, count, depth_, [&](int64_t row) {
      const auto at = static_cast<size_t>(row);
      block.factors[at] =
          round_row({x + row * spec_.in_features, inputs}, block.x.subspan(at * depth, depth));
    });
  }

  void finish_rows(const Context& context, const Block& block, int64_t count, std::byte* y) const {
    const Int8Outputs outputs{.offsets = offsets_.as<int32_t>(),
                              .factors = factors_.as<float>(),
                              .bias = bias_.as<float>(),
                              .count = spec_.out_features,
                              .activation = spec_.activation,
                              .dtype = spec_.output};
    const size_t row_bytes = static_cast<size_t>(spec_.out_features) * dtype_bytes(spec_.output);
    for_each_token(context, count, spec_.out_features, [&](int64_t row) {
      const auto at = static_cast<size_t>(row);
      finish_row(outputs, block.sums.data() + row * spec_.out_features, block.factors[at],
                 y + at * row_bytes);
    });
  }

  LinearSpec spec_;
  int64_t depth_;   // of the product: the inputs, padded
  Tensor bias_;     // [out] f32
  Tensor offsets_;  // [out] i32: kInt8Offset times the sum of the weights
  Tensor factors_;  // [out] f32
  std::unique_ptr<Int8Product> product_;
};

}  // namespace

std::unique_ptr<Linear> make_int8_linear(const Context& context, const LinearSpec& spec,
                                         const LinearWeights& weights) {
  return std::make_unique<Int8Linear>(context, spec, weights);
}

size_t int8_linear_bytes(const Context& context, const LinearSpec& spec) {
  constexpr size_t kBytesPerOutput = 2 * sizeof(float) + sizeof(int32_t);  // factor, bias, offset
  return int8_product_bytes(context, spec.out_features, depth_of(spec)) +
         static_cast<size_t>(spec.out_features) * kBytesPerOutput;
}

size_t int8_linear_scratch(const LinearSpec& spec, int64_t rows) {
  const int64_t most = std::min(rows, block_rows(spec));
  return Arena::rounded(static_cast<size_t>(most * depth_of(spec))) +
         Arena::rounded(static_cast<size_t>(most) * sizeof(float)) +
         Arena::rounded(static_cast<size_t>(most * spec.out_features) * sizeof(int32_t));
}

}  // namespace nextscale::kernels::cpu
