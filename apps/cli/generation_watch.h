// SPDX-License-Identifier: Apache-2.0
// Follows a generation for people: the plan, progress, notes, and what it took in the end. One
// thread at a time; outlives the events it made.
#pragma once

#include <chrono>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "nextscale/engine.h"
#include "progress.h"

namespace nextscale::cli {

enum class ScaleLines { kLast, kAll };

class GenerationWatch {
 public:
  GenerationWatch(int64_t num_images, ScaleLines lines) : num_images_(num_images), lines_(lines) {}

  // Events of a request that makes the next pictures, behind `images_done` others. Previews and
  // pictures are the caller's.
  Events events(int64_t images_done);

  void note(const std::string& text) { progress_.note(text); }
  // The closing line.
  void note_summary(const Engine& engine);
  // The same as JSON, for programs.
  nlohmann::json summary(const Engine& engine) const;

 private:
  double seconds_since_start() const;
  void show_plan(const Plan& plan);
  void show(const ScaleEvent& event, int64_t images_done);

  int64_t num_images_;
  ScaleLines lines_;
  Progress progress_;
  Plan plan_;  // the largest
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  double first_scale_seconds_ = 0;  // from the start of the command to the first scale's
  double scale_milliseconds_ = 0;
  uint64_t kv_bytes_ = 0;
};

}  // namespace nextscale::cli
