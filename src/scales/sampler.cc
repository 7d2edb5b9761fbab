// SPDX-License-Identifier: Apache-2.0
#include "scales/sampler.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/error_format.h"
#include "core/parallel.h"

namespace nextscale {
namespace {

constexpr float kRemoved = -std::numeric_limits<float>::infinity();

// Constants of the official smoothing mode: first temperature, its decay, its floor.
constexpr float kSmoothTemperature = 0.27F;
constexpr float kSmoothDecay = 0.95F;
constexpr float kSmoothFloor = 0.005F;

// Random draws of one site: its labels, or its one label followed by noise for every category.
constexpr uint32_t kFirstLabelDraw = 0;
constexpr uint32_t kFirstNoiseDraw = 1;

void keep_top_k(int64_t top_k, std::span<float> row, std::span<int32_t> order) {
  if (top_k <= 0 || top_k >= static_cast<int64_t>(row.size())) return;
  std::iota(order.begin(), order.end(), 0);
  const auto kth = order.begin() + (top_k - 1);
  std::nth_element(order.begin(), kth, order.end(),
                   [&](int32_t a, int32_t b) { return row[a] > row[b]; });
  const float smallest_kept = row[static_cast<size_t>(*kth)];
  for (float& logit : row) {
    if (logit < smallest_kept) logit = kRemoved;
  }
}

// Removes the least likely entries whose probabilities add up to at most 1 - top_p.
void keep_top_p(float top_p, std::span<float> row, std::span<int32_t> order) {
  if (top_p <= 0.0F) return;
  size_t count = 0;
  for (size_t entry = 0; entry < row.size(); ++entry) {
    if (row[entry] != kRemoved) order[count++] = static_cast<int32_t>(entry);
  }
  const std::span<int32_t> left = order.first(count);
  std::ranges::sort(
      left, [&](int32_t a, int32_t b) { return row[a] != row[b] ? row[a] < row[b] : a > b; });
  const float largest = row[static_cast<size_t>(left.back())];
  double total = 0;
  for (const int32_t entry : left) total += std::exp(static_cast<double>(row[entry] - largest));
  double sum = 0;
  for (const int32_t entry : left.first(count - 1)) {
    sum += std::exp(static_cast<double>(row[entry] - largest)) / total;
    if (sum > 1.0 - static_cast<double>(top_p)) return;
    row[static_cast<size_t>(entry)] = kRemoved;
  }
}

// Draws of a site: with several labels per token, one each.
void sample_label(const SampleArgs& args, int64_t label, std::span<int32_t> order,
                  std::span<float> noise) {
  const size_t categories = static_cast<size_t>(args.categories);
  const std::span<float> row(args.logits + label * args.categories, categories);
  const int64_t token = label / args.labels_per_token;
  const RandomSite site{.seed = args.seed,
                        .image = args.image_indices[static_cast<size_t>(token / args.tokens)],
                        .scale = args.scale,
                        .position = static_cast<uint32_t>(token % args.tokens)};
  if (args.settings.draw == Draw::kGreedy) {
    args.out[label] = greedy_token(row);
  } else {
    filter_logits(args.settings, row, order);
    const auto draw = static_cast<uint32_t>(label % args.labels_per_token);
    args.out[label] = draw_token(row, uniform(site, kFirstLabelDraw + draw));
  }
  if (args.settings.smoothing == Smoothing::kOff) return;
  for (size_t entry = 0; entry < categories; ++entry) {
    noise[entry] = row[entry] == kRemoved
                       ? 0.0F
                       : gumbel(site, kFirstNoiseDraw + static_cast<uint32_t>(entry));
  }
  smooth_logits(row, args.ratio, noise);
}

}  // namespace

void filter_logits(const SamplerSettings& settings, std::span<float> row,
                   std::span<int32_t> order) {
  keep_top_k(settings.top_k, row, order);
  keep_top_p(settings.top_p, row, order);
}

int32_t greedy_token(std::span<const float> row) {
  return static_cast<int32_t>(std::ranges::max_element(row) - row.begin());
}

int32_t draw_token(std::span<const float> row, float u) {
  const int32_t likeliest = greedy_token(row);
  const float largest = row[static_cast<size_t>(likeliest)];
  double total = 0;
  for (const float logit : row) total += std::exp(static_cast<double>(logit - largest));
  const double target = static_cast<double>(u) * total;
  double sum = 0;
  for (size_t entry = 0; entry < row.size(); ++entry) {
    sum += std::exp(static_cast<double>(row[entry] - largest));
    if (sum > target) return static_cast<int32_t>(entry);
  }
  return likeliest;  // only if rounding kept the sum below the target
}

void smooth_logits(std::span<float> row, float ratio, std::span<const float> noise) {
  const float temperature =
      std::max(kSmoothTemperature * (1.0F - kSmoothDecay * ratio), kSmoothFloor);
  for (size_t entry = 0; entry < row.size(); ++entry) {
    row[entry] = (row[entry] * (1.0F + ratio) + noise[entry]) / temperature;
  }
  const float largest = *std::ranges::max_element(row);
  double total = 0;
  for (float& value : row) {
    value = std::exp(value - largest);
    total += static_cast<double>(value);
  }
  for (float& value : row) value = static_cast<float>(static_cast<double>(value) / total);
}

size_t sampler_scratch_bytes(const Context& context, int64_t categories) {
  const auto entries = static_cast<size_t>(context.num_threads * categories);
  return Arena::rounded(entries * sizeof(int32_t)) + Arena::rounded(entries * sizeof(float));
}

void sample_labels(const Context& context, const SampleArgs& args) {
  const ArenaScope scope(*context.scratch);
  NEXTSCALE_ASSERT(args.settings.smoothing == Smoothing::kOff || args.labels_per_token == 1);
  const size_t categories = static_cast<size_t>(args.categories);
  const size_t entries = static_cast<size_t>(context.num_threads) * categories;
  const std::span<int32_t> order = context.scratch->take<int32_t>(entries);
  const std::span<float> noise = context.scratch->take<float>(entries);
  std::atomic<bool> broken = false;
  const int64_t labels = args.images * args.tokens * args.labels_per_token;
  parallel_for(context.num_threads, labels, [&](int64_t label, int worker) {
    const size_t at = static_cast<size_t>(worker) * categories;
    const std::span<const float> row(args.logits + label * args.categories, categories);
    if (!std::ranges::all_of(row, [](float logit) { return std::isfinite(logit); })) {
      broken.store(true, std::memory_order_relaxed);
      return;
    }
    sample_label(args, label, order.subspan(at, categories), noise.subspan(at, categories));
  });
  if (!broken) return;
  fail(ErrorCode::kBadFile,
       "model: scale {} gave logits that are not finite numbers; its weights are damaged or leave "
       "the range of the type: try --dtype f32, or check the files with nextscale inspect --verify",
       args.scale);
}

}  // namespace nextscale
