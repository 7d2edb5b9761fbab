// SPDX-License-Identifier: Apache-2.0
#include "blocks/vae_layers.h"

#include <algorithm>

#include "core/error_format.h"

namespace nextscale {
namespace {

constexpr int64_t kGroups = 32;       // of a GroupNorm, where they divide the channels
constexpr int64_t kOtherGroups = 24;  // where only these do
// Of a level whose maps are computed anew several convolutions work at once, with shorter strips.
constexpr size_t kStreamedShare = 2;

int64_t coarsest(const DecoderShape& shape) { return shape.num_levels() - 1; }

bool has_attention(const DecoderShape& shape, int64_t level) {
  return shape.kind == DecoderKind::kVqgan && level == coarsest(shape);
}

// Channels of what comes into a level.
int64_t incoming_channels(const DecoderShape& shape, int level) {
  return shape.level_channels(level == coarsest(shape) ? level : level + 1);
}

size_t map_bytes(const DecoderShape& shape, int level, int64_t channels) {
  return float_bytes(shape.level_size(level).tokens() * channels);
}

// Bytes of both maps that exist at once in each step of a level, if maps are held.
size_t held_upsample_bytes(const DecoderShape& shape, int level) {
  if (level == coarsest(shape)) return 0;
  const int64_t channels = shape.level_channels(level + 1);
  const size_t doubled = map_bytes(shape, level, channels);
  return doubled + std::max(map_bytes(shape, level + 1, channels),
                            map_bytes(shape, level, shape.level_channels(level)));
}

size_t held_block_bytes(const DecoderShape& shape, int level) {
  return 2 * map_bytes(shape, level, shape.level_channels(level));
}

StripConvShape conv_shape(const DecoderShape& shape, int level, int64_t in, int64_t out,
                          int64_t kernel = 3) {
  const bool is_streamed = streams_upsample(shape, level) || streams_blocks(shape, level);
  return {.size = shape.level_size(level),
          .in_channels = in,
          .out_channels = out,
          .kernel = kernel,
          .strip_bytes = is_streamed ? shape.strip_bytes / kStreamedShare : shape.strip_bytes};
}

struct LayerShape {
  StripConvShape conv;
  bool normalized = false;  // a GroupNorm goes before it
};

// Every convolution of a decoder, for adding up memory.
std::vector<LayerShape> layer_shapes(const DecoderShape& shape) {
  std::vector<LayerShape> result;
  const auto add = [&](int level, int64_t in, int64_t out, int64_t kernel, bool normalized) {
    result.push_back({conv_shape(shape, level, in, out, kernel), normalized});
  };
  const auto add_res_block = [&](int level, int64_t in, int64_t out) {
    add(level, in, out, 3, true);
    add(level, out, out, 3, true);
    if (in != out) add(level, in, out, 1, false);
  };
  const auto add_attn_block = [&](int level) {
    if (!has_attention(shape, level)) return;
    const int64_t channels = shape.level_channels(level);
    add(level, channels, 3 * channels, 1, true);
    add(level, channels, channels, 1, false);
  };
  const int first = shape.num_levels() - 1;
  const int64_t top = shape.level_channels(first);
  if (shape.kind == DecoderKind::kVqgan) {
    add(first, shape.latent_channels, shape.latent_channels, 3, false);
  }
  add(first, shape.latent_channels, top, 3, false);
  add_res_block(first, top, top);
  add_attn_block(first);
  add_res_block(first, top, top);
  for (int level = first; level >= 0; --level) {
    const int64_t channels = shape.level_channels(level);
    int64_t in = incoming_channels(shape, level);
    for (int64_t block = 0; block < shape.blocks_per_level; ++block, in = channels) {
      add_res_block(level, in, channels);
      add_attn_block(level);
    }
    if (level > 0) add(level - 1, channels, channels, 3, false);
  }
  add(0, shape.level_channels(0), kImageChannels, 3, true);
  return result;
}

// Scratch bytes of the convolutions that work at once where maps are not held.
size_t streamed_bytes(const Context& context, const DecoderShape& shape, int level) {
  const int64_t in = incoming_channels(shape, level);
  const int64_t out = shape.level_channels(level);
  const StripConvShape conv2 = conv_shape(shape, level, out, out);
  size_t most = 0;
  if (streams_upsample(shape, level)) {
    const StripConvShape upsample = conv_shape(shape, level, in, in);
    const StripConvShape conv1 = conv_shape(shape, level, in, out);
    const int64_t rows = ConvStream::strip_rows(upsample);
    most = StripConv::bytes(context, upsample).scratch + ConvStream::bytes(context, conv1, rows) +
           ConvStream::bytes(context, conv2, ConvStream::strip_rows(conv1)) +
           ConvStream::bytes(context, conv_shape(shape, level, in, out, 1), rows);
  }
  if (streams_blocks(shape, level)) {
    most = std::max(most, StripConv::bytes(context, conv2).scratch +
                              ConvStream::bytes(context, conv2, ConvStream::strip_rows(conv2)));
  }
  return most;
}

// Builds layers from names.
class Builder {
 public:
  Builder(const DecoderShape& shape, WeightLoader& loader) : shape_(shape), loader_(loader) {}

