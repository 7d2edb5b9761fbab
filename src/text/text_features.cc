// SPDX-License-Identifier: Apache-2.0
#include "text/text_features.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "core/error_format.h"
#include "weights/file_error.h"
#include "weights/safetensors.h"

namespace nextscale {
namespace {

constexpr std::string_view kPrompts = "text_features";
constexpr std::string_view kNegatives = "negative_text_features";
constexpr std::string_view kNoFeatures = "has no tensor 'text_features'";

class FeatureReader {
 public:
  FeatureReader(const std::filesystem::path& path, const TextFeatureLimits& limits)
      : file_(path), limits_(limits) {}

  // `name` alone, or `name`.0, `name`.1, … without a gap; empty if the file has none of them.
  std::vector<const TensorInfo*> find_all(std::string_view name) const {
    std::vector<const TensorInfo*> result;
    if (const TensorInfo* single = file_.find(name)) result.push_back(single);
    const std::string numbered = std::string(name) + ".";
    const bool is_numbered = result.empty();
    while (is_numbered) {
      const TensorInfo* next = file_.find(numbered + std::to_string(result.size()));
      if (next == nullptr) break;
      result.push_back(next);
    }
    const auto named = std::ranges::count_if(
        file_.tensors(), [&](const TensorInfo& each) { return each.name.starts_with(numbered); });
    if (std::cmp_equal(named, is_numbered ? result.size() : 0)) return result;
    fail(ErrorCode::kMismatch,
         "text features: {} has {} tensors '{}…', wanted '{}' alone or '{}0', '{}1' and so on",
         shown(file_.path()), named, numbered, name, numbered, numbered);
  }

  std::vector<Tensor> read_all(std::string_view name) {
    std::vector<Tensor> result;
    for (const TensorInfo* each : find_all(name)) result.push_back(read(*each));
    return result;
  }

  [[noreturn]] void refuse(std::string_view problem) const {
    fail(ErrorCode::kMismatch, "text features: {} {}; make them with the model's own text encoder",
         shown(file_.path()), problem);
  }

 private:
  Tensor read(const TensorInfo& info) {
    const Shape& shape = info.shape;
    if (shape.rank() != 2 || shape[0] < 1 || shape[0] > limits_.max_tokens ||
        shape[1] != limits_.channels) {
      refuse(fmt::format("has '{}' of shape {}, wanted [1 to {}, {}]", info.name, shape.to_string(),
                         limits_.max_tokens, limits_.channels));
    }
    std::vector<std::byte> bytes(info.num_bytes());
    file_.read(info.name, bytes);
    Tensor result(DType::kF32, shape);
    const std::span values(result.as<float>(), static_cast<size_t>(shape.num_elements()));
    copy_to_f32({bytes.data(), info.dtype, shape}, values);
    if (std::ranges::all_of(values, [](float value) { return std::isfinite(value); })) {
      return result;
    }
    fail(ErrorCode::kBadFile, "text features: '{}' of {} holds numbers that are not finite",
         info.name, shown(file_.path()));
  }

  SafetensorsFile file_;
  TextFeatureLimits limits_;
};

}  // namespace

TextFeatures read_text_features(const std::filesystem::path& path,
                                const TextFeatureLimits& limits) {
  FeatureReader reader(path, limits);
  TextFeatures features{reader.read_all(kPrompts), reader.read_all(kNegatives)};
  if (features.prompts.empty()) reader.refuse(kNoFeatures);
  if (!features.negatives.empty() && features.negatives.size() != features.prompts.size()) {
    reader.refuse(fmt::format("has {} prompts and {} negative ones, wanted one for each",
                              features.prompts.size(), features.negatives.size()));
  }
  return features;
}

int64_t count_text_features(const std::filesystem::path& path) {
  const FeatureReader reader(path, {});
  const auto count = static_cast<int64_t>(reader.find_all(kPrompts).size());
  if (count == 0) reader.refuse(kNoFeatures);
  return count;
}

}  // namespace nextscale
