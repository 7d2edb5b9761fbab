// SPDX-License-Identifier: Apache-2.0
#include "text/feature_cache.h"

#include <map>
#include <utility>

#include "core/error_format.h"
#include "weights/file_error.h"
#include "weights/safetensors.h"
#include "weights/sha256.h"

namespace nextscale {
namespace {

constexpr std::string_view kFormat = "nextscale-text-features 1";
constexpr std::string_view kTensor = "text_features";

std::span<const std::byte> bytes_of(const Tensor& features) {
  return {features.as<std::byte>(), features.num_bytes()};
}

// The whole entry, or an error that says what is wrong with it.
Tensor read_entry(const std::filesystem::path& path, const Shape& shape) {
  SafetensorsFile file(path);
  const TensorInfo* info = file.find(kTensor);
  if (info == nullptr || info->dtype != DType::kF32 || !(info->shape == shape)) {
    fail(ErrorCode::kBadFile, "{} does not hold features of shape {}", shown(path),
         shape.to_string());
  }
  Tensor features(DType::kF32, shape);
  file.read(kTensor, {features.as<std::byte>(), features.num_bytes()});
  const auto checksum = file.metadata().find("sha256");
  if (checksum != file.metadata().end() && checksum->second == sha256_hex(bytes_of(features))) {
    return features;
  }
  fail(ErrorCode::kBadFile, "the checksum of {} differs", shown(path));
}

}  // namespace

FeatureCache::FeatureCache(std::filesystem::path folder, std::string encoder, int64_t channels)
    : folder_(std::move(folder)), encoder_(std::move(encoder)), channels_(channels) {
  std::error_code error;
  std::filesystem::create_directories(folder_, error);
  if (error) fail_system("create folder", folder_, error.value());
}

std::filesystem::path FeatureCache::entry(std::span<const int32_t> ids) const {
  Sha256 hash;
  const std::string head = fmt::format("{}\n{}\n", kFormat, encoder_);
  hash.add(std::as_bytes(std::span(head)));
  hash.add(std::as_bytes(ids));
  return folder_ / (hash.finish() + ".safetensors");
}

CachedFeatures FeatureCache::find(std::span<const int32_t> ids) const {
  const std::filesystem::path path = entry(ids);
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return {};
  try {
    return {.features = read_entry(path, Shape{static_cast<int64_t>(ids.size()), channels_}),
            .note = {}};
  } catch (const Error& damage) {
    return {.features = std::nullopt,
            .note = fmt::format("text cache: an entry is damaged and will be written anew ({})",
                                damage.what())};
  }
}

void FeatureCache::store(std::span<const int32_t> ids, const Tensor& features) const {
  NEXTSCALE_ASSERT(features.shape() == (Shape{static_cast<int64_t>(ids.size()), channels_}));
  const std::map<std::string, std::string> metadata{{"format", std::string(kFormat)},
                                                    {"encoder", encoder_},
                                                    {"sha256", sha256_hex(bytes_of(features))}};
  SafetensorsWriter writer(entry(ids), {{std::string(kTensor), DType::kF32, features.shape()}},
                           metadata);
  writer.write(bytes_of(features));
  writer.finish();
}

}  // namespace nextscale
