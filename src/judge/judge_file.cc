// SPDX-License-Identifier: Apache-2.0
#include "judge/judge_file.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <set>
#include <string_view>

#include "core/error_format.h"
#include "weights/file_error.h"

namespace nextscale {
namespace {

constexpr std::string_view kFormat = "nextscale-judge";
constexpr std::string_view kVersion = "1";
// Bounds on what a file may claim: far beyond any use, far from overflow.
constexpr int64_t kMaxSide = 1024;
constexpr int64_t kMaxWidth = 4096;
constexpr size_t kMaxConvolutions = 32;
constexpr size_t kMaxLabels = 100'000;

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> result;
  for (size_t comma = text.find(','); comma != std::string_view::npos; comma = text.find(',')) {
    result.emplace_back(text.substr(0, comma));
    text.remove_prefix(comma + 1);
  }
  result.emplace_back(text);
  return result;
}

std::optional<int64_t> whole_number(std::string_view text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

class JudgeReader {
 public:
  explicit JudgeReader(const SafetensorsFile& file) : file_(file), where_(shown(file.path())) {}

  JudgeConfig read() const {
    require_format();
    JudgeConfig config;
    config.labels = {
        .classes = names("classes"), .colors = names("colors"), .relations = names("relations")};
    config.side = side();
    config.threshold = threshold();
    config.widths = widths();
    config.pools = pools(config.widths.size());
    require_cells(config);
    require_heads(config);
    return config;
  }

 private:
  const std::string& value(const std::string& key) const {
    const auto found = file_.metadata().find(key);
    if (found != file_.metadata().end()) return found->second;
    fail(ErrorCode::kMismatch,
         "judge: {} has no '{}' in its metadata; give a judge.safetensors as training/train.py "
         "--stage judge writes it",
         where_, key);
  }

  [[noreturn]] void refuse(const std::string& key, std::string_view wanted) const {
    fail(ErrorCode::kBadFile, "judge: '{}' of {} is '{}', wanted {}; export the judge again", key,
         where_, printable(value(key)), wanted);
  }

  void require_format() const {
    if (value("format") != kFormat) {
      fail(ErrorCode::kMismatch, "judge: {} has the format '{}', wanted '{}'; give a judge", where_,
           printable(value("format")), kFormat);
    }
    if (value("version") != kVersion) {
      fail(ErrorCode::kMismatch,
           "judge: {} has version '{}', wanted {}; export it again, or use the program it was made "
           "for",
           where_, printable(value("version")), kVersion);
    }
  }

  std::vector<std::string> names(const std::string& key) const {
    std::vector<std::string> result = split(value(key));
    if (result.size() > kMaxLabels) refuse(key, fmt::format("at most {} names", kMaxLabels));
    const std::set<std::string_view> distinct(result.begin(), result.end());
    if (distinct.size() < result.size()) refuse(key, "names that all differ");
    if (distinct.contains("")) refuse(key, "names between commas");
    return result;
  }

  int64_t side() const {
    const auto side = whole_number(value("side"));
    if (side && *side >= 1 && *side <= kMaxSide) return *side;
    refuse("side", fmt::format("pixels from 1 to {}", kMaxSide));
  }

  float threshold() const {
    const std::string& text = value("threshold");
    float threshold = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), threshold);
    const bool is_number = error == std::errc() && end == text.data() + text.size();
    if (is_number && threshold >= 0 && threshold <= 1) return threshold;
    refuse("threshold", "a probability");
  }

  const TensorInfo& tensor(const std::string& name) const {
    const TensorInfo* info = file_.find(name);
    if (info != nullptr && info->dtype == DType::kF32) return *info;
    fail(ErrorCode::kMismatch, "judge: {} {} the tensor '{}', wanted f32; export the judge again",
         where_, info == nullptr ? "lacks" : "does not have as f32", name);
  }

  void require(const std::string& name, const Shape& wanted) const {
    const Shape& got = tensor(name).shape;
    if (got == wanted) return;
    fail(ErrorCode::kMismatch,
         "judge: '{}' of {} has the shape {}, wanted {}, as its other tensors and names say; "
         "export the judge again",
         name, where_, got.to_string(), wanted.to_string());
  }

  // Channels behind each convolution, which have to follow each other from the three of a picture.
  std::vector<int64_t> widths() const {
    constexpr int64_t kPictureChannels = 3;
    std::vector<int64_t> widths;
    int64_t inside = kPictureChannels;
    std::string name = "trunk.0";
    do {
      const Shape& got = tensor(name + ".weight").shape;
      const int64_t width = got.rank() > 0 ? std::clamp<int64_t>(got[0], 1, kMaxWidth) : 1;
      require(name + ".weight", {width, inside, 3, 3});
      require(name + ".bias", {width});
      widths.push_back(width);
      inside = width;
      name = fmt::format("trunk.{}", widths.size());
    } while (widths.size() < kMaxConvolutions && file_.find(name + ".weight") != nullptr);
    return widths;
  }

  std::vector<bool> pools(size_t convolutions) const {
    std::vector<bool> pools(convolutions, false);
    if (value("pools").empty()) return pools;
    for (const std::string& text : split(value("pools"))) {
      const auto number = whole_number(text);
      if (!number || *number < 0 || *number >= static_cast<int64_t>(convolutions)) {
        refuse("pools", fmt::format("numbers of convolutions, 0 to {}", convolutions - 1));
      }
      pools[static_cast<size_t>(*number)] = true;
    }
    return pools;
  }

  void require_cells(const JudgeConfig& config) const {
    const int64_t cells = config.cells();
    const auto num_pools = std::ranges::count(config.pools, true);
    if (cells > 0 && cells << num_pools == config.side) return;
    refuse("side", fmt::format("pixels that can be halved {} times", num_pools));
  }

  void require_heads(const JudgeConfig& config) const {
    const auto num_classes = static_cast<int64_t>(config.labels.classes.size());
    const auto num_colors = static_cast<int64_t>(config.labels.colors.size());
    require("heatmap.weight", {num_classes, config.num_features(), 1, 1});
    require("heatmap.bias", {num_classes});
    require("color.weight", {num_colors, config.num_features()});
    require("color.bias", {num_colors});
  }

  const SafetensorsFile& file_;
  std::string where_;
};

}  // namespace

int64_t JudgeConfig::cells() const { return side >> std::ranges::count(pools, true); }

JudgeConfig read_judge_config(const SafetensorsFile& file) { return JudgeReader(file).read(); }

}  // namespace nextscale
