// SPDX-License-Identifier: Apache-2.0
#include "blocks/vqvae_decoder.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "blocks/strip_conv.h"
#include "core/error_format.h"
#include "core/trace.h"

namespace nextscale {
namespace {

constexpr int64_t kGroups = 32;  // of every GroupNorm in this decoder
constexpr float kGroupNormEpsilon = 1e-6F;
constexpr int64_t kImageChannels = 3;

struct Norm {
  std::vector<float> weight;
  std::vector<float> bias;

  static Norm load(const std::string& name, int64_t channels, WeightLoader& loader) {
    return {loader.values(name + ".weight", Shape{channels}),
            loader.values(name + ".bias", Shape{channels})};
  }
};

struct ResBlock {
  Norm norm1;
  StripConv conv1;
  Norm norm2;
  StripConv conv2;
  std::unique_ptr<StripConv> shortcut;  // where the number of channels changes
};

struct AttnBlock {
  Norm norm;
  StripConv qkv;
  StripConv proj_out;
};

struct Level {
  std::vector<ResBlock> blocks;
  std::vector<AttnBlock> attentions;    // one per block at the coarsest level, else none
  std::unique_ptr<StripConv> upsample;  // none at the finest level
};

struct LayerShape {
  StripConvShape conv;
  bool normalized = false;  // a GroupNorm goes before it
};

// Every convolution of a decoder, for adding up memory.
std::vector<LayerShape> layer_shapes(const DecoderShape& shape) {
  std::vector<LayerShape> result;
  const auto add = [&](int64_t side, int64_t in, int64_t out, int64_t kernel, bool normalized) {
    result.push_back({{side, in, out, kernel, shape.strip_bytes}, normalized});
  };
  const auto add_res_block = [&](int64_t side, int64_t in, int64_t out) {
    add(side, in, out, 3, true);
    add(side, out, out, 3, true);
    if (in != out) add(side, in, out, 1, false);
  };
  const auto add_attn_block = [&](int64_t channels) {
    add(shape.latent_side, channels, 3 * channels, 1, true);
    add(shape.latent_side, channels, channels, 1, false);
  };
  const int coarsest = shape.num_levels() - 1;
  const int64_t top = shape.level_channels(coarsest);
  add(shape.latent_side, shape.latent_channels, shape.latent_channels, 3, false);
  add(shape.latent_side, shape.latent_channels, top, 3, false);
  add_res_block(shape.latent_side, top, top);
  add_attn_block(top);
  add_res_block(shape.latent_side, top, top);
  int64_t in = top;
  for (int level = coarsest; level >= 0; --level) {
    const int64_t channels = shape.level_channels(level);
    for (int64_t block = 0; block < shape.blocks_per_level; ++block, in = channels) {
      add_res_block(shape.level_side(level), in, channels);
      if (level == coarsest) add_attn_block(channels);
    }
    if (level > 0) add(2 * shape.level_side(level), channels, channels, 3, false);
  }
  add(shape.image_side(), in, kImageChannels, 3, true);
  return result;
}

size_t float_bytes(int64_t count) {
  return Arena::rounded(static_cast<size_t>(count) * sizeof(float));
}

}  // namespace

struct VqvaeDecoder::Layers {
  StripConv post_quant;
  StripConv conv_in;
  ResBlock mid_block_1;
  AttnBlock mid_attn_1;
  ResBlock mid_block_2;
  std::vector<Level> levels;  // index = level, run from the last to 0
  Norm norm_out;
  StripConv conv_out;
};

namespace {

// Builds layers from names.
class Builder {
 public:
  Builder(const DecoderShape& shape, WeightLoader& loader) : shape_(shape), loader_(loader) {}

  StripConv conv(const std::string& name, int64_t side, int64_t in, int64_t out,
                 int64_t kernel = 3) {
    return {{.side = side,
             .in_channels = in,
             .out_channels = out,
             .kernel = kernel,
             .strip_bytes = shape_.strip_bytes},
            name,
            loader_};
  }

  ResBlock res_block(const std::string& name, int64_t side, int64_t in, int64_t out) {
    ResBlock block{.norm1 = Norm::load(name + ".norm1", in, loader_),
                   .conv1 = conv(name + ".conv1", side, in, out),
                   .norm2 = Norm::load(name + ".norm2", out, loader_),
                   .conv2 = conv(name + ".conv2", side, out, out),
                   .shortcut = nullptr};
    if (in != out) {
      block.shortcut = std::make_unique<StripConv>(conv(name + ".nin_shortcut", side, in, out, 1));
    }
    return block;
  }

  AttnBlock attn_block(const std::string& name, int64_t channels) {
    const int64_t side = shape_.latent_side;
    return {.norm = Norm::load(name + ".norm", channels, loader_),
            .qkv = conv(name + ".qkv", side, channels, 3 * channels, 1),
            .proj_out = conv(name + ".proj_out", side, channels, channels, 1)};
  }

