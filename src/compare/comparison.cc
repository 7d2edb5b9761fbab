// SPDX-License-Identifier: Apache-2.0
#include "compare/comparison.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "compare/logits_divergence.h"
#include "compare/picture_metrics.h"
#include "core/error_format.h"
#include "image/png.h"

namespace nextscale {
namespace {

using nlohmann::json;

// [scales][images, tokens, labels per token]
using Labels = std::vector<std::vector<int32_t>>;

// What a free run of one batch gives.
struct FreeRun {
  Labels labels{};
  std::vector<Image> pictures{};
  std::vector<SeenPicture> seen{};  // if somebody looks
  std::vector<ComparedScale> scales{};
  double milliseconds = 0;
  uint64_t kv_bytes = 0;
};

// Elements [first, last) of a list, if it has any.
template <typename Element>
std::vector<Element> part_of(const std::vector<Element>& list, int64_t first, int64_t last) {
  if (list.empty()) return {};
  return {list.begin() + first, list.begin() + last};
}

// A batch of the pictures of a request, and where it begins.
struct BatchRequest {
  Request request{};
  int64_t first_subject = 0;
  int64_t num_subjects = 0;

  int64_t images() const { return num_subjects * request.images_each; }
};

// Whole subjects while they fit into a batch, else pictures of one.
std::vector<BatchRequest> batches_of(const Request& request, int64_t num_subjects, int64_t batch) {
  const int64_t images_together = std::min(batch, request.images_each);
  const int64_t subjects_together = std::max<int64_t>(1, batch / request.images_each);
  std::vector<BatchRequest> batches;
  for (int64_t first = 0; first < num_subjects; first += subjects_together) {
    const int64_t last = std::min(first + subjects_together, num_subjects);
    for (int64_t image = 0; image < request.images_each; image += images_together) {
      BatchRequest part{.request = request, .first_subject = first, .num_subjects = last - first};
      part.request.classes = part_of(request.classes, first, last);
      part.request.prompts = part_of(request.prompts, first, last);
      part.request.first_image = request.first_image + image;
      part.request.images_each = std::min(images_together, request.images_each - image);
      part.request.batch = part.images();
      batches.push_back(std::move(part));
    }
  }
  return batches;
}

// Share of equal labels of one image.
double agreement(const std::vector<int32_t>& one, const std::vector<int32_t>& other, size_t image,
                 size_t images) {
  const size_t count = one.size() / images;
  size_t equal = 0;
  for (size_t at = image * count; at < (image + 1) * count; ++at) equal += one[at] == other[at];
  return static_cast<double>(equal) / static_cast<double>(count);
}

// Classes of what is seen, with repetition.
std::vector<int64_t> sprites_of(const SeenPicture& seen) {
  std::vector<int64_t> classes;
  for (const SeenSprite& sprite : seen.sprites) classes.push_back(sprite.class_index);
  std::ranges::sort(classes);
  return classes;
}

std::vector<std::string> names_of(const Request& request) {
  std::vector<std::string> names = request.classes;
  for (const Prompt& prompt : request.prompts) names.push_back(prompt.text);
  return names;
}

class Comparer {
 public:
  Comparer(Engine& engine, const CompareRequest& request, const CompareEvents& events)
      : engine_(engine), request_(request), events_(events) {}

  Comparison run() {
    check_request();
    const auto batches = batches_of(request_.request, num_subjects(), result_.batch);
    progress_.num_runs = 2 * static_cast<int64_t>(batches.size() * request_.policies.size());
    progress_.num_pictures = num_subjects() * request_.request.images_each;
    for (const BatchRequest& batch : batches) {
      compare_batch(batch);
      progress_.pictures_done += batch.images();
    }
    return std::move(result_);
  }

 private:
  int64_t num_subjects() const { return static_cast<int64_t>(result_.subjects.size()); }

