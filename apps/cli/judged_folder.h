// SPDX-License-Identifier: Apache-2.0
// The pictures of a folder as a judge sees them.
#pragma once

#include <filesystem>

#include "judge/judge.h"
#include "judge/judged_set.h"
#include "progress.h"

namespace nextscale::cli {

// All .png of a folder and its subfolders, in the order of their paths. What they should show is
// said by `expectations`, if given, else by expectations.jsonl in the folder, where the line called
// NAME is for NAME.png and NAME_000.png, NAME_001.png ...; else by subfolders called NUMBER_CLASS,
// as `eval dump` makes them; else nothing is known. Throws Error: kNotFound, kUsage (no picture),
// kMismatch (sizes that differ, expectations of other pictures), kCancelled, and as read_png() and
// read_expectations() do.
JudgedSet judge_folder(const std::filesystem::path& folder,
                       const std::filesystem::path& expectations, Judge& judge, Progress& progress);

}  // namespace nextscale::cli