  Level level(int index) {
    const std::string name = fmt::format("decoder.up.{}", index);
    const bool coarsest = index + 1 == shape_.num_levels();
    const int64_t side = shape_.level_side(index);
    const int64_t channels = shape_.level_channels(index);
    int64_t in = coarsest ? channels : shape_.level_channels(index + 1);
    Level result;
    for (int64_t block = 0; block < shape_.blocks_per_level; ++block, in = channels) {
      result.blocks.push_back(
          res_block(fmt::format("{}.block.{}", name, block), side, in, channels));
      if (coarsest) {
        result.attentions.push_back(attn_block(fmt::format("{}.attn.{}", name, block), channels));
      }
    }
    if (index > 0) {
      result.upsample =
          std::make_unique<StripConv>(conv(name + ".upsample.conv", 2 * side, channels, channels));
    }
    return result;
  }

 private:
  const DecoderShape& shape_;
  WeightLoader& loader_;
};

}  // namespace

VqvaeDecoder::VqvaeDecoder(const DecoderShape& shape, WeightLoader& loader) : shape_(shape) {
  // A block narrows or keeps the channels in place (see Pass::res_block).
  NEXTSCALE_ASSERT(std::ranges::is_sorted(shape.multipliers));
  Builder build(shape_, loader);
  const int64_t side = shape.latent_side;
  const int64_t top = shape.level_channels(shape.num_levels() - 1);
  layers_ = std::make_unique<Layers>();
  layers_->post_quant =
      build.conv("post_quant_conv", side, shape.latent_channels, shape.latent_channels);
  layers_->conv_in = build.conv("decoder.conv_in", side, shape.latent_channels, top);
  layers_->mid_block_1 = build.res_block("decoder.mid.block_1", side, top, top);
  layers_->mid_attn_1 = build.attn_block("decoder.mid.attn_1", top);
  layers_->mid_block_2 = build.res_block("decoder.mid.block_2", side, top, top);
  for (int level = 0; level < shape.num_levels(); ++level) {
    layers_->levels.push_back(build.level(level));
  }
  const int64_t last = shape.level_channels(0);
  layers_->norm_out = Norm::load("decoder.norm_out", last, loader);
  layers_->conv_out = build.conv("decoder.conv_out", shape.image_side(), last, kImageChannels);
}

VqvaeDecoder::~VqvaeDecoder() = default;

// One picture on its way through: x_ holds the activations [side_, side_, channels_], y_ is the
// other buffer.
class VqvaeDecoder::Pass {
 public:
  Pass(const Context& context, const DecoderShape& shape, const Layers& layers)
      : context_(context), shape_(shape), layers_(layers), side_(shape.latent_side) {
    const auto floats = static_cast<size_t>(buffer_floats(shape));
    x_ = context.scratch->take<float>(floats).data();
    y_ = context.scratch->take<float>(floats).data();
    mean_ = context.scratch->take<float>(kGroups).data();
    inverse_ = context.scratch->take<float>(kGroups).data();
  }

  void run(const float* latent, float* rgb) {
    channels_ = shape_.latent_channels;
    layers_.post_quant.run_to(context_, picture(latent), y_);
    advance(shape_.latent_channels, "dec.post_quant");
    layers_.conv_in.run_to(context_, picture(x_), y_);
    advance(layers_.conv_in.shape().out_channels, "dec.conv_in");
    res_block(layers_.mid_block_1);
    trace("dec.mid.block_1");
    attn_block(layers_.mid_attn_1);
    trace("dec.mid.attn_1");
    res_block(layers_.mid_block_2);
    trace("dec.mid.block_2");
    for (int index = shape_.num_levels() - 1; index >= 0; --index) level(index);
    finish(rgb);
  }

  // Floats of the largest picture that x_ or y_ holds.
  static int64_t buffer_floats(const DecoderShape& shape) {
    int64_t largest = shape.latent_side * shape.latent_side * shape.latent_channels;
    for (int index = 0; index < shape.num_levels(); ++index) {
      // The level's own pictures, and its input as the upsampling before it leaves it.
      const int next = std::min(index + 1, shape.num_levels() - 1);
      const int64_t channels = std::max(shape.level_channels(index), shape.level_channels(next));
      largest = std::max(largest, shape.level_side(index) * shape.level_side(index) * channels);
    }
    return largest;
  }

  static size_t attention_bytes(const Context& context, const DecoderShape& shape) {
    const int64_t pixels = shape.latent_side * shape.latent_side;
    const int64_t channels = shape.level_channels(shape.num_levels() - 1);
    const kernels::AttentionArgs args = attention_args(pixels, channels);
    return float_bytes(3 * pixels * channels) + 4 * float_bytes(pixels * channels) +
           context.kernels->attention_scratch(context, args, pixels);
  }

 private:
  enum AfterNorm { kWithSilu, kWithoutSilu };

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
    return {.x = x, .height = side_, .width = side_, .channels = channels_};
  }

