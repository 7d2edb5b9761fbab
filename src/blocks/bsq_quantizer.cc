// SPDX-License-Identifier: Apache-2.0
#include "blocks/bsq_quantizer.h"

#include <cmath>

#include "blocks/resampling.h"
#include "core/parallel.h"
#include "kernels/kernels.h"

namespace nextscale {
namespace {

// Which cell and channel each bit of a token is: bits go channel by channel, the cells of a channel
// row by row.
template <typename Visit>
void for_each_bit(const BsqShape& shape, const Grid& map, int64_t token, const Visit& visit) {
  const int64_t side = shape.cells_per_side;
  const int64_t row = token / map.width * side;
  const int64_t column = token % map.width * side;
  int64_t bit = token * shape.token_bits();
  for (int64_t channel = 0; channel < shape.channels; ++channel) {
    for (int64_t y = row; y < row + side; ++y) {
      for (int64_t x = column; x < column + side; ++x, ++bit) {
        visit(bit, (y * map.width * side + x) * shape.channels + channel);
      }
    }
  }
}

}  // namespace

BsqQuantizer::BsqQuantizer(const BsqShape& shape)
    : shape_(shape),
      code_(static_cast<float>(1.0 / std::sqrt(static_cast<double>(shape.channels)))) {
  const Grid latent = shape.latent();
  for (int scale = 0; scale < static_cast<int>(shape.maps.size()); ++scale) {
    const Grid cells = shape.cells(scale);
    matrices_.push_back({.up_rows = linear_matrix(cells.height, latent.height),
                         .up_columns = linear_matrix(cells.width, latent.width),
                         .down_rows = linear_matrix(latent.height, cells.height),
                         .down_columns = linear_matrix(latent.width, cells.width)});
  }
}

size_t BsqQuantizer::table_bytes(const BsqShape& shape) {
  constexpr int64_t kUpAndDown = 2;
  const Grid latent = shape.latent();
  int64_t elements = 0;
  for (int scale = 0; scale < static_cast<int>(shape.maps.size()); ++scale) {
    const Grid cells = shape.cells(scale);
    elements += kUpAndDown * (cells.height * latent.height + cells.width * latent.width);
  }
  return static_cast<size_t>(elements) * sizeof(float);
}

// The codes or cells of a scale, what they are resized to, and the rows in between.
size_t BsqQuantizer::scratch_bytes(const BsqShape& shape) {
  constexpr size_t kMaps = 3;
  return kMaps * Arena::rounded(shape.latent_size() * sizeof(float));
}

void BsqQuantizer::decode_bits(const Context& context, int scale, const int32_t* bits,
                               float* codes) const {
  const Grid& map = shape_.maps[static_cast<size_t>(scale)];
  parallel_for(context.num_threads, map.tokens(), [&](int64_t token, int) {
    for_each_bit(shape_, map, token,
                 [&](int64_t bit, int64_t cell) { codes[cell] = bits[bit] != 0 ? code_ : -code_; });
  });
}

void BsqQuantizer::pack_tokens(const Context& context, int scale, const float* cells,
                               float* out) const {
  const Grid& map = shape_.maps[static_cast<size_t>(scale)];
  parallel_for(context.num_threads, map.tokens(), [&](int64_t token, int) {
    for_each_bit(shape_, map, token, [&](int64_t bit, int64_t cell) { out[bit] = cells[cell]; });
  });
}

void BsqQuantizer::add_scale(const Context& context, int scale, const int32_t* bits,
                             float* f_hat) const {
  const Grid cells = shape_.cells(scale);
  const Grid latent = shape_.latent();
  const auto count = static_cast<int64_t>(shape_.latent_size());
  Arena& scratch = *context.scratch;
  const ArenaScope scope(scratch);
  float* codes = scratch.take<float>(static_cast<size_t>(cells.tokens() * shape_.channels)).data();
  decode_bits(context, scale, bits, codes);
  if (is_last(scale)) return context.kernels->add(context, f_hat, codes, count);
  const Matrices& matrices = matrices_[static_cast<size_t>(scale)];
  float* resized = scratch.take<float>(shape_.latent_size()).data();
  context.kernels->resample(context, {.x = codes,
                                      .rows = matrices.up_rows.data(),
                                      .columns = matrices.up_columns.data(),
                                      .in_height = cells.height,
                                      .in_width = cells.width,
                                      .out_height = latent.height,
                                      .out_width = latent.width,
                                      .channels = shape_.channels,
                                      .scratch = scratch.take<float>(shape_.latent_size()).data(),
                                      .out = resized});
  context.kernels->add(context, f_hat, resized, count);
}

void BsqQuantizer::next_input(const Context& context, int scale, const float* f_hat,
                              float* out) const {
  const Grid cells = shape_.cells(scale);
  const Grid latent = shape_.latent();
  const Matrices& matrices = matrices_[static_cast<size_t>(scale)];
  Arena& scratch = *context.scratch;
  const ArenaScope scope(scratch);
  float* resized =
      scratch.take<float>(static_cast<size_t>(cells.tokens() * shape_.channels)).data();
  context.kernels->resample(context, {.x = f_hat,
                                      .rows = matrices.down_rows.data(),
                                      .columns = matrices.down_columns.data(),
                                      .in_height = latent.height,
                                      .in_width = latent.width,
                                      .out_height = cells.height,
                                      .out_width = cells.width,
                                      .channels = shape_.channels,
                                      .scratch = scratch.take<float>(shape_.latent_size()).data(),
                                      .out = resized});
  pack_tokens(context, scale, resized, out);
}

}  // namespace nextscale
