// SPDX-License-Identifier: Apache-2.0
#include "generation_watch.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cancel.h"
#include "core/memory_info.h"

namespace nextscale::cli {
namespace {

std::string plan_text(const Plan& plan) {
  const std::string encoder =
      plan.text_encoder > 0 ? fmt::format(", text encoder {}", format_bytes(plan.text_encoder))
                            : "";
  return fmt::format(
      "plan: {} at most (weights {}, key/value cache {}, activations {}, decoder {}{}, program "
      "{}), {} image{} at a time",
      format_bytes(plan.peak), format_bytes(plan.weights), format_bytes(plan.kv_cache),
      format_bytes(plan.activations), format_bytes(plan.decoder), encoder,
      format_bytes(plan.process), plan.batch, plan.batch == 1 ? "" : "s");
}

}  // namespace

Events GenerationWatch::events(int64_t images_done) {
  Events events;
  events.cancel = &cancel_on_signal();
  events.on_plan = [this](const Plan& plan) { show_plan(plan); };
  events.on_note = [this](const std::string& text) { note(text); };
  events.on_scale = [this, images_done](const ScaleEvent& event) { show(event, images_done); };
  return events;
}

double GenerationWatch::seconds_since_start() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

// Of many requests only those that take more than any before.
void GenerationWatch::show_plan(const Plan& plan) {
  if (plan.peak <= plan_.peak) return;
  plan_ = plan;
  note(plan_text(plan));
}

void GenerationWatch::show(const ScaleEvent& event, int64_t images_done) {
  if (first_scale_seconds_ == 0) {
    first_scale_seconds_ = seconds_since_start() - event.milliseconds / 1e3;
  }
  scale_milliseconds_ += event.milliseconds;
  kv_bytes_ = std::max(kv_bytes_, event.kv_bytes);
  const int64_t first = images_done + event.first_image;
  const auto scale = static_cast<uint64_t>(event.scale) + 1;
  const auto num_scales = static_cast<uint64_t>(event.num_scales);
  const auto done =
      static_cast<uint64_t>(first) * num_scales + scale * static_cast<uint64_t>(event.num_images);
  const bool is_line = lines_ == ScaleLines::kAll || scale == num_scales;
  progress_.show(
      done, static_cast<uint64_t>(num_images_) * num_scales,
      fmt::format("images {}-{} of {}, scale {}/{} ({}x{}): {:.1f} ms, key/value cache {}",
                  first + 1, first + event.num_images, num_images_, scale, num_scales, event.height,
                  event.width, event.milliseconds, format_bytes(event.kv_bytes)),
      is_line ? Progress::Line::kYes : Progress::Line::kNo);
}

void GenerationWatch::note_summary(const Engine& engine) {
  note(
      fmt::format("{} image{} in {:.2f} s (reading and packing weights {:.2f} s, scales {:.2f} s), "
                  "peak memory {}, key/value cache {}",
                  num_images_, num_images_ == 1 ? "" : "s", seconds_since_start(),
                  engine.load_milliseconds() / 1e3, scale_milliseconds_ / 1e3,
                  format_bytes(peak_resident_bytes()), format_bytes(kv_bytes_)));
}

nlohmann::json GenerationWatch::summary(const Engine& engine) const {
  return {{"images", num_images_},
          {"seconds", seconds_since_start()},
          {"first_scale_seconds", first_scale_seconds_},
          {"load_seconds", engine.load_milliseconds() / 1e3},
          {"scale_seconds", scale_milliseconds_ / 1e3},
          {"kv_bytes", kv_bytes_},
          {"peak_bytes", peak_resident_bytes()},
          {"planned_bytes", plan_.peak},
          {"batch", plan_.batch}};
}

}  // namespace nextscale::cli