  // The picture after group normalisation, with or without SiLU.
  kernels::GatherRowsArgs normalized(const float* x, int64_t channels, const Norm& norm,
                                     AfterNorm after) const {
    context_.kernels->group_stats(context_, {.x = x,
                                             .pixels = side_ * side_,
                                             .channels = channels,
                                             .groups = kGroups,
                                             .epsilon = kGroupNormEpsilon,
                                             .mean = mean_,
                                             .inverse = inverse_});
    return {.x = x,
            .height = side_,
            .width = side_,
            .channels = channels,
            .mean = mean_,
            .inverse = inverse_,
            .weight = norm.weight.data(),
            .bias = norm.bias.data(),
            .groups = kGroups,
            .silu = after == kWithSilu};
  }

  // y_ becomes the picture.
  void advance(int64_t channels, const std::string& name) {
    std::swap(x_, y_);
    channels_ = channels;
    trace(name);
    throw_if_cancelled(context_);
  }

  // Adds strips of channels_ channels to the picture.
  auto add_to_x() const {
    return [this](int64_t row, int64_t rows, const float* strip) {
      context_.kernels->add(context_, x_ + row * side_ * channels_, strip,
                            rows * side_ * channels_);
    };
  }

  void res_block(const ResBlock& block) {
    const int64_t out_channels = block.conv1.shape().out_channels;
    block.conv1.run_to(context_, normalized(x_, channels_, block.norm1, kWithSilu), y_);
    if (block.shortcut != nullptr) narrow(*block.shortcut);
    block.conv2.run(context_, normalized(y_, out_channels, block.norm2, kWithSilu), add_to_x());
    throw_if_cancelled(context_);
  }

  // Replaces x_ by a picture of fewer channels, in place: a strip's result ends before the input of
  // the next strip begins.
  void narrow(const StripConv& conv) {
    const int64_t row_floats = side_ * conv.shape().out_channels;
    conv.run(context_, picture(x_), [&](int64_t row, int64_t rows, const float* strip) {
      std::copy_n(strip, rows * row_floats, x_ + row * row_floats);
    });
    channels_ = conv.shape().out_channels;
  }

  // x += proj_out(attention over all pixels), one head as wide as the picture has channels.
  void attn_block(const AttnBlock& block) {
    const int64_t pixels = side_ * side_;
    const auto floats = static_cast<size_t>(pixels * channels_);
    Arena& scratch = *context_.scratch;
    const ArenaScope scope(scratch);
    float* qkv = scratch.take<float>(3 * floats).data();
    float* q = scratch.take<float>(floats).data();
    float* k = scratch.take<float>(floats).data();
    float* v = scratch.take<float>(floats).data();
    float* attended = scratch.take<float>(floats).data();
    block.qkv.run_to(context_, normalized(x_, channels_, block.norm, kWithoutSilu), qkv);
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
    block.proj_out.run(context_, picture(attended), add_to_x());
    throw_if_cancelled(context_);
  }

  void level(int index) {
    const Level& level = layers_.levels[static_cast<size_t>(index)];
    for (size_t block = 0; block < level.blocks.size(); ++block) {
      res_block(level.blocks[block]);
      if (!level.attentions.empty()) attn_block(level.attentions[block]);
    }
    if (level.upsample == nullptr) return;
    kernels::GatherRowsArgs input = picture(x_);
    input.doubled = true;
    level.upsample->run_to(context_, input, y_);
    side_ *= 2;
    advance(channels_, fmt::format("dec.up.{}", index));
  }

  // The last convolution, and from [-1, 1] to [0, 1].
  void finish(float* rgb) {
    layers_.conv_out.run_to(context_, normalized(x_, channels_, layers_.norm_out, kWithSilu), rgb);
    const int64_t count = side_ * side_ * kImageChannels;
    std::transform(rgb, rgb + count, rgb,
                   [](float value) { return (std::clamp(value, -1.0F, 1.0F) + 1.0F) * 0.5F; });
  }

  void trace(const std::string& name) const {
    if (context_.trace == nullptr) return;
    record_planes(*context_.trace, name, x_, Shape{side_, side_, channels_});
  }

  const Context& context_;
  const DecoderShape& shape_;
  const Layers& layers_;
  float* x_ = nullptr;
  float* y_ = nullptr;
  float* mean_ = nullptr;
  float* inverse_ = nullptr;
  int64_t side_;
  int64_t channels_ = 0;
};

void VqvaeDecoder::decode(const Context& context, const float* latent, float* rgb) const {
  const ArenaScope scope(*context.scratch);
  Pass(context, shape_, *layers_).run(latent, rgb);
}

DecoderBytes VqvaeDecoder::bytes(const Context& context, const DecoderShape& shape) {
  DecoderBytes bytes;
  size_t strip = 0;
  for (const auto& [conv, normalized] : layer_shapes(shape)) {
    const kernels::ConvBytes of_conv = StripConv::bytes(context, conv);
    bytes.weights += of_conv.packed;
    if (normalized) bytes.weights += 2 * static_cast<size_t>(conv.in_channels) * sizeof(float);
    strip = std::max(strip, of_conv.scratch);
  }
  bytes.scratch = 2 * float_bytes(Pass::buffer_floats(shape)) + 2 * float_bytes(kGroups) +
                  Pass::attention_bytes(context, shape) + strip;
  return bytes;
}

}  // namespace nextscale
