// SPDX-License-Identifier: Apache-2.0
#include "models/config_reader.h"

#include <nlohmann/json.hpp>

#include "core/error_format.h"

namespace nextscale {
namespace {

using nlohmann::json;

constexpr size_t kShownBytes = 60;

std::string shown_value(const json* value) {
  if (value == nullptr) return "nothing";
  return printable(value->dump(-1, ' ', true, json::error_handler_t::replace), kShownBytes);
}

}  // namespace

void ConfigReader::refuse(std::string_view key, const json* got, std::string_view wanted) const {
  fail(ErrorCode::kBadFile,
       "{}: config.json has {} for '{}', wanted {}; make the model folder again with 'nextscale "
       "convert'",
       family_, shown_value(got), key, wanted);
}

const json* ConfigReader::member(const json& object, std::string_view key) {
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

const json& ConfigReader::section(const json& config, std::string_view key) const {
  const json* value = config.is_object() ? member(config, key) : nullptr;
  if (value == nullptr || !value->is_object()) refuse(key, value, "an object");
  return *value;
}

int64_t ConfigReader::checked_integer(std::string_view key, const json* value, int64_t least,
                                      int64_t most) const {
  const bool is_huge = value != nullptr && value->is_number_unsigned() &&
                       value->get<uint64_t>() > static_cast<uint64_t>(most);
  const bool is_sound = value != nullptr && value->is_number_integer() && !is_huge &&
                        value->get<int64_t>() >= least && value->get<int64_t>() <= most;
  if (!is_sound) refuse(key, value, fmt::format("a whole number from {} to {}", least, most));
  return value->get<int64_t>();
}

float ConfigReader::checked_real(std::string_view key, const json* value, double least,
                                 double most) const {
  const bool is_sound = value != nullptr && value->is_number() && value->get<double>() >= least &&
                        value->get<double>() <= most;
  if (!is_sound) refuse(key, value, fmt::format("a number from {} to {}", least, most));
  return static_cast<float>(value->get<double>());
}

int64_t ConfigReader::integer(const json& object, std::string_view key, int64_t least,
                              int64_t most) const {
  return checked_integer(key, member(object, key), least, most);
}

float ConfigReader::real(const json& object, std::string_view key, double least,
                         double most) const {
  return checked_real(key, member(object, key), least, most);
}

bool ConfigReader::boolean(const json& object, std::string_view key) const {
  const json* value = member(object, key);
  if (value == nullptr || !value->is_boolean()) refuse(key, value, "true or false");
  return value->get<bool>();
}

std::string ConfigReader::text(const json& object, std::string_view key) const {
  const json* value = member(object, key);
  if (value == nullptr || !value->is_string()) refuse(key, value, "a text");
  return value->get<std::string>();
}

std::vector<int64_t> ConfigReader::integers(const json& object, std::string_view key,
                                            size_t most_items, int64_t most) const {
  const json* value = member(object, key);
  if (value == nullptr || !value->is_array() || value->size() > most_items) {
    refuse(key, value, fmt::format("a list of up to {} whole numbers", most_items));
  }
  std::vector<int64_t> result;
  for (const json& item : *value) result.push_back(checked_integer(key, &item, 1, most));
  return result;
}

std::vector<float> ConfigReader::reals(const json& object, std::string_view key, double least,
                                       double most) const {
  const json* value = member(object, key);
  if (value == nullptr || !value->is_array()) return {checked_real(key, value, least, most)};
  std::vector<float> result;
  for (const json& item : *value) result.push_back(checked_real(key, &item, least, most));
  return result;
}

void ConfigReader::require_family(const json& config) const {
  const json* family = member(config, "family");
  if (family != nullptr && *family == family_) return;
  fail(ErrorCode::kMismatch,
       "{0}: config.json is of the family {1}, wanted \"{0}\"; this model needs another engine",
       family_, family == nullptr ? "none" : shown_value(family));
}

std::string refusal_of(const std::function<void()>& parse) {
  constexpr std::string_view kStart = "config.json has ";
  try {
    parse();
    return "";
  } catch (const Error& error) {
    std::string_view reason = error.what();
    reason.remove_prefix(reason.find(kStart) + kStart.size());
    return std::string(reason.substr(0, reason.find("; make the model")));
  }
}

double decimal(float value) { return std::stod(fmt::format("{}", value)); }

}  // namespace nextscale
