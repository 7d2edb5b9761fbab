// SPDX-License-Identifier: Apache-2.0
// A request with every setting checked and resolved against a model.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/request_texts.h"
#include "models/model.h"
#include "nextscale/engine.h"
#include "policies/calibration.h"
#include "policies/policy.h"
#include "scales/sampler.h"

namespace nextscale {

struct ImageNumber {
  int64_t subject = 0;  // which of the classes or texts
  int64_t index = 0;    // within its subject
};

struct ResolvedRequest {
  // What is shown: classes, or texts that were made of prompts or of a file.
  std::vector<int64_t> classes;
  std::unique_ptr<RequestTexts> texts;  // null: classes
  std::vector<Prompt> prompts;
  std::string text_features;
  int64_t images_each = 1;
  int64_t first_image = 0;
  int64_t batch = 0;
  uint64_t seed = 0;
  std::vector<float> cfg;  // as asked for: one, or one per scale
  std::vector<float> tau;  // likewise
  std::vector<int64_t> cfg_layers;
  Guidance guidance;
  std::vector<float> temperatures;  // one per scale
  SamplerSettings sampler;
  std::string kv;
  std::unique_ptr<Policy> policy;

  int64_t num_subjects() const {
    return texts != nullptr ? texts->count() : static_cast<int64_t>(classes.size());
  }
  int64_t num_images() const { return num_subjects() * images_each; }
  // Images are counted subject by subject.
  ImageNumber image(int64_t number) const {
    return {number / images_each, first_image + number % images_each};
  }
  // Images of this request as far as memory depends on them: with the longest texts, and without
  // their features.
  Batch planned_batch(int64_t images) const;
};

// What a request is resolved with beside the model.
struct RequestMaterial {
  const Calibration* calibration = nullptr;  // null: there is none
  DType kv_dtype = DType::kF32;              // of the cache
  // The model's text encoder; called only for requests of prompts.
  std::function<PromptFeatures&()> prompt_features{};
};

// Throws Error(kUsage) naming the flag, what it got and what it may be; whatever making the policy
// throws, and reading texts.
ResolvedRequest resolve_request(const Request& request, const ModelDescription& model,
                                const RequestMaterial& material);

}  // namespace nextscale
