// SPDX-License-Identifier: Apache-2.0
#include "policies/settings.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "core/error_format.h"
#include "core/suggest.h"

namespace nextscale {
namespace {

// More than any sequence, and far from overflow.
constexpr int64_t kMaxCount = 1'000'000'000;

std::optional<std::string_view> find_setting(const PolicySpec& spec, std::string_view key) {
  const auto found = spec.settings.find(std::string(key));
  if (found == spec.settings.end()) return std::nullopt;
  return found->second;
}

template <typename Number>
Number in_range(const PolicySpec& spec, std::string_view key, Number fallback, Number lowest,
                Number highest) {
  const std::optional<std::string_view> text = find_setting(spec, key);
  if (!text) return fallback;
  Number value{};
  const char* end = text->data() + text->size();
  const auto [stop, error] = std::from_chars(text->data(), end, value);
  const bool is_number = error == std::errc() && stop == end && value == value;
  if (is_number && value >= lowest && value <= highest) return value;
  const Number nearest = is_number ? std::clamp(value, lowest, highest) : fallback;
  fail(ErrorCode::kUsage, "--kv: policy '{}' got {}={}, wanted {} to {}; write for example {}={}",
       spec.name, key, printable(*text), lowest, highest, key, nearest);
}

}  // namespace

int64_t count_setting(const PolicySpec& spec, std::string_view key, int64_t fallback,
                      int64_t lowest) {
  return in_range<int64_t>(spec, key, fallback, lowest, kMaxCount);
}

int64_t kernel_setting(const PolicySpec& spec, std::string_view key, int64_t fallback) {
  const int64_t kernel = count_setting(spec, key, fallback, 1);
  if (kernel % 2 == 1) return kernel;
  fail(ErrorCode::kUsage,
       "--kv: policy '{}' got {}={}, wanted an odd number; write for example {}={}", spec.name, key,
       kernel, key, kernel + 1);
}

double number_setting(const PolicySpec& spec, std::string_view key, double fallback, double lowest,
                      double highest) {
  return in_range(spec, key, fallback, lowest, highest);
}

size_t word_setting(const PolicySpec& spec, std::string_view key,
                    std::initializer_list<std::string_view> words, size_t fallback) {
  const std::optional<std::string_view> text = find_setting(spec, key);
  if (!text) return fallback;
  const auto* const found = std::ranges::find(words, *text);
  if (found != words.end()) return static_cast<size_t>(found - words.begin());
  fail(ErrorCode::kUsage, "--kv: policy '{}' got {}={}, wanted one of {}{}", spec.name, key,
       printable(*text), fmt::join(words, ", "),
       did_you_mean(*text, {words.begin(), words.size()}));
}

}  // namespace nextscale
