// SPDX-License-Identifier: Apache-2.0
// Knobs of policies, read from a spec: the default if absent, Error(kUsage) if out of range.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <utility>

#include "policies/spec.h"

namespace nextscale {

// A whole number of at least `lowest`.
int64_t count_setting(const PolicySpec& spec, std::string_view key, int64_t fallback,
                      int64_t lowest);

// An odd whole number: the size of a pooling kernel.
int64_t kernel_setting(const PolicySpec& spec, std::string_view key, int64_t fallback);

// A number in [lowest, highest].
double number_setting(const PolicySpec& spec, std::string_view key, double fallback, double lowest,
                      double highest);

// The index of the word given, among `words`.
size_t word_setting(const PolicySpec& spec, std::string_view key,
                    std::initializer_list<std::string_view> words, size_t fallback);

}  // namespace nextscale
