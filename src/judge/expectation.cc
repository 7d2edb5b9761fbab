// SPDX-License-Identifier: Apache-2.0
#include "judge/expectation.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "core/error_format.h"
#include "core/suggest.h"

namespace nextscale {
namespace {

using nlohmann::json;

constexpr std::array<std::string_view, 4> kKindNames{"single", "pair", "count", "group"};
constexpr size_t kMaxSprites = 1000;
constexpr std::array<std::string_view, 4> kRelations{"left of", "right of", "above", "below"};

std::string got(const json& value) {
  return printable(value.dump(-1, ' ', false, json::error_handler_t::replace), 60);
}

class ExpectationReader {
 public:
  ExpectationReader(const json& object, const JudgeLabels& labels, std::string_view where)
      : object_(object), labels_(labels), where_(where) {}

  Expectation read() const {
    Expectation result{.kind = kind(), .sprites = sprites()};
    require_count(result);
    if (object_.contains("relation")) result.relation = relation(result.kind);
    if (object_.contains("color")) result.color = number("color", labels_.colors, object_["color"]);
    return result;
  }

 private:
  [[noreturn]] void refuse(std::string_view key, std::string_view wanted) const {
    fail(ErrorCode::kBadFile, "expectations: {}: \"{}\" is {}, wanted {}", where_, key,
         object_.contains(key) ? got(object_[std::string(key)]) : "absent", wanted);
  }

  SceneKind kind() const {
    const auto found = std::ranges::find(kKindNames, object_.value("kind", json()));
    if (found == kKindNames.end()) refuse("kind", "\"single\", \"pair\", \"count\" or \"group\"");
    return static_cast<SceneKind>(found - kKindNames.begin());
  }

  // Which of the names that the judge knows `value` is.
  int64_t number(std::string_view key, const std::vector<std::string>& names,
                 const json& value) const {
    if (!value.is_string()) refuse(key, "names in quotes");
    const auto& name = value.get_ref<const std::string&>();
    const auto found = std::ranges::find(names, name);
    if (found != names.end()) return found - names.begin();
    const std::vector<std::string_view> known(names.begin(), names.end());
    fail(ErrorCode::kMismatch,
         "expectations: {}: \"{}\" names '{}', which this judge does not know{}; give the judge of "
         "these pictures",
         where_, key, printable(name), did_you_mean(name, known));
  }

  std::vector<int64_t> sprites() const {
    const json list = object_.value("sprites", json());
    if (!list.is_array() || list.empty() || list.size() > kMaxSprites) {
      refuse("sprites", fmt::format("a list of 1 to {} names", kMaxSprites));
    }
    std::vector<int64_t> result;
    for (const json& each : list) result.push_back(number("sprites", labels_.classes, each));
    return result;
  }

  void require_count(const Expectation& expected) const {
    const size_t count = expected.sprites.size();
    const bool is_uniform = std::ranges::count(expected.sprites, expected.sprites.front()) ==
                            std::ssize(expected.sprites);
    if (expected.kind == SceneKind::kSingle && count != 1) {
      refuse("sprites", "one name, as \"single\" says");
    }
    if (expected.kind == SceneKind::kPair && (count != 2 || is_uniform)) {
      refuse("sprites", "two different names, as \"pair\" says");
    }
    if (expected.kind == SceneKind::kCount && !is_uniform) {
      refuse("sprites", "one name, repeated, as \"count\" says");
    }
  }

  int64_t relation(SceneKind kind) const {
    if (kind != SceneKind::kPair) refuse("relation", "none but for a \"pair\"");
    const int64_t result = number("relation", labels_.relations, object_["relation"]);
    if (!is_relation(labels_.relations[static_cast<size_t>(result)])) {
      refuse("relation", fmt::format("one of {}", fmt::join(kRelations, ", ")));
    }
    return result;
  }