  // Everything that can be wrong, and the batch that fits under every policy.
  void check_request() {
    if (request_.policies.size() < 2) {
      fail(ErrorCode::kUsage,
           "--kv: got one policy, wanted others to compare it with; give --kv several times");
    }
    if (request_.request.smooth) {
      fail(ErrorCode::kUsage,
           "--smooth: mixes tokens, so that there are none to compare; leave it out");
    }
    std::set<std::string> seen;
    for (const std::string& kv : request_.policies) {
      if (seen.insert(kv).second) continue;
      fail(ErrorCode::kUsage, "--kv: {} is given twice", printable(kv));
    }
    result_.subjects = names_of(request_.request);
    result_.seed = request_.request.seed;
    std::vector<Plan> plans;
    for (const std::string& kv : request_.policies) plans.push_back(check_policy(kv));
    result_.batch = std::ranges::min(plans, {}, &Plan::batch).batch;
    if (events_.on_plan) events_.on_plan(std::ranges::max(plans, {}, &Plan::peak));
  }

  Plan check_policy(const std::string& kv) {
    Request request = request_.request;
    request.kv = kv;
    const Plan plan = engine_.plan(request);
    json settings = json::parse(engine_.settings(request));
    result_.policies.push_back(
        {.kv = kv, .calibration_sha256 = settings.value("calibration_sha256", "")});
    settings.erase("kv");
    settings.erase("calibration_sha256");
    result_.settings = settings.dump();
    return plan;
  }

  void compare_batch(const BatchRequest& batch) {
    // Traced runs come first, so that timed ones find everything warm.
    ReferenceLogits reference_logits;
    Labels labels = traced_run(batch, 0, {}, reference_logits);
    FreeRun reference = free_run(batch, 0);
    NEXTSCALE_ASSERT(labels == reference.labels);
    result_.scales = reference.scales;
    add_pictures(batch);
    add_measures(reference, 0);
    std::vector<ShownPicture> shown = shown_of(batch, reference);
    for (size_t policy = 1; policy < request_.policies.size(); ++policy) {
      LogitsDivergence divergence(reference_logits);
      traced_run(batch, policy, reference.labels, divergence);
      const FreeRun run = free_run(batch, policy);
      add_measures(run, policy);
      add_differences(reference, run, divergence, policy);
      for (ShownPicture& each : shown) show(reference, run, batch, each);
    }
    for (ShownPicture& each : shown) keep_shown(std::move(each));
  }

  // ---- Runs -------------------------------------------------------------------------------------

  Request request_of(const BatchRequest& batch, size_t policy) {
    Request request = batch.request;
    request.kv = request_.policies[policy];
    progress_.kv = request.kv;
    if (events_.on_run) events_.on_run(progress_);
    ++progress_.runs_done;
    return request;
  }

  Events events_of_run() const {
    Events events;
    events.on_note = events_.on_note;
    events.cancel = events_.cancel;
    return events;
  }

  // Returns the labels that were chosen or forced.
  Labels traced_run(const BatchRequest& batch, size_t policy, const Labels& forced,
                    TraceSink& sink) {
    Labels labels;
    Events events = events_of_run();
    events.trace = &sink;
    events.forced_labels = forced;
    events.on_scale = [&](const ScaleEvent& event) {
      labels.emplace_back(event.labels.begin(), event.labels.end());
    };
    engine_.generate(request_of(batch, policy), events);
    return labels;
  }

  FreeRun free_run(const BatchRequest& batch, size_t policy) {
    FreeRun run;
    Events events = events_of_run();
    events.on_scale = [&](const ScaleEvent& event) {
      run.labels.emplace_back(event.labels.begin(), event.labels.end());
      run.scales.push_back({.height = event.height, .width = event.width});
      run.milliseconds += event.milliseconds;
      run.kv_bytes = std::max(run.kv_bytes, event.kv_bytes);
    };
    events.on_image = [&](GeneratedImage image) { run.pictures.push_back(std::move(image.image)); };
    engine_.generate(request_of(batch, policy), events);
    if (request_.judge == nullptr) return run;
    for (const Image& picture : run.pictures) run.seen.push_back(request_.judge->look(picture));
    return run;
  }

  // ---- Measures ---------------------------------------------------------------------------------

  void add_pictures(const BatchRequest& batch) {
    for (int64_t image = 0; image < batch.images(); ++image) {
      result_.pictures.push_back(picture_of(batch, image));
    }
  }

  static ComparedPicture picture_of(const BatchRequest& batch, int64_t image) {
    const int64_t each = batch.request.images_each;
    return {.subject = batch.first_subject + image / each,
            .image_index = batch.request.first_image + image % each};
  }

