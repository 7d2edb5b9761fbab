// SPDX-License-Identifier: Apache-2.0
#include "prompt_file.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "core/error_format.h"
#include "core/suggest.h"
#include "core/utf8.h"
#include "judge/expectation.h"
#include "weights/file_error.h"
#include "weights/json_text.h"

namespace nextscale::cli {
namespace {

using nlohmann::json;

constexpr size_t kMaxLineBytes = size_t{1} << 20;
constexpr int64_t kMaxImages = 1'000'000;
// Leaves room for the picture's number in what file systems take as a name.
constexpr size_t kMaxNameBytes = 200;
constexpr std::array<std::string_view, 5> kKeys{"prompt", "negative", "seed", "n", "name"};

// Where in the file a complaint belongs.
class Place {
 public:
  explicit Place(const LineReader& lines)
      : text_(fmt::format("line {} of {}", lines.number(), shown(lines.path()))) {}

  const std::string& text() const { return text_; }

  [[noreturn]] void refuse(std::string_view what) const {
    fail(ErrorCode::kBadFile, "prompts: {}: {}", text_, what);
  }

 private:
  std::string text_;
};

std::string got(const json& value) {
  return printable(value.dump(-1, ' ', false, json::error_handler_t::replace), 60);
}

std::string text_of(const json& value, std::string_view key, const Place& place) {
  if (!value.is_string()) {
    place.refuse(fmt::format("\"{}\" is {}, wanted a text in quotes", key, got(value)));
  }
  const auto& text = value.get_ref<const std::string&>();
  if (text.size() > kMaxPromptBytes) {
    place.refuse(fmt::format("\"{}\" has {} bytes, wanted at most {}; shorten it", key, text.size(),
                             kMaxPromptBytes));
  }
  if (text.find('\0') == std::string::npos) return text;
  place.refuse(fmt::format("\"{}\" holds the character \\u0000; remove it", key));
}

// Why no file may be called like this; empty if one may.
std::string name_problem(const std::string& name) {
  const auto is_control = [](unsigned char letter) { return letter < 0x20 || letter == 0x7f; };
  if (name.empty()) return "wanted at least one character";
  if (name.size() > kMaxNameBytes) return fmt::format("wanted at most {} bytes", kMaxNameBytes);
  if (name.front() == '.') return "wanted no dot at its start";
  if (name.find_first_of("/\\") != std::string::npos) return "wanted a name without folders";
  if (std::ranges::any_of(name, is_control)) return "wanted no control characters";
  return {};
}

std::string name_of(const json& value, const Place& place) {
  std::string name = text_of(value, "name", place);
  const std::string problem = name_problem(name);
  if (problem.empty()) return name;
  place.refuse(fmt::format("\"name\" is '{}', {}", printable(name), problem));
}

uint64_t seed_of(const json& value, const Place& place) {
  if (value.is_number_unsigned()) return value.get<uint64_t>();
  place.refuse(fmt::format("\"seed\" is {}, wanted a whole number from 0", got(value)));
}

int64_t images_of(const json& value, const Place& place) {
  if (value.is_number_unsigned() && value >= 1 && value <= kMaxImages) return value.get<int64_t>();
  place.refuse(
      fmt::format("\"n\" is {}, wanted a whole number from 1 to {}", got(value), kMaxImages));
}

// What the pictures should show is for `nextscale eval`, which reads the same files.
void require_known(const std::string& key, const Place& place) {
  if (std::ranges::find(kKeys, key) != kKeys.end()) return;
  if (std::ranges::find(kExpectationKeys, key) != kExpectationKeys.end()) return;
  place.refuse(fmt::format("there is no key \"{}\", wanted prompt, negative, seed, n or name{}",
                           printable(key), did_you_mean(key, kKeys)));
}

void require_utf8(const std::string& text, const Place& place) {
  const auto position = first_invalid_utf8(text);
  if (!position) return;
  place.refuse(fmt::format("byte {} (0x{:02x}) is not UTF-8; save the file as UTF-8", *position,
                           static_cast<unsigned char>(text[*position])));
}

}  // namespace

std::string FilePrompt::stem() const { return name.empty() ? fmt::format("{:06}", line) : name; }

PromptForm prompt_form(const std::filesystem::path& path) {
  if (path.extension() == ".txt") return PromptForm::kPlainLines;
  if (path.extension() == ".jsonl") return PromptForm::kJsonLines;
  fail(
      ErrorCode::kUsage,
      "--prompts: got {}, wanted a .jsonl (an object with \"prompt\" a line) or a .txt (a prompt a "
      "line)",
      shown(path));
}

PromptFile::PromptFile(const std::filesystem::path& path, PromptForm form)
    : lines_(path, kMaxLineBytes), form_(form) {}

FilePrompt PromptFile::parse_json_line() const {
  const Place place(lines_);
  const json value = parse_json(lines_.text(), place.text());
  if (!value.is_object()) {
    place.refuse(fmt::format("got {}, wanted an object such as {{\"prompt\": \"a red apple\"}}",
                             got(value)));
  }
  FilePrompt result{.line = lines_.number()};
  for (const auto& [key, each] : value.items()) {
    require_known(key, place);
    if (key == "prompt") result.prompt.text = text_of(each, key, place);
    if (key == "negative") result.prompt.negative = text_of(each, key, place);
    if (key == "seed") result.seed = seed_of(each, place);
    if (key == "n") result.images = images_of(each, place);
    if (key == "name") result.name = name_of(each, place);
  }
  if (!value.contains("prompt")) place.refuse("has no \"prompt\", wanted one");
  return result;
}

FilePrompt PromptFile::parse() const {
  require_utf8(lines_.text(), Place(lines_));
  if (form_ == PromptForm::kJsonLines) return parse_json_line();
  return {.line = lines_.number(),
          .prompt = {.text = text_of(lines_.text(), "prompt", Place(lines_))}};
}

std::optional<FilePrompt> PromptFile::next() {
  if (!lines_.next_with_text()) return std::nullopt;
  return parse();
}

PromptCounts check_prompts(const std::filesystem::path& path, int64_t images_each) {
  PromptFile file(path);
  PromptCounts counts;
  std::unordered_map<std::string, int64_t> lines_of_stems;
  while (const std::optional<FilePrompt> each = file.next()) {
    const auto [other, is_new] = lines_of_stems.try_emplace(each->stem(), each->line);
    if (!is_new) {
      fail(ErrorCode::kBadFile,
           "prompts: line {} of {}: its pictures would be called '{}…' like those of line {}; give "
           "one of them another \"name\"",
           each->line, shown(path), printable(each->stem()), other->second);
    }
    ++counts.prompts;
    counts.images += each->images.value_or(images_each);
  }
  if (counts.prompts > 0) return counts;
  fail(ErrorCode::kBadFile, "prompts: {} holds no prompt, wanted at least one line with text",
       shown(path));
}

std::vector<Prompt> read_prompts(const std::filesystem::path& path, int64_t at_most,
                                 const std::optional<std::string>& negative) {
  check_prompts(path, 1);
  PromptFile file(path);
  std::vector<Prompt> prompts;
  while (std::cmp_less(prompts.size(), at_most)) {
    std::optional<FilePrompt> next = file.next();
    if (!next) break;
    if (!next->prompt.negative) next->prompt.negative = negative;
    prompts.push_back(std::move(next->prompt));
  }
  return prompts;
}

}  // namespace nextscale::cli
