// SPDX-License-Identifier: Apache-2.0
#include "expectation_file.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string_view>

#include "core/error_format.h"
#include "core/suggest.h"
#include "line_reader.h"
#include "weights/file_error.h"
#include "weights/json_text.h"

namespace nextscale::cli {
namespace {

using nlohmann::json;

constexpr size_t kMaxLineBytes = size_t{1} << 20;
constexpr std::array<std::string_view, 10> kKeys{"kind", "sprites",  "relation", "color", "class",
                                                 "name", "negative", "prompt",   "seed",  "n"};

std::string text_of(const json& object, const char* key, const std::string& where) {
  const json value = object.value(key, json(""));
  if (value.is_string()) return value;
  fail(ErrorCode::kBadFile, "expectations: {}: \"{}\" is {}, wanted a text in quotes", where, key,
       printable(value.dump(), 60));
}

ExpectedPicture parse_line(const LineReader& lines, const JudgeLabels& labels) {
  const std::string where = fmt::format("line {} of {}", lines.number(), shown(lines.path()));
  const json object = parse_json(lines.text(), where);
  if (!object.is_object()) {
    fail(ErrorCode::kBadFile,
         "expectations: {}: wanted an object such as {{\"kind\": \"single\", \"sprites\": "
         "[\"dog\"]}}",
         where);
  }
  for (const auto& [key, ignored] : object.items()) {
    if (std::ranges::find(kKeys, key) != kKeys.end()) continue;
    fail(ErrorCode::kBadFile, "expectations: {}: there is no key \"{}\"{}", where, printable(key),
         did_you_mean(key, kKeys));
  }
  const std::string name = text_of(object, "name", where);
  return {.line = lines.number(),
          .stem = name.empty() ? fmt::format("{:06}", lines.number()) : name,
          .class_name = text_of(object, "class", where),
          .expectation = parse_expectation(object, labels, where)};
}

}  // namespace

std::vector<ExpectedPicture> read_expectations(const std::filesystem::path& path,
                                               const JudgeLabels& labels) {
  LineReader lines(path, kMaxLineBytes);
  std::vector<ExpectedPicture> result;
  while (lines.next_with_text()) result.push_back(parse_line(lines, labels));
  if (!result.empty()) return result;
  fail(ErrorCode::kBadFile, "expectations: {} is empty, wanted a line for every picture",
       shown(path));
}

}  // namespace nextscale::cli