  StripConv conv(const std::string& name, int level, int64_t in, int64_t out, int64_t kernel = 3) {
    return {conv_shape(shape_, level, in, out, kernel), name, loader_};
  }

  VaeLayers::Norm norm(const std::string& name, int64_t channels) {
    return {loader_.values(name + ".weight", Shape{channels}),
            loader_.values(name + ".bias", Shape{channels})};
  }

  VaeLayers::ResBlock res_block(const std::string& name, int level, int64_t in, int64_t out) {
    VaeLayers::ResBlock block{.norm1 = norm(name + ".norm1", in),
                              .conv1 = conv(name + ".conv1", level, in, out),
                              .norm2 = norm(name + ".norm2", out),
                              .conv2 = conv(name + ".conv2", level, out, out),
                              .shortcut = nullptr};
    if (in != out) {
      block.shortcut = std::make_unique<StripConv>(conv(name + ".nin_shortcut", level, in, out, 1));
    }
    return block;
  }

  VaeLayers::AttnBlock attn_block(const std::string& name, int64_t channels) {
    const int level = shape_.num_levels() - 1;
    return {.norm = norm(name + ".norm", channels),
            .qkv = conv(name + ".qkv", level, channels, 3 * channels, 1),
            .proj_out = conv(name + ".proj_out", level, channels, channels, 1)};
  }

  VaeLayers::Level level(int index) {
    const std::string name = fmt::format("decoder.up.{}", index);
    const int64_t channels = shape_.level_channels(index);
    int64_t in = incoming_channels(shape_, index);
    VaeLayers::Level result;
    for (int64_t block = 0; block < shape_.blocks_per_level; ++block, in = channels) {
      result.blocks.push_back(
          res_block(fmt::format("{}.block.{}", name, block), index, in, channels));
      if (has_attention(shape_, index)) {
        result.attentions.push_back(attn_block(fmt::format("{}.attn.{}", name, block), channels));
      }
    }
    if (index > 0) {
      result.upsample =
          std::make_unique<StripConv>(conv(name + ".upsample.conv", index - 1, channels, channels));
    }
    return result;
  }

 private:
  const DecoderShape& shape_;
  WeightLoader& loader_;
};

}  // namespace

int64_t VaeLayers::Norm::groups() const {
  return channels() % kGroups == 0 ? kGroups : kOtherGroups;
}

VaeLayers::VaeLayers(const DecoderShape& shape, WeightLoader& loader) {
  // A block narrows or keeps the channels in place (see VaeDecoder).
  NEXTSCALE_ASSERT(std::ranges::is_sorted(shape.multipliers));
  Builder build(shape, loader);
  const int first = shape.num_levels() - 1;
  const int64_t top = shape.level_channels(first);
  if (shape.kind == DecoderKind::kVqgan) {
    post_quant = std::make_unique<StripConv>(
        build.conv("post_quant_conv", first, shape.latent_channels, shape.latent_channels));
    mid_attn_1 = std::make_unique<AttnBlock>(build.attn_block("decoder.mid.attn_1", top));
  }
  conv_in = build.conv("decoder.conv_in", first, shape.latent_channels, top);
  mid_block_1 = build.res_block("decoder.mid.block_1", first, top, top);
  mid_block_2 = build.res_block("decoder.mid.block_2", first, top, top);
  for (int level = 0; level < shape.num_levels(); ++level) {
    levels.push_back(build.level(level));
  }
  const int64_t last = shape.level_channels(0);
  norm_out = build.norm("decoder.norm_out", last);
  conv_out = build.conv("decoder.conv_out", 0, last, kImageChannels);
}

bool streams_upsample(const DecoderShape& shape, int level) {
  return held_upsample_bytes(shape, level) > shape.map_bytes;
}

bool streams_blocks(const DecoderShape& shape, int level) {
  return held_block_bytes(shape, level) > shape.map_bytes;
}

size_t maps_bytes(const DecoderShape& shape) {
  const int first = shape.num_levels() - 1;
  size_t most = float_bytes(shape.latent.tokens() * shape.latent_channels) +
                map_bytes(shape, first, shape.level_channels(first));
  for (int level = first; level >= 0; --level) {
    const size_t own = map_bytes(shape, level, shape.level_channels(level));
    if (level < first) {
      const size_t before = map_bytes(shape, level + 1, shape.level_channels(level + 1));
      most = std::max(
          most, streams_upsample(shape, level) ? before + own : held_upsample_bytes(shape, level));
    }
    most = std::max(most, streams_blocks(shape, level) ? own : held_block_bytes(shape, level));
  }
  return most;
}

DecoderBytes layers_bytes(const Context& context, const DecoderShape& shape) {
  DecoderBytes bytes;
  for (const auto& [conv, normalized] : layer_shapes(shape)) {
    const kernels::ConvBytes of_conv = StripConv::bytes(context, conv);
    bytes.weights += of_conv.packed;
    if (normalized) bytes.weights += 2 * static_cast<size_t>(conv.in_channels) * sizeof(float);
    bytes.scratch = std::max(bytes.scratch, of_conv.scratch);
  }
  for (int level = 0; level < shape.num_levels(); ++level) {
    bytes.scratch = std::max(bytes.scratch, streamed_bytes(context, shape, level));
  }
  return bytes;
}

}  // namespace nextscale
