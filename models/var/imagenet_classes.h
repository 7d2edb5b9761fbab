// SPDX-License-Identifier: Apache-2.0
// Classes by name, and the names of ImageNet's. A class has one or more names, such as its WordNet
// synonyms; the first is its main name. Thread safe: constant tables.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace nextscale {

constexpr size_t kNumImagenetClasses = 1000;

// The names of each class, separated by ", ": "tabby, tabby cat" at index 281.
std::span<const std::string_view, kNumImagenetClasses> imagenet_names();

std::vector<std::string> imagenet_class_names();

// The first of the names of a class.
std::string_view main_name(std::string_view names);

// The class that `text` means, for a model of `num_classes` classes; `names` as imagenet_names()
// gives them, one for each class, or none. Tried in this order, case ignored and "_" read as a
// space:
//   an index                   281
//   all names of a class       "maillot, tank suit"
//   the main name of a class   tabby
//   any name of a class        "tabby cat"
//   a part of a name           abby
// Throws Error(kUsage) listing the candidates if several classes fit equally well ("crane" is a
// bird and a machine), and Error(kNotFound) with the nearest names if none does. Without names only
// an index is understood.
//
//   int64_t tabby = resolve_class("tabby cat", 1000, imagenet_class_names());  // 281
int64_t resolve_class(std::string_view text, int64_t num_classes,
                      std::span<const std::string> names);

}  // namespace nextscale
