// SPDX-License-Identifier: Apache-2.0
#include "blocks/vq_quantizer.h"

#include <algorithm>

#include "blocks/resampling.h"
#include "core/error_format.h"
#include "core/parallel.h"

namespace nextscale {
namespace {

constexpr float kResidualRatio = 0.5F;  // quant_resi of every published model
constexpr int64_t kConvKernel = 3;

kernels::ConvSpec conv_spec(const QuantizerShape& shape) {
  return {.in_channels = shape.channels,
          .out_channels = shape.channels,
          .kernel = kConvKernel,
          .width = shape.latent_side()};
}

}  // namespace

int phi_index(int scale, int num_scales, int num_convs) {
  // k / (S - 1) is matched to the nearest of n ticks, evenly spaced from 1 / n / 3 to 1 - 1 / n / 3
  // for n = 4 and from 1 / 2n to 1 - 1 / 2n otherwise. A boundary between ticks i - 1 and i lies
  // half way; in units of 1 / (den), with ties going up.
  const int64_t position = scale;
  const int64_t last = num_scales - 1;
  if (num_convs == 4) {
    return (9 * position >= 2 * last) + (2 * position >= last) + (9 * position >= 7 * last);
  }
  // Ticks (1 + i (n - 1) / (n - 1) * 2) / 2n = (1 + 2 i) / 2n: boundaries at i / n.
  int index = 0;
  for (int tick = 1; tick < num_convs; ++tick) index += position * num_convs >= tick * last;
  return index;
}

VqQuantizer::VqQuantizer(const QuantizerShape& shape, WeightLoader& loader) : shape_(shape) {
  codebook_ = loader.values("quantize.embedding.weight", Shape{shape.vocabulary, shape.channels});
  for (int conv = 0; conv < shape.num_convs; ++conv) {
    convs_.push_back(
        loader.conv(fmt::format("quantize.quant_resi.qresi_ls.{}", conv), conv_spec(shape)));
    convs_.back()->prepare(shape.latent_side());
  }
  for (const int64_t side : shape.sides) {
    matrices_.push_back({.up = bicubic_matrix(side, shape.latent_side()),
                         .down = area_matrix(shape.latent_side(), side)});
  }
}

kernels::ConvBytes VqQuantizer::bytes(const Context& context, const QuantizerShape& shape) {
  const int64_t side = shape.latent_side();
  const kernels::ConvBytes conv = context.kernels->conv_bytes(context, conv_spec(shape), side);
  const size_t latent = Arena::rounded(shape.latent_size() * sizeof(float));
  const auto haloed = static_cast<size_t>((side + kConvKernel - 1) * side * shape.channels);
  return {.packed = static_cast<size_t>(shape.vocabulary * shape.channels) * sizeof(float) +
                    static_cast<size_t>(shape.num_convs) * conv.packed,
          .scratch = 4 * latent + Arena::rounded(haloed * sizeof(float)) + conv.scratch};
}

void VqQuantizer::embed(const int32_t* tokens, int64_t count, float* out) const {
  for (int64_t token = 0; token < count; ++token) {
    NEXTSCALE_ASSERT(tokens[token] >= 0 && tokens[token] < shape_.vocabulary);
    std::copy_n(codebook_.data() + tokens[token] * shape_.channels, shape_.channels,
                out + token * shape_.channels);
  }
}

void VqQuantizer::embed_mixture(const Context& context, const float* weights, int64_t count,
                                float* out) const {
  parallel_for(context.num_threads, count, [&](int64_t token, int) {
    float* embedding = out + token * shape_.channels;
    std::fill_n(embedding, shape_.channels, 0.0F);
    for (int64_t entry = 0; entry < shape_.vocabulary; ++entry) {
      const float weight = weights[token * shape_.vocabulary + entry];
      if (weight == 0.0F) continue;
      const float* vector = codebook_.data() + entry * shape_.channels;
      for (int64_t c = 0; c < shape_.channels; ++c) embedding[c] += weight * vector[c];
    }
  });
}

void VqQuantizer::add_scale(const Context& context, int scale, const float* embeddings,
                            float* f_hat) const {
  const int64_t side = shape_.latent_side();
  const int64_t scale_side = shape_.sides[static_cast<size_t>(scale)];
  const int num_scales = static_cast<int>(shape_.sides.size());
  Arena& scratch = *context.scratch;
  const ArenaScope scope(scratch);
  const float* upsampled = embeddings;  // the last scale is not resampled
  if (scale + 1 < num_scales) {
    float* resampled = scratch.take<float>(shape_.latent_size()).data();
    const std::vector<float>& up = matrices_[static_cast<size_t>(scale)].up;
    context.kernels->resample(context, {.x = embeddings,
                                        .rows = up.data(),
                                        .columns = up.data(),
                                        .in_height = scale_side,
                                        .in_width = scale_side,
                                        .out_height = side,
                                        .out_width = side,
                                        .channels = shape_.channels,
                                        .scratch = scratch.take<float>(shape_.latent_size()).data(),
                                        .out = resampled});
    upsampled = resampled;
  }
  float* haloed =
      scratch.take<float>(static_cast<size_t>((side + 2) * side * shape_.channels)).data();
  context.kernels->gather_rows(context, {.x = upsampled,
                                         .height = side,
                                         .width = side,
                                         .channels = shape_.channels,
                                         .first_row = -1,
                                         .rows = side + 2,
                                         .out = haloed});
  float* convolved = scratch.take<float>(shape_.latent_size()).data();
  float* blended = scratch.take<float>(shape_.latent_size()).data();
  const int phi = phi_index(scale, num_scales, shape_.num_convs);
  convs_[static_cast<size_t>(phi)]->run(context, haloed, convolved, side);
  const auto count = static_cast<int64_t>(shape_.latent_size());
  context.kernels->blend(context, 1.0F - kResidualRatio, upsampled, kResidualRatio, convolved,
                         blended, count);
  context.kernels->add(context, f_hat, blended, count);
}

void VqQuantizer::next_input(const Context& context, int scale, const float* f_hat,
                             float* out) const {
  const int64_t side = shape_.sides[static_cast<size_t>(scale)];
  const std::vector<float>& down = matrices_[static_cast<size_t>(scale)].down;
  const ArenaScope scope(*context.scratch);
  context.kernels->resample(context,
                            {.x = f_hat,
                             .rows = down.data(),
                             .columns = down.data(),
                             .in_height = shape_.latent_side(),
                             .in_width = shape_.latent_side(),
                             .out_height = side,
                             .out_width = side,
                             .channels = shape_.channels,
                             .scratch = context.scratch->take<float>(shape_.latent_size()).data(),
                             .out = out});
}

}  // namespace nextscale
