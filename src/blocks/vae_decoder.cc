// SPDX-License-Identifier: Apache-2.0
#include "blocks/vae_decoder.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "blocks/strip_conv.h"
#include "blocks/vae_layers.h"
#include "core/error_format.h"
#include "core/trace.h"

namespace nextscale {
namespace {

constexpr float kGroupNormEpsilon = 1e-6F;

}  // namespace

VaeDecoder::VaeDecoder(const DecoderShape& shape, WeightLoader& loader)
    : shape_(shape), layers_(std::make_unique<VaeLayers>(shape, loader)) {}

VaeDecoder::~VaeDecoder() = default;

// One picture on its way through: x_ holds the activations [size_, channels_] at one end of the
// memory for maps; another map goes to the other end.
class VaeDecoder::Pass {
 public:
  Pass(const Context& context, const DecoderShape& shape, const VaeLayers& layers)
      : context_(context),
        shape_(shape),
        layers_(layers),
        capacity_(static_cast<int64_t>(maps_bytes(shape) / sizeof(float))),
        size_(shape.latent) {
    maps_ = context.scratch->take<float>(static_cast<size_t>(capacity_)).data();
  }

  void run(const float* latent, float* rgb) {
    channels_ = shape_.latent_channels;
    const float* in = latent;
    if (layers_.post_quant != nullptr) {
      convolve(*layers_.post_quant, picture(latent), "dec.post_quant");
      in = x_;
    }
    convolve(layers_.conv_in, picture(in), "dec.conv_in");
    res_block(layers_.mid_block_1);
    trace("dec.mid.block_1");
    if (layers_.mid_attn_1 != nullptr) {
      attn_block(*layers_.mid_attn_1);
      trace("dec.mid.attn_1");
    }
    res_block(layers_.mid_block_2);
    trace("dec.mid.block_2");
    for (int index = shape_.num_levels() - 1; index >= 0; --index) level(index);
    finish(rgb);
  }

  static size_t attention_bytes(const Context& context, const DecoderShape& shape) {
    if (shape.kind != DecoderKind::kVqgan) return 0;
    const int64_t pixels = shape.latent.tokens();
    const int64_t channels = shape.level_channels(shape.num_levels() - 1);
    const kernels::AttentionArgs args = attention_args(pixels, channels);
    return float_bytes(3 * pixels * channels) + 4 * float_bytes(pixels * channels) +
           context.kernels->attention_scratch(context, args, pixels);
  }

 private:
  using Norm = VaeLayers::Norm;
  using ResBlock = VaeLayers::ResBlock;
  enum AfterNorm { kWithSilu, kWithoutSilu };

  // Statistics of a map, as a normalisation wants them.
  struct Moments {
    std::array<float, kernels::kMaxGroups> mean{};
    std::array<float, kernels::kMaxGroups> inverse{};
  };

