// SPDX-License-Identifier: Apache-2.0
#include "models/var/imagenet_classes.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>
#include <vector>

#include "core/error_format.h"
#include "core/suggest.h"

namespace nextscale {
namespace {

constexpr size_t kMaxListedClasses = 8;
constexpr std::string_view kSeparator = ", ";

// Lower case, "_" as a space.
std::string normalized(std::string_view text) {
  std::string result(text);
  for (char& letter : result) {
    if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
    if (letter == '_') letter = ' ';
  }
  return result;
}

std::vector<std::string_view> split_names(std::string_view names) {
  std::vector<std::string_view> result;
  for (size_t end = names.find(kSeparator); end != std::string_view::npos;
       end = names.find(kSeparator)) {
    result.push_back(names.substr(0, end));
    names.remove_prefix(end + kSeparator.size());
  }
  result.push_back(names);
  return result;
}

std::optional<int64_t> parse_index(std::string_view text) {
  int64_t index = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), index);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return index;
}

bool is_all_names(std::string_view wanted, std::string_view names) {
  // With a single name this would prefer it to the equal main name of a class with several.
  return wanted.find(kSeparator) != std::string_view::npos && wanted == names;
}

bool is_main_name(std::string_view wanted, std::string_view names) {
  return wanted == main_name(names);
}

bool is_any_name(std::string_view wanted, std::string_view names) {
  const auto each = split_names(names);
  return std::ranges::find(each, wanted) != each.end();
}

bool is_part_of_names(std::string_view wanted, std::string_view names) {
  return names.find(wanted) != std::string_view::npos;
}

// From the strictest rule to the loosest; the first rule under which any class fits decides.
using Rule = bool (*)(std::string_view wanted, std::string_view names);
constexpr std::array<Rule, 4> kRules{is_all_names, is_main_name, is_any_name, is_part_of_names};

using Names = std::span<const std::string>;

std::vector<int64_t> fitting_classes(const std::string& wanted, Names names) {
  std::vector<int64_t> fitting;
  for (const Rule rule : kRules) {
    for (size_t index = 0; index < names.size(); ++index) {
      if (rule(wanted, normalized(names[index]))) {
        fitting.push_back(static_cast<int64_t>(index));
      }
    }
    if (!fitting.empty()) break;
  }
  return fitting;
}

[[noreturn]] void fail_ambiguous(std::string_view text, const std::vector<int64_t>& fitting,
                                 Names names) {
  std::string list;
  for (size_t rank = 0; rank < std::min(kMaxListedClasses, fitting.size()); ++rank) {
    list += fmt::format("{}{} ({})", rank == 0 ? "" : "; ", fitting[rank],
                        names[static_cast<size_t>(fitting[rank])]);
  }
  if (fitting.size() > kMaxListedClasses) {
    list += fmt::format("; and {} more", fitting.size() - kMaxListedClasses);
  }
  fail(ErrorCode::kUsage, "class: \"{}\" could mean {}; give one of these indices", printable(text),
       list);
}

[[noreturn]] void fail_unknown(std::string_view text, Names names) {
  std::vector<std::string_view> all_names;
  for (const std::string_view synonyms : names) {
    const auto each = split_names(synonyms);
    all_names.insert(all_names.end(), each.begin(), each.end());
  }
  const std::string hint = did_you_mean(text, all_names);
  fail(ErrorCode::kNotFound, "class: there is no class called \"{}\"{}", printable(text),
       hint.empty() ? fmt::format("; give an index from 0 to {} or a name such as {}",
                                  names.size() - 1, printable(main_name(names.front())))
                    : hint);
}

}  // namespace

std::vector<std::string> imagenet_class_names() {
  return {imagenet_names().begin(), imagenet_names().end()};
}

std::string_view main_name(std::string_view names) { return split_names(names).front(); }

int64_t resolve_class(std::string_view text, int64_t num_classes, Names names) {
  if (const auto index = parse_index(text)) {
    if (*index >= 0 && *index < num_classes) return *index;
    fail(ErrorCode::kNotFound, "class: got the index {}, wanted 0 to {}", *index, num_classes - 1);
  }
  const std::string wanted = normalized(text);
  if (names.empty() || wanted.empty()) {
    fail(ErrorCode::kUsage, "class: got \"{}\", wanted an index from 0 to {}{}", printable(text),
         num_classes - 1, wanted.empty() ? "" : "; the classes of this model have no names");
  }
  const std::vector<int64_t> fitting = fitting_classes(wanted, names);
  if (fitting.empty()) fail_unknown(text, names);
  if (fitting.size() > 1) fail_ambiguous(text, fitting, names);
  return fitting.front();
}

}  // namespace nextscale
