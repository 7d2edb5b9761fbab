// SPDX-License-Identifier: Apache-2.0
// A request with every setting checked and resolved against a model.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/model.h"
#include "nextscale/engine.h"
#include "policies/calibration.h"
#include "policies/policy.h"
#include "scales/sampler.h"

namespace nextscale {

struct ImageNumber {
  int64_t class_index = 0;
  int64_t index_in_class = 0;
};

struct ResolvedRequest {
  std::vector<int64_t> classes;
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

  int64_t num_images() const { return static_cast<int64_t>(classes.size()) * images_each; }
  // Images are counted class by class.
  ImageNumber image(int64_t number) const {
    return {classes[static_cast<size_t>(number / images_each)], first_image + number % images_each};
  }
};

// What a policy is made from beside the model and the request.
struct PolicyMaterial {
  const Calibration* calibration = nullptr;  // null: there is none
  DType kv_dtype = DType::kF32;              // of the cache
};

// Throws Error(kUsage) naming the flag, what it got and what it may be; whatever making the policy
// throws.
ResolvedRequest resolve_request(const Request& request, const ModelDescription& model,
                                const PolicyMaterial& material);

}  // namespace nextscale