  static kernels::AttentionArgs attention_args(int64_t pixels, int64_t channels) {
    return {.rows = 1,
            .query_heads = 1,
            .kv_heads = 1,
            .queries = pixels,
            .head_dim = channels,
            .softmax_scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(channels))),
            .q = nullptr,
            .heads = {},
            .out = nullptr,
            .out_dtype = DType::kF32};
  }

  kernels::GatherRowsArgs picture(const float* x) const {
    return {.x = x, .height = size_.height, .width = size_.width, .channels = channels_};
  }

  void add_rows(const float* rows, int64_t count, const Norm& norm,
                kernels::GroupSums& sums) const {
    context_.kernels->group_sums(context_, {.x = rows,
                                            .rows = count,
                                            .width = size_.width,
                                            .channels = norm.channels(),
                                            .groups = norm.groups(),
                                            .sums = &sums});
  }

  Moments moments_of(const kernels::GroupSums& sums, const Norm& norm) const {
    Moments moments;
    const int64_t elements = size_.tokens() * (norm.channels() / norm.groups());
    kernels::group_moments(sums, norm.groups(), elements, kGroupNormEpsilon, moments.mean.data(),
                           moments.inverse.data());
    return moments;
  }

  Moments moments_of(const float* map, const Norm& norm) const {
    kernels::GroupSums sums;
    add_rows(map, size_.height, norm, sums);
    return moments_of(sums, norm);
  }

  // A map after group normalisation, with or without SiLU.
  kernels::GatherRowsArgs normalized(const float* x, const Norm& norm, const Moments& moments,
                                     AfterNorm after = kWithSilu) const {
    return {.x = x,
            .height = size_.height,
            .width = size_.width,
            .channels = norm.channels(),
            .mean = moments.mean.data(),
            .inverse = moments.inverse.data(),
            .weight = norm.weight.data(),
            .bias = norm.bias.data(),
            .groups = norm.groups(),
            .silu = after == kWithSilu};
  }

  // Floats of a map, rounded so that either end of the memory is aligned.
  int64_t map_floats(int64_t channels) const {
    return static_cast<int64_t>(float_bytes(size_.tokens() * channels) / sizeof(float));
  }

  // Where a second map lies.
  float* other_end(int64_t channels) const {
    const int64_t floats = map_floats(channels);
    NEXTSCALE_ASSERT(floats <= capacity_);
    return x_ == maps_ ? maps_ + capacity_ - floats : maps_;
  }

  // `map` becomes the picture.
  void advance(float* map, int64_t channels, const std::string& name) {
    x_ = map;
    channels_ = channels;
    trace(name);
    throw_if_cancelled(context_);
  }

  void convolve(const StripConv& conv, const kernels::GatherRowsArgs& input,
                const std::string& name) {
    float* y = other_end(conv.shape().out_channels);
    conv.run_to(context_, input, y);
    advance(y, conv.shape().out_channels, name);
  }

  // Adds strips of channels_ channels to a map.
  auto add_to(float* map) const {
    return [this, map](int64_t row, int64_t rows, const float* strip) {
      const int64_t row_floats = size_.width * channels_;
      context_.kernels->add(context_, map + row * row_floats, strip, rows * row_floats);
    };
  }

  void res_block(const ResBlock& block) {
    float* y = other_end(block.norm2.channels());
    const Moments before = moments_of(x_, block.norm1);
    block.conv1.run_to(context_, normalized(x_, block.norm1, before), y);
    if (block.shortcut != nullptr) narrow(*block.shortcut);
    const Moments between = moments_of(y, block.norm2);
    block.conv2.run(context_, normalized(y, block.norm2, between), add_to(x_));
    throw_if_cancelled(context_);
  }

  // The same where two maps would not fit; channels stay. What the first convolution reads lies
  // below what the second one changes.
  void streamed_res_block(const ResBlock& block) {
    const Moments before = moments_of(x_, block.norm1);
    const kernels::GatherRowsArgs in = normalized(x_, block.norm1, before);
    kernels::GroupSums sums;
    block.conv1.run(context_, in, [&](int64_t, int64_t rows, const float* y) {
      add_rows(y, rows, block.norm2, sums);
    });
    throw_if_cancelled(context_);
    const Moments between = moments_of(sums, block.norm2);
    const ArenaScope scope(*context_.scratch);
    ConvStream conv2(block.conv2, normalized(nullptr, block.norm2, between),
                     ConvStream::strip_rows(block.conv1.shape()), *context_.scratch);
    block.conv1.run(context_, in, [&](int64_t, int64_t rows, const float* y) {
      conv2.push(context_, y, rows, add_to(x_));
    });
    throw_if_cancelled(context_);
  }

  // Replaces x_ by a picture of fewer channels, in place: a strip's result ends before the input of
  // the next strip begins.
  void narrow(const StripConv& conv) {
    const int64_t channels = conv.shape().out_channels;
    const int64_t row_floats = size_.width * channels;
    conv.run(context_, picture(x_), [&](int64_t row, int64_t rows, const float* strip) {
      std::copy_n(strip, rows * row_floats, x_ + row * row_floats);
    });
    if (x_ != maps_) {
      float* end = maps_ + capacity_ - map_floats(channels);
      std::memmove(end, x_, static_cast<size_t>(size_.height * row_floats) * sizeof(float));
      x_ = end;
    }
    channels_ = channels;
  }

  // x += proj_out(attention over all pixels), one head as wide as the picture has channels.
  void attn_block(const VaeLayers::AttnBlock& block) {
    const int64_t pixels = size_.tokens();
    const auto floats = static_cast<size_t>(pixels * channels_);
    Arena& scratch = *context_.scratch;
    const ArenaScope scope(scratch);
    float* qkv = scratch.take<float>(3 * floats).data();
    float* q = scratch.take<float>(floats).data();
    float* k = scratch.take<float>(floats).data();
    float* v = scratch.take<float>(floats).data();
    float* attended = scratch.take<float>(floats).data();
    const Moments moments = moments_of(x_, block.norm);
    block.qkv.run_to(context_, normalized(x_, block.norm, moments, kWithoutSilu), qkv);
    context_.kernels->split_heads(context_, {.qkv = qkv,
                                             .rows = 1,
                                             .tokens = pixels,
                                             .query_heads = 1,
                                             .kv_heads = 1,
                                             .head_dim = channels_,
                                             .q = q,
                                             .k = k,
                                             .v = v});
    const kernels::AttentionHead head{.cached = {}, .current = {.k = k, .v = v, .tokens = pixels}};
    kernels::AttentionArgs args = attention_args(pixels, channels_);
    args.q = q;
    args.heads = {&head, 1};
    args.out = attended;
    context_.kernels->attention(context_, args);
    block.proj_out.run(context_, picture(attended), add_to(x_));
    throw_if_cancelled(context_);
  }

  void upsample(int index) {
    kernels::GatherRowsArgs input = picture(x_);
    input.doubled = true;
    size_ = shape_.level_size(index - 1);
    convolve(*layers_.levels[static_cast<size_t>(index)].upsample, input,
             fmt::format("dec.up.{}", index));
  }

  // The upsampling of level `index` and the first block of the next one, without holding the
  // upsampled map u: out = shortcut(u) + conv2(norm2(conv1(norm1(u)))). u is computed once for each
  // of the two statistics and once for the result.
  void streamed_upsample(int index) {
    const StripConv& conv = *layers_.levels[static_cast<size_t>(index)].upsample;
    const ResBlock& block = layers_.levels[static_cast<size_t>(index) - 1].blocks.front();
    kernels::GatherRowsArgs input = picture(x_);
    input.doubled = true;
    size_ = shape_.level_size(index - 1);
    kernels::GroupSums sums;
    conv.run(context_, input,
             [&](int64_t, int64_t rows, const float* u) { add_rows(u, rows, block.norm1, sums); });
    throw_if_cancelled(context_);
    const Moments before = moments_of(sums, block.norm1);
    const Moments between = streamed_moments(conv, input, block, before);
    throw_if_cancelled(context_);
    float* out = other_end(block.norm2.channels());
    channels_ = block.norm2.channels();
    std::fill_n(out, size_.tokens() * channels_, 0.0F);
    stream_block(conv, input, block, {before, between}, out);
    advance(out, channels_, fmt::format("dec.up.{}.block.0", index - 1));
  }

  // Statistics of what a block's first convolution makes of u.
  Moments streamed_moments(const StripConv& conv, const kernels::GatherRowsArgs& input,
                           const ResBlock& block, const Moments& before) const {
    const ArenaScope scope(*context_.scratch);
    ConvStream conv1 = stream(block.conv1, block.norm1, before, conv);
    kernels::GroupSums sums;
    conv.run(context_, input, [&](int64_t, int64_t rows, const float* u) {
      conv1.push(context_, u, rows, [&](int64_t, int64_t y_rows, const float* y) {
        add_rows(y, y_rows, block.norm2, sums);
      });
    });
    return moments_of(sums, block.norm2);
  }

  // `out` is zero before.
  void stream_block(const StripConv& conv, const kernels::GatherRowsArgs& input,
                    const ResBlock& block, const std::array<Moments, 2>& moments,
                    float* out) const {
    Arena& scratch = *context_.scratch;
    const ArenaScope scope(scratch);
    ConvStream conv1 = stream(block.conv1, block.norm1, moments[0], conv);
    ConvStream conv2 = stream(block.conv2, block.norm2, moments[1], block.conv1);
    std::unique_ptr<ConvStream> shortcut;
    if (block.shortcut != nullptr) {
      shortcut = std::make_unique<ConvStream>(*block.shortcut, kernels::GatherRowsArgs{},
                                              ConvStream::strip_rows(conv.shape()), scratch);
    }
    conv.run(context_, input, [&](int64_t row, int64_t rows, const float* u) {
      if (shortcut != nullptr) {
        shortcut->push(context_, u, rows, add_to(out));
      } else {
        add_to(out)(row, rows, u);
      }
      conv1.push(context_, u, rows, [&](int64_t, int64_t y_rows, const float* y) {
        conv2.push(context_, y, y_rows, add_to(out));
      });
    });
  }

  // A normalised convolution of what `before` computes.
  ConvStream stream(const StripConv& conv, const Norm& norm, const Moments& moments,
                    const StripConv& before) const {
    return {conv, normalized(nullptr, norm, moments), ConvStream::strip_rows(before.shape()),
            *context_.scratch};
  }

  void level(int index) {
    const VaeLayers::Level& level = layers_.levels[static_cast<size_t>(index)];
    size_t first = 0;
    if (index + 1 < shape_.num_levels()) {
      if (streams_upsample(shape_, index)) {
        streamed_upsample(index + 1);
        first = 1;
      } else {
        upsample(index + 1);
      }
    }
    for (size_t block = first; block < level.blocks.size(); ++block) {
      if (streams_blocks(shape_, index)) {
        streamed_res_block(level.blocks[block]);
      } else {
        res_block(level.blocks[block]);
      }
      if (!level.attentions.empty()) attn_block(level.attentions[block]);
    }
  }

  // The last convolution, and from [-1, 1] to [0, 1].
  void finish(float* rgb) {
    const Moments moments = moments_of(x_, layers_.norm_out);
    layers_.conv_out.run_to(context_, normalized(x_, layers_.norm_out, moments), rgb);
    const int64_t count = size_.tokens() * kImageChannels;
    std::transform(rgb, rgb + count, rgb,
                   [](float value) { return (std::clamp(value, -1.0F, 1.0F) + 1.0F) * 0.5F; });
  }

  void trace(const std::string& name) const {
    if (context_.trace == nullptr) return;
    record_planes(*context_.trace, name, x_, Shape{size_.height, size_.width, channels_});
  }

  const Context& context_;
  const DecoderShape& shape_;
  const VaeLayers& layers_;
  int64_t capacity_;  // floats
  float* maps_ = nullptr;
  float* x_ = nullptr;
  Grid size_;
  int64_t channels_ = 0;
};

void VaeDecoder::decode(const Context& context, const float* latent, float* rgb) const {
  const ArenaScope scope(*context.scratch);
  Pass(context, shape_, *layers_).run(latent, rgb);
}

DecoderBytes VaeDecoder::bytes(const Context& context, const DecoderShape& shape) {
  DecoderBytes bytes = layers_bytes(context, shape);
  bytes.scratch += maps_bytes(shape) + Pass::attention_bytes(context, shape);
  return bytes;
}

}  // namespace nextscale