  const json& object_;
  const JudgeLabels& labels_;
  std::string_view where_;
};

std::vector<int64_t> classes_of(const SeenPicture& seen) {
  std::vector<int64_t> result;
  for (const SeenSprite& each : seen.sprites) result.push_back(each.class_index);
  return result;
}

std::set<int64_t> distinct(const std::vector<int64_t>& classes) {
  return {classes.begin(), classes.end()};
}

bool stand_as_expected(const Expectation& expected, const SeenPicture& seen,
                       const JudgeLabels& labels) {
  // Sprites come best first.
  const auto& sprites = seen.sprites;
  const auto one = std::ranges::find(sprites, expected.sprites[0], &SeenSprite::class_index);
  const auto other = std::ranges::find(sprites, expected.sprites[1], &SeenSprite::class_index);
  return one != sprites.end() && other != sprites.end() &&
         relation_holds(labels.relations[static_cast<size_t>(*expected.relation)], *one, *other);
}

}  // namespace

Expectation parse_expectation(const json& object, const JudgeLabels& labels,
                              std::string_view where) {
  return ExpectationReader(object, labels, where).read();
}

std::optional<int64_t> find_class(const JudgeLabels& labels, std::string_view name) {
  std::string spaced(name);
  std::ranges::replace(spaced, '_', ' ');
  for (const std::string_view wanted : {name, std::string_view(spaced)}) {
    const auto found = std::ranges::find(labels.classes, wanted);
    if (found != labels.classes.end()) return found - labels.classes.begin();
  }
  return std::nullopt;
}

std::optional<Expectation> expect_class(const JudgeLabels& labels, std::string_view names) {
  const std::optional<int64_t> sprite = find_class(labels, names.substr(0, names.find(", ")));
  if (!sprite) return std::nullopt;
  return Expectation{.kind = SceneKind::kSingle, .sprites = {*sprite}};
}

Verdict check(const Expectation& expected, const SeenPicture& seen, const JudgeLabels& labels) {
  Verdict verdict;
  const auto set = [&verdict](Attribute attribute, bool is_right) {
    verdict[static_cast<size_t>(attribute)] = is_right;
  };
  std::vector<int64_t> found = classes_of(seen);
  std::vector<int64_t> wanted = expected.sprites;
  const std::set<int64_t> found_set = distinct(found);
  const std::set<int64_t> wanted_set = distinct(wanted);
  if (expected.kind == SceneKind::kSingle) {
    const auto best = std::ranges::max_element(seen.class_scores);
    set(Attribute::kClass, best - seen.class_scores.begin() == wanted.front());
    set(Attribute::kSingle, !found.empty() && found.front() == wanted.front());
  }
  if (expected.kind == SceneKind::kPair) {
    set(Attribute::kTwo, std::ranges::includes(found_set, wanted_set));
  }
  if (expected.relation) set(Attribute::kPosition, stand_as_expected(expected, seen, labels));
  if (expected.kind == SceneKind::kCount) {
    set(Attribute::kCount, found.size() == wanted.size() && found_set == wanted_set);
  }
  if (expected.color) set(Attribute::kColor, seen.color() == *expected.color);
  std::ranges::sort(found);
  std::ranges::sort(wanted);
  set(Attribute::kAll, found == wanted);
  return verdict;
}

bool is_relation(std::string_view name) {
  return std::ranges::find(kRelations, name) != kRelations.end();
}

bool relation_holds(std::string_view relation, const SeenSprite& one, const SeenSprite& other) {
  const float right = other.x - one.x;
  const float down = other.y - one.y;
  const auto leads = [](float along, float across) {
    return along > 0 && along >= std::abs(across);
  };
  if (relation == "left of") return leads(right, down);
  if (relation == "right of") return leads(-right, down);
  if (relation == "above") return leads(down, right);
  NEXTSCALE_ASSERT(relation == "below");
  return leads(-down, right);
}

}  // namespace nextscale
