// SPDX-License-Identifier: Apache-2.0
#include "engine/calibration_run.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "calibrate/collector.h"
#include "core/error_format.h"
#include "weights/file_error.h"

namespace nextscale {
namespace {

namespace fs = std::filesystem;

// Samples between two writes of the unfinished file, where the batch is left to the engine.
constexpr int64_t kSamplesPerWrite = 4;

constexpr int64_t kMaxSamples = 1'000'000;

// Elements [first, last) of a list, if it has any.
template <typename Element>
void keep_part(std::vector<Element>& list, int64_t first, int64_t last) {
  if (list.empty()) return;
  list = std::vector<Element>(list.begin() + first, list.begin() + last);
}

class Runner {
 public:
  Runner(const CalibrationRun& run, const CalibrationEvents& events)
      : run_(run),
        events_(events),
        partial_(partial_path(run.output)),
        collector_(run.header.geometry, run.header.source->asi_top) {}

  void run(const GenerateSamples& generate) {
    resume();
    while (done_ < source().samples) {
      const Request request = next_request();
      try {
        generate(request, events_of_part());
      } catch (const Error& error) {
        if (error.code() != ErrorCode::kCancelled) throw;
        fail(ErrorCode::kCancelled,
             "cancelled: {} of {} samples are done{}; the same command goes on from there", done_,
             source().samples, done_ == 0 ? "" : " and kept in " + shown(partial_));
      }
      done_ += static_cast<int64_t>(request.classes.size() + request.prompts.size());
      if (done_ < source().samples) {
        write_partial_calibration(partial_, {run_.header, done_, collector_.sums()});
      }
    }
    CalibrationFile file{.header = run_.header,
                         .values = mean_of(collector_.sums(), run_.header.geometry),
                         .sha256 = ""};
    write_calibration_file(run_.output, file);
    std::error_code ignored;  // it may never have existed
    fs::remove(partial_, ignored);
  }

 private:
  const SampleSource& source() const { return *run_.header.source; }

  void note(const std::string& text) const {
    if (events_.on_note) events_.on_note(text);
  }

  Events events_of_part() {
    Events events;
    events.on_plan = done_ == first_ ? events_.on_plan : nullptr;
    events.on_note = events_.on_note;
    events.cancel = events_.cancel;
    events.probe = &collector_;
    if (!events_.on_scale) return events;
    events.on_scale = [this](ScaleEvent event) {
      event.first_image += done_;
      events_.on_scale(event);
    };
    return events;
  }

  // Takes over what an earlier run of the same settings left.
  void resume() {
    if (!fs::exists(partial_)) return;
    const std::string where = shown(partial_);
    try {
      PartialCalibration partial = read_partial_calibration(partial_);
      if (to_json(partial.header) == to_json(run_.header)) {
        done_ = std::min(partial.samples_done, source().samples);
        first_ = done_;
        collector_.resume(std::move(partial.sums));
        note(
            fmt::format("going on after {} of {} samples from {}", done_, source().samples, where));
        return;
      }
      note(fmt::format("{} is of a run with other settings; starting anew", where));
    } catch (const Error& error) {
      note(fmt::format("{}; starting anew", error.what()));
    }
  }

  // Samples that share a picture number, in one batch or a few.
  Request next_request() const {
    const auto count = static_cast<int64_t>(source().conditionings.size());
    const int64_t together = run_.request.batch > 0 ? run_.request.batch : kSamplesPerWrite;
    const int64_t first = done_ % count;
    const int64_t last = std::min({first + together, count, first + source().samples - done_});
    Request request = run_.request;
    keep_part(request.classes, first, last);
    keep_part(request.prompts, first, last);
    request.images_each = 1;
    request.first_image = done_ / count;
    request.batch = std::min<int64_t>(run_.request.batch, last - first);
    return request;
  }

  const CalibrationRun& run_;
  const CalibrationEvents& events_;
  fs::path partial_;
  CalibrationCollector collector_;
  int64_t first_ = 0;  // sample of this run
  int64_t done_ = 0;
};

// `count` of a model's classes, evenly spread.
std::vector<std::string> spread_classes(int64_t count, int64_t num_classes) {
  std::vector<std::string> classes;
  for (int64_t index = 0; index < count; ++index) {
    classes.push_back(std::to_string(index * num_classes / count));
  }
  return classes;
}

}  // namespace

Request sample_settings(const CalibrationRequest& request, int64_t num_classes) {
  if (request.samples < 1 || request.samples > kMaxSamples) {
    fail(ErrorCode::kUsage, "-n: got {}, wanted 1 to {} samples", request.samples, kMaxSamples);
  }
  Request settings = request.request;
  settings.images_each = 1;
  settings.first_image = 0;
  settings.kv = "full";
  if (!settings.text_features.empty()) {
    fail(ErrorCode::kUsage, "--text-features: calibration reads prompts; give them with --prompts");
  }
  if (num_classes == 0 && settings.prompts.empty() && settings.classes.empty()) {
    fail(ErrorCode::kUsage,
         "--prompts: none given, and this model reads prompts; wanted a file of some that are "
         "like those it will be used for");
  }
  // More than there are samples would only be encoded.
  if (static_cast<int64_t>(settings.prompts.size()) > request.samples) {
    settings.prompts.resize(static_cast<size_t>(request.samples));
  }
  if (settings.classes.empty() && settings.prompts.empty()) {
    settings.classes = spread_classes(std::min(request.samples, num_classes), num_classes);
  }
  return settings;
}

void run_calibration(const CalibrationRun& run, const CalibrationEvents& events,
                     const GenerateSamples& generate) {
  Runner(run, events).run(generate);
}

}  // namespace nextscale
