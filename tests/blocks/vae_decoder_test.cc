// SPDX-License-Identifier: Apache-2.0
// The picture does not depend on how the decoder cuts it into strips, nor on which maps it holds.
#include "blocks/vae_decoder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "apps/random_checkpoint/random_infinity.h"
#include "apps/random_checkpoint/random_tensors.h"
#include "core/rng.h"
#include "models/infinity/infinity_tensors.h"
#include "tests/weights/temporary_folder.h"

namespace nextscale {
namespace {

constexpr size_t kWhole = size_t{1} << 30;

class VaeDecoderTest : public testing::TestWithParam<const kernels::KernelTable*> {
 protected:
  VaeDecoderTest() {
    const InfinityConfig config = random_infinity_config({.layers = 1,
                                                          .chunks = 1,
                                                          .heads = 1,
                                                          .head_dim = 16,
                                                          .pool_heads = 1,
                                                          .text_channels = 4,
                                                          .latent_channels = 5,
                                                          .base_channels = 24,
                                                          .multipliers = {1, 2, 2},
                                                          .num_res_blocks = 1});
    write_shards(folder_ / "vae", random_contents(infinity_vae_tensors(config), 3), 1);
    shape_ = {.kind = DecoderKind::kPlain,
              .latent = {5, 3},
              .latent_channels = config.latent_channels,
              .base_channels = config.base_channels,
              .multipliers = config.channel_multipliers,
              .blocks_per_level = config.num_res_blocks + 1,
              .strip_bytes = kWhole,
              .map_bytes = kWhole};
    context_.num_threads = 2;
    context_.kernels = GetParam();
  }

  std::vector<float> decode(size_t strip_bytes, size_t map_bytes) {
    DecoderShape shape = shape_;
    shape.strip_bytes = strip_bytes;
    shape.map_bytes = map_bytes;
    const SafetensorsFile file(folder_ / "vae/model-00001-of-00001.safetensors");
    WeightLoader loader(context_, file);
    const VaeDecoder decoder(shape, loader);
    const DecoderBytes planned = VaeDecoder::bytes(context_, shape);
    std::vector<float> latent(static_cast<size_t>(shape.latent.tokens() * shape.latent_channels));
    for (uint32_t at = 0; at < latent.size(); ++at) {
      latent[at] = uniform({.seed = 1, .position = at}, 0) - 0.5F;
    }
    Arena scratch(planned.scratch, "a test");
    context_.scratch = &scratch;
    std::vector<float> rgb(static_cast<size_t>(3 * shape.image_size().tokens()));
    decoder.decode(context_, latent.data(), rgb.data());
    EXPECT_LE(scratch.high_water_bytes(), planned.scratch);
    return rgb;
  }

  TemporaryFolder folder_;
  Context context_;
  DecoderShape shape_;
};

TEST_P(VaeDecoderTest, StripsDoNotChangeAPixel) {
  const std::vector<float> whole = decode(kWhole, kWhole);
  EXPECT_GT(*std::ranges::max_element(whole), *std::ranges::min_element(whole));
  EXPECT_EQ(decode(1, kWhole), whole);
}

TEST_P(VaeDecoderTest, MapsThatAreNotHeldDoNotChangeAPixel) {
  const std::vector<float> whole = decode(kWhole, kWhole);
  // The finest level's maps of 24 channels take 23 KiB each, its upsampled map of 48 takes 46 KiB:
  // none is held, or only the blocks' are.
  EXPECT_EQ(decode(1, 0), whole);
  EXPECT_EQ(decode(20'000, 60'000), whole);
}

INSTANTIATE_TEST_SUITE_P(Tables, VaeDecoderTest,
                         testing::Values(&kernels::cpu_table(), &kernels::ref_table()),
                         [](const auto& table) { return std::string(table.param->name); });

}  // namespace
}  // namespace nextscale
