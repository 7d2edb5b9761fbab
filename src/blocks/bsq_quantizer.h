// SPDX-License-Identifier: Apache-2.0
// The multi-scale residual binary spherical quantizer of Infinity and its kin, generation side:
// bits of a scale to their share of the latent f_hat, and f_hat to the next scale's input
// (specs/infinity.md section 9). It has no weights.
//
// Latents are channels-last [height, width, channels] f32. Thread safe: const after construction.
#pragma once

#include <cstdint>
#include <vector>

#include "core/context.h"
#include "core/geometry.h"

namespace nextscale {

struct BsqShape {
  std::vector<Grid> maps;      // tokens of every scale
  int64_t channels = 0;        // of the latent: bits of one cell
  int64_t cells_per_side = 1;  // a token is a square of so many cells in each direction

  Grid cells(int scale) const {
    const Grid& map = maps[static_cast<size_t>(scale)];
    return {map.height * cells_per_side, map.width * cells_per_side};
  }
  Grid latent() const { return cells(static_cast<int>(maps.size()) - 1); }
  size_t latent_size() const { return static_cast<size_t>(latent().tokens() * channels); }
  int64_t token_bits() const { return channels * cells_per_side * cells_per_side; }
};

class BsqQuantizer {
 public:
  explicit BsqQuantizer(const BsqShape& shape);

  // Adds what the bits [tokens, token_bits] of a scale stand for to f_hat.
  void add_scale(const Context& context, int scale, const int32_t* bits, float* f_hat) const;

  // f_hat resized to the map of `scale`: out [tokens, token_bits].
  void next_input(const Context& context, int scale, const float* f_hat, float* out) const;

  const BsqShape& shape() const { return shape_; }
  // Resizing tables of a quantizer of this shape, and what it takes from context.scratch.
  static size_t table_bytes(const BsqShape& shape);
  static size_t scratch_bytes(const BsqShape& shape);

 private:
  struct Matrices {
    std::vector<float> up_rows;       // [latent height, height]
    std::vector<float> up_columns;    // [latent width, width]
    std::vector<float> down_rows;     // [height, latent height]
    std::vector<float> down_columns;  // [width, latent width]
  };

  bool is_last(int scale) const { return scale + 1 == static_cast<int>(shape_.maps.size()); }
  void decode_bits(const Context& context, int scale, const int32_t* bits, float* codes) const;
  void pack_tokens(const Context& context, int scale, const float* cells, float* out) const;

  BsqShape shape_;
  float code_;                      // the magnitude of every code's channels
  std::vector<Matrices> matrices_;  // per scale
};

}  // namespace nextscale
