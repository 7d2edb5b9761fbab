// SPDX-License-Identifier: Apache-2.0
// What pictures should show, in a file of JSON lines (docs/formats.md): as written beside held-out
// scenes by training/evaluation.py. The same file serves as --prompts, or names classes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "judge/expectation.h"

namespace nextscale::cli {

inline constexpr const char* kExpectationsName = "expectations.jsonl";  // in a folder of pictures

struct ExpectedPicture {
  int64_t line = 0;        // of the file, from 1
  std::string stem;        // of its files: the line's name, or its number in six digits
  std::string class_name;  // number or name, for models of classes; empty if the line has none
  Expectation expectation;
};

// All lines of a file, at least one. Throws Error: kNotFound, kUsage (no regular file), kIo,
// kBadFile and kMismatch saying what is wrong in which line.
std::vector<ExpectedPicture> read_expectations(const std::filesystem::path& path,
                                               const JudgeLabels& labels);

}  // namespace nextscale::cli
