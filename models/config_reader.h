// SPDX-License-Identifier: Apache-2.0
// Values of a model folder's config.json, checked: anything that is absent or out of range is
// refused with the key, what it holds and what it may hold. For the configs of the families. Thread
// safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace nextscale {

class ConfigReader {
 public:
  // `family` must outlive the reader.
  explicit constexpr ConfigReader(std::string_view family) : family_(family) {}

  // All throw Error(kBadFile).
  const nlohmann::json& section(const nlohmann::json& config, std::string_view key) const;
  int64_t integer(const nlohmann::json& object, std::string_view key, int64_t least,
                  int64_t most) const;
  float real(const nlohmann::json& object, std::string_view key, double least, double most) const;
  bool boolean(const nlohmann::json& object, std::string_view key) const;
  std::string text(const nlohmann::json& object, std::string_view key) const;
  // At most `most_items` numbers from 1 to `most`.
  std::vector<int64_t> integers(const nlohmann::json& object, std::string_view key,
                                size_t most_items, int64_t most) const;
  // A list, or one number for a list of one, of numbers from `least` to `most`.
  std::vector<float> reals(const nlohmann::json& object, std::string_view key, double least,
                           double most) const;
  [[noreturn]] void refuse(std::string_view key, const nlohmann::json* got,
                           std::string_view wanted) const;
  // Throws Error(kMismatch) unless the config is of this reader's family.
  void require_family(const nlohmann::json& config) const;

  // The value at `key`, or null.
  static const nlohmann::json* member(const nlohmann::json& object, std::string_view key);

 private:
  int64_t checked_integer(std::string_view key, const nlohmann::json* value, int64_t least,
                          int64_t most) const;
  float checked_real(std::string_view key, const nlohmann::json* value, double least,
                     double most) const;

  std::string_view family_;
};

// What a reader says is wrong with the config that `parse` reads ("0 for 'layers', wanted …");
// empty if nothing is.
std::string refusal_of(const std::function<void()>& parse);

// The shortest decimal that means this float: the double it rounds to would read 9.99999997e-07.
double decimal(float value);

}  // namespace nextscale
