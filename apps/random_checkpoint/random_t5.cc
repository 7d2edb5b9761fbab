// SPDX-License-Identifier: Apache-2.0
#include "apps/random_checkpoint/random_t5.h"

#include <nlohmann/json.hpp>
#include <string_view>

#include "apps/random_checkpoint/random_tensors.h"
#include "apps/random_checkpoint/spiece_writer.h"
#include "core/atomic_file.h"
#include "core/error_format.h"
#include "models/text/convert_t5.h"
#include "weights/model_folder.h"

namespace nextscale {
namespace {

constexpr int64_t kVocab = 32128;
constexpr int64_t kBuckets = 32;
constexpr int64_t kMaxDistance = 128;
constexpr int64_t kHeadDim = 64;

void write_text(const std::filesystem::path& path, const std::string& text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

}  // namespace

T5Config published_t5_config(const std::string& name) {
  T5Config config{
      .head_dim = kHeadDim, .vocab = kVocab, .buckets = kBuckets, .max_distance = kMaxDistance};
  const auto sized = [&](int64_t layers, int64_t width, int64_t heads, int64_t ffn_width) {
    config.layers = layers;
    config.width = width;
    config.heads = heads;
    config.ffn_width = ffn_width;
    return config;
  };
  if (name == "small") return sized(8, 512, 6, 1024);
  if (name == "base") return sized(12, 768, 12, 2048);
  if (name == "large") return sized(24, 1024, 16, 2816);
  if (name == "xl") return sized(24, 2048, 32, 5120);
  fail(ErrorCode::kUsage, "random checkpoint: there is no T5 '{}'; wanted small, base, large or xl",
       printable(name));
}

void write_random_t5(const std::filesystem::path& folder, const T5Config& config, uint64_t seed,
                     int num_shards) {
  write_shards(folder, random_contents(t5_tensors(config), seed), num_shards);
  write_text(folder / kModelConfigName, to_json(config).dump(2));
  write_text(folder / kTokenizerName, ascii_spiece_model());
}

}  // namespace nextscale