  void add_measures(const FreeRun& run, size_t policy) {
    PolicyMeasures& measures = result_.policies[policy];
    const size_t images = run.pictures.size();
    measures.kv_bytes = std::max(measures.kv_bytes, run.kv_bytes / images);
    measures.pictures.resize(measures.pictures.size() + images,
                             {.milliseconds = run.milliseconds / static_cast<double>(images)});
    for (size_t image = 0; image < run.seen.size(); ++image) {
      const size_t number = measures.pictures.size() - images + image;
      const auto subject = static_cast<size_t>(result_.pictures[number].subject);
      if (request_.expected.empty() || !request_.expected[subject]) continue;
      measures.pictures[number].verdict =
          check(*request_.expected[subject], run.seen[image], request_.judge->labels());
    }
  }

  // Of the pictures that were added last.
  void add_differences(const FreeRun& reference, const FreeRun& run,
                       const LogitsDivergence& divergence, size_t policy) {
    const size_t images = run.pictures.size();
    auto& pictures = result_.policies[policy].pictures;
    for (size_t image = 0; image < images; ++image) {
      PictureMeasures& measures = pictures[pictures.size() - images + image];
      measures.is_identical = run.pictures[image] == reference.pictures[image];
      measures.psnr = psnr(reference.pictures[image], run.pictures[image]);
      measures.ssim = ssim(reference.pictures[image], run.pictures[image]);
      if (!run.seen.empty()) {
        measures.is_same = sprites_of(run.seen[image]) == sprites_of(reference.seen[image]);
      }
      for (size_t scale = 0; scale < run.labels.size(); ++scale) {
        measures.agreement.push_back(
            agreement(reference.labels[scale], run.labels[scale], image, images));
        measures.divergence.push_back(divergence.per_scale()[scale][image]);
      }
    }
  }

  // ---- Pictures that are shown ------------------------------------------------------------------

  // Those of a batch, with the reference's.
  std::vector<ShownPicture> shown_of(const BatchRequest& batch, const FreeRun& reference) const {
    const int64_t each = (request_.shown_pictures + num_subjects() - 1) / num_subjects();
    std::vector<ShownPicture> shown;
    for (int64_t image = 0; image < batch.images(); ++image) {
      const ComparedPicture picture = picture_of(batch, image);
      const bool is_full =
          std::cmp_greater_equal(result_.shown.size() + shown.size(), request_.shown_pictures);
      if (is_full || picture.image_index - request_.request.first_image >= each) continue;
      const Image& pixels = reference.pictures[static_cast<size_t>(image)];
      shown.push_back({.picture = picture,
                       .width = pixels.width,
                       .height = pixels.height,
                       .pictures = {encode_png(pixels)},
                       .differences = {{}}});
    }
    return shown;
  }

  static void show(const FreeRun& reference, const FreeRun& run, const BatchRequest& batch,
                   ShownPicture& shown) {
    const auto image = static_cast<size_t>((shown.picture.subject - batch.first_subject) *
                                               batch.request.images_each +
                                           shown.picture.image_index - batch.request.first_image);
    shown.pictures.push_back(encode_png(run.pictures[image]));
    shown.differences.push_back(encode_png(
        difference_map(reference.pictures[image], run.pictures[image], kDifferenceFactor)));
  }

  void keep_shown(ShownPicture shown) {
    uint64_t bytes = 0;
    for (const auto* files : {&shown.pictures, &shown.differences}) {
      for (const auto& file : *files) bytes += file.size();
    }
    if (!result_.shown.empty() && shown_bytes_ + bytes > request_.shown_bytes) return;
    shown_bytes_ += bytes;
    result_.shown.push_back(std::move(shown));
  }

  Engine& engine_;
  const CompareRequest& request_;
  const CompareEvents& events_;
  Comparison result_;
  CompareProgress progress_;
  uint64_t shown_bytes_ = 0;
};

}  // namespace

Comparison compare(Engine& engine, const CompareRequest& request, const CompareEvents& events) {
  return Comparer(engine, request, events).run();
}

double over_scales(const std::vector<ComparedScale>& scales, const std::vector<double>& values) {
  double sum = 0;
  double tokens = 0;
  for (size_t scale = 0; scale < scales.size(); ++scale) {
    sum += values[scale] * static_cast<double>(scales[scale].tokens());
    tokens += static_cast<double>(scales[scale].tokens());
  }
  return sum / tokens;
}

}  // namespace nextscale
