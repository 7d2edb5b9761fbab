// SPDX-License-Identifier: Apache-2.0
// What a picture should show, and whether a judge saw it: the accuracies of GenEval (Ghosh et al.,
// "GenEval: an object-focused framework for evaluating text-to-image alignment", NeurIPS 2023) by
// the rules of training/judge.py. Plain data; thread safe.
#pragma once

#include <array>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string_view>
#include <vector>

#include "judge/judge.h"

namespace nextscale {

enum class SceneKind {
  kSingle,  // one sprite
  kPair,    // two different ones
  kCount,   // several of one class
  kGroup,   // several different ones
};

struct Expectation {
  SceneKind kind = SceneKind::kSingle;
  std::vector<int64_t> sprites{};     // classes of the judge, with repetition
  std::optional<int64_t> relation{};  // of a pair's first sprite to its second
  std::optional<int64_t> color{};     // of the background

  bool operator==(const Expectation&) const = default;
};

// Keys of an expectation in a line of JSON (docs/formats.md).
inline constexpr std::array<std::string_view, 4> kExpectationKeys{"kind", "sprites", "relation",
                                                                  "color"};

// Reads these keys of an object and no other, as names that the judge knows. Throws
// Error(kBadFile) starting with `where`, kMismatch for names that the judge does not know.
Expectation parse_expectation(const nlohmann::json& object, const JudgeLabels& labels,
                              std::string_view where);

// The number of a class by name ('_' read as a space); nothing if the judge does not know it.
std::optional<int64_t> find_class(const JudgeLabels& labels, std::string_view name);

// One sprite, of the class with these names (synonyms separated by ", "); nothing if the judge does
// not know the first.
std::optional<Expectation> expect_class(const JudgeLabels& labels, std::string_view names);

enum class Attribute {
  kClass,     // singles: of all classes this one has the best score, whether above the threshold or
              // not
  kSingle,    // singles: the best sprite is of the class
  kTwo,       // pairs: both classes are there
  kCount,     // counts: as many sprites, all of the class
  kPosition,  // pairs with a relation: both are there, and the best of each stand so
  kColor,     // where a colour is expected: it is the best
  kAll,       // always: exactly these sprites
};
inline constexpr std::array<std::string_view, 7> kAttributeNames{
    "class", "single", "two", "count", "position", "color", "all"};

// Whether each attribute was seen as expected; nothing where the expectation says nothing of it.
// Indexed by Attribute.
using Verdict = std::array<std::optional<bool>, kAttributeNames.size()>;
Verdict check(const Expectation& expected, const SeenPicture& seen, const JudgeLabels& labels);

// Whether one sprite stands to another as the relation says: in its direction, and no less along it
// than across. `relation` is "left of", "right of", "above" or "below".
bool relation_holds(std::string_view relation, const SeenSprite& one, const SeenSprite& other);
bool is_relation(std::string_view name);

}  // namespace nextscale
