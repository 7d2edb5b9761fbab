// SPDX-License-Identifier: Apache-2.0
#include "plan/run_plan.h"

#include <algorithm>

#include "cache/kv_cache.h"
#include "core/error_format.h"
#include "engine/memory_plan.h"
#include "models/text/convert_t5.h"
#include "models/text/prompt_encoder.h"
#include "plan/planned_policy.h"

namespace nextscale {
namespace {

constexpr float kSomeGuidance = 1.0F;  // any strength runs twice the sequences
constexpr int64_t kGuidedSequences = 2;

// Bytes of what is held after a step, as if it were all there ever was.
uint64_t held_bytes(const CacheShape& shape, const Schedule& lengths, int step) {
  Schedule held(1, shape.layers, shape.kv_heads);
  for (int64_t layer = 0; layer < shape.layers; ++layer) {
    for (int64_t head = 0; head < shape.kv_heads; ++head) {
      held.cached(0, layer, head) = lengths.cached(step, layer, head);
    }
  }
  return KvCache::planned_bytes(shape, held).total();
}

}  // namespace

uint64_t RunPlan::peak_kv_bytes() const { return std::ranges::max(kv_bytes); }

RunPlanner::RunPlanner(const PlannedModel& model, const RunSetup& setup,
                       const Calibration* calibration, const PlannedPictures& pictures)
    : model_(model), setup_(setup), calibration_(calibration) {
  const std::optional<PerScale>& cfg = pictures.cfg;
  if (model.description == nullptr) {
    guidance_.strengths = cfg ? cfg->values : std::vector<float>{kSomeGuidance};
  } else {
    guidance_ =
        model.description->guidance({.cfg = cfg ? cfg->values : model.description->defaults().cfg});
  }
  choose_texts(pictures);
}

void RunPlanner::choose_texts(const PlannedPictures& pictures) {
  const TextShape text = model_.description == nullptr ? TextShape{} : model_.description->text();
  if (text.channels == 0) {
    if (!pictures.text_tokens) return;
    fail(ErrorCode::kUsage, "--text-tokens: {} is not planned with prompts; leave it out",
         model_.name);
  }
  text_tokens_ = pictures.text_tokens.value_or(std::min(kTypicalTextTokens, text.max_tokens));
  if (text_tokens_ < 1 || text_tokens_ > text.max_tokens) {
    fail(ErrorCode::kUsage, "--text-tokens: got {}, wanted 1 to {}, as many as {} reads",
         text_tokens_, text.max_tokens, model_.name);
  }
  if (!model_.folder || !PromptEncoder::is_in(*model_.folder)) return;
  encoder_ =
      std::make_unique<T5Encoder>(parse_t5_config(model_.folder->config.at("text_encoder")),
                                  model_.folder->path / kTextEncoderName, setup_.types.compute);
}

Batch RunPlanner::batch(int64_t images) const {
  Batch batch;
  if (text_tokens_ > 0) {
    const TextCondition text{.text = {.features = nullptr, .tokens = text_tokens_}};
    batch.texts.assign(static_cast<size_t>(images), text);
  } else {
    batch.classes.assign(static_cast<size_t>(images), 0);
  }
  batch.guidance = guidance_;
  return batch;
}

int64_t RunPlanner::sequences(int64_t images) const {
  if (model_.description != nullptr) return model_.description->rows(batch(images));
  return guidance_.is_any() ? kGuidedSequences * images : images;
}

CacheShape RunPlanner::cache_shape(const Policy& policy, int64_t images) const {
  if (model_.description != nullptr) {
    return nextscale::cache_shape(*model_.description, batch(images), setup_.types, policy);
  }
  return {.layers = model_.geometry.layers,
          .rows = sequences(images),
          .kv_heads = model_.geometry.kv_heads,
          .head_dim = model_.geometry.head_dim,
          .dtype = setup_.types.cache,
          .token_scores = policy.needs().token_scores()};
}

PolicyContext RunPlanner::policy_context() const {
  const Geometry& geometry = model_.geometry;
  const CacheShape shape{.head_dim = geometry.head_dim, .dtype = setup_.types.cache};
  const int64_t lists = sequences(1) * geometry.layers * geometry.kv_heads;
  return {.geometry = geometry,
          .calibration = calibration_,
          .token_bytes = static_cast<uint64_t>(lists) * KvCache::token_bytes(shape)};
}

void RunPlanner::add_memory(const Policy& policy, int64_t images, uint64_t limit,
                            RunPlan* plan) const {
  RunTypes types = setup_.types;
  Plan memory;
  for (const size_t strip_bytes : kDecoderStrips) {
    types.strip_bytes = strip_bytes;
    memory =
        make_plan(batch_memory(setup_.context, *model_.description, batch(images), types, policy),
                  setup_.process_bytes, images, Preview::kNo);
    if (memory.peak <= limit) break;
  }
  plan->reserved_kv_bytes = memory.kv_cache;
  plan->weights = memory.weights;
  plan->activations = memory.activations;
  plan->decoder = memory.decoder;
  plan->peak = memory.peak;
  if (encoder_ == nullptr) return;
  const std::vector<int64_t> lengths(static_cast<size_t>(images), text_tokens_);
  plan->text_encoder = encoder_->memory(setup_.context, lengths).peak();
  plan->peak = std::max(plan->peak, plan->process + *plan->text_encoder);
}

void RunPlanner::add_known_memory(const Policy& policy, int64_t images, RunPlan* plan) const {
  plan->reserved_kv_bytes =
      KvCache::planned_bytes(cache_shape(policy, images), policy.schedule(model_.geometry)).total();
  for (const ParameterCount& part : model_.parameters) {
    plan->weights += static_cast<uint64_t>(part.parameters) * dtype_bytes(setup_.types.compute);
  }
  plan->peak = plan->process + plan->weights + plan->reserved_kv_bytes;
}

RunPlan RunPlanner::plan(const RunQuestion& question, uint64_t limit) const {
  const PlannedPolicy planned = make_planned_policy(question.spec, policy_context());
  const Policy& policy = *planned.policy;
  RunPlan plan;
  plan.assumes_equal_heads = planned.assumes_equal_heads;
  plan.process = setup_.process_bytes;
  plan.text_tokens = text_tokens_;
  plan.steps = step_costs(
      {.geometry = model_.geometry, .policy = policy, .sequences = sequences(question.images)});
  const Schedule lengths = expected_lengths(policy, model_.geometry);
  const CacheShape shape = cache_shape(policy, question.images);
  for (int step = 0; step < model_.geometry.num_scales(); ++step) {
    plan.kv_bytes.push_back(held_bytes(shape, lengths, step));
  }
  if (model_.description != nullptr) {
    add_memory(policy, question.images, limit, &plan);
  } else {
    add_known_memory(policy, question.images, &plan);
  }
  return plan;
}

}  // namespace nextscale
