// SPDX-License-Identifier: Apache-2.0
// The same pictures under several cache policies, measured against the first of them: a free run,
// which chooses its own labels, gives pictures, agreement of labels, time and bytes; a run forced
// to take the reference's labels gives the divergence of the logits. Batch by batch, so that memory
// does not grow with the number of pictures: of one batch the reference's logits are held, and of
// all of them a few numbers each, and the pictures that are to be shown.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "judge/expectation.h"
#include "judge/judge.h"
#include "nextscale/engine.h"

namespace nextscale {

struct CompareRequest {
  Request request{};                    // settings and subjects; its `kv` is not read
  std::vector<std::string> policies{};  // at least two; the first is the reference
  // Pictures that are kept to be shown, spread over the subjects, as PNG files, and at most so many
  // bytes of them; one is kept at least.
  int64_t shown_pictures = 8;
  uint64_t shown_bytes = uint64_t{14} << 20;
  // Looks at every picture; null: nobody does. What the pictures of each subject should show, where
  // that is known: [subjects].
  Judge* judge = nullptr;
  std::vector<std::optional<Expectation>> expected{};
};

// One picture under one policy. The reference is not compared with itself.
struct PictureMeasures {
  double milliseconds = 0;  // of all scales, without decoding; a batch shares it evenly
  double psnr = 0;          // dB
  double ssim = 0;
  bool is_identical = false;
  std::vector<double> agreement{};   // [scales] share of labels that are the reference's
  std::vector<double> divergence{};  // [scales] KL(reference || policy) per token, in nats
  Verdict verdict{};                 // of the judge, where something is expected
  std::optional<bool> is_same{};     // whether the judge sees the reference's sprites, no other
};

struct PolicyMeasures {
  std::string kv{};
  std::string calibration_sha256{};         // empty if it needs none
  uint64_t kv_bytes = 0;                    // of one picture, the most held at the end of a step
  std::vector<PictureMeasures> pictures{};  // in the order of Comparison::pictures
};

struct ComparedPicture {
  int64_t subject = 0;
  int64_t image_index = 0;  // number within its subject
};

// PNG files of one picture under every policy.
struct ShownPicture {
  ComparedPicture picture{};
  int64_t width = 0;
  int64_t height = 0;
  std::vector<std::vector<std::byte>> pictures{};     // [policies]
  std::vector<std::vector<std::byte>> differences{};  // [policies], empty for the reference
};

// Differences are shown that many times as large as they are.
inline constexpr int kDifferenceFactor = 4;

struct ComparedScale {
  int64_t height = 0;  // of the token map
  int64_t width = 0;

  int64_t tokens() const { return height * width; }
};

struct Comparison {
  std::string settings{};  // JSON of all that decides the pictures beside the policy
  std::vector<std::string> subjects{};
  uint64_t seed = 0;
  int64_t batch = 0;  // pictures at a time
  std::vector<ComparedScale> scales{};
  std::vector<ComparedPicture> pictures{};
  std::vector<PolicyMeasures> policies{};
  std::vector<ShownPicture> shown{};
};

struct CompareProgress {
  int64_t runs_done = 0;
  int64_t num_runs = 0;
  int64_t pictures_done = 0;  // under all policies
  int64_t num_pictures = 0;
  std::string kv{};  // that runs now
};

struct CompareEvents {
  std::function<void(const Plan&)> on_plan{};  // the largest
  std::function<void(const CompareProgress&)> on_run{};
  std::function<void(const std::string&)> on_note{};
  const std::atomic<bool>* cancel = nullptr;
};

// Everything is checked before the first picture is made. Throws Error: kUsage for fewer than two
// policies, one that is given twice or smooth sampling, kCancelled, and as Engine::generate() does.
Comparison compare(Engine& engine, const CompareRequest& request, const CompareEvents& events);

// A picture's mean over all tokens of what is measured per token and scale.
double over_scales(const std::vector<ComparedScale>& scales, const std::vector<double>& values);

}  // namespace nextscale
