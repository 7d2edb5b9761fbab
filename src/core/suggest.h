// SPDX-License-Identifier: Apache-2.0
// "Did you mean": the known names closest to one that is not known. For error messages about flags,
// policies, families and classes. Thread safe: no state.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace nextscale {

// The number of single-character insertions, deletions and replacements between two texts, ignoring
// the case of ASCII letters.
size_t edit_distance(std::string_view left, std::string_view right);

// Up to `max_names` candidates near `text`, nearest first, ties in candidate order. A candidate is
// near if at most a third of the longer text, and at least one character, must change.
std::vector<std::string_view> nearest_names(std::string_view text,
                                            std::span<const std::string_view> candidates,
                                            size_t max_names);

// "; did you mean heatkv or hackpp?", or nothing if no candidate is near: the end of an error
// message.
std::string did_you_mean(std::string_view text, std::span<const std::string_view> candidates);

}  // namespace nextscale
