// SPDX-License-Identifier: Apache-2.0
// What a model family is to the engine. A family is one folder here and one row in registry.cc; it
// knows nothing of policies, files of pictures or the command line.
//
//   description  what the model is, from its config alone: shapes, defaults, memory. Cheap.
//   model        loaded weights, shared by all runs.
//   run          the state of one batch on its way through the scales.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "attention/cached_attention.h"
#include "core/arena.h"
#include "core/context.h"
#include "core/geometry.h"

namespace nextscale {

// How a model is to be run: types and memory that do not depend on the batch.
struct RunTypes {
  DType compute = DType::kF32;  // of the products: f32 or bf16
  DType kv = DType::kF32;       // of cached keys and values
  size_t strip_bytes = 0;       // of one strip of the decoder
};

// One batch. All its images run in lock-step.
struct Batch {
  std::vector<int64_t> classes;  // one per image
  float cfg = 0.0F;              // guidance strength, 0 for none
  // Compute the unguided rows even where they cannot change the picture, as traces show them.
  bool keep_all_rows = false;
  // Hold the logits of all images at once, as traces and mixtures of tokens need them.
  bool whole_logits = false;

  int64_t images() const { return static_cast<int64_t>(classes.size()); }
};

// Bytes that a run of one batch takes beside the key/value cache.
struct ModelMemory {
  size_t weights = 0;  // packed
  size_t state = 0;    // of the batch, from its first scale to its pictures
  size_t scratch = 0;  // of one step; given back before pictures are decoded
  size_t decoder = 0;  // of decoding one picture
};

// The tokens chosen at one scale.
struct ScaleTokens {
  const int32_t* tokens = nullptr;  // [images, tokens of the scale]
  const float* mixtures =
      nullptr;  // [images, tokens, vocabulary] instead of single tokens, or null
};

// One batch on its way through the scales. Calls come in the order forward, logits (any split of
// the images), accept, for each scale in turn. Memory comes from the state arena it was started
// with and from context.scratch.
class ScaleRun {
 public:
  virtual ~ScaleRun() = default;

  // Runs the transformer at this scale. Throws Error(kCancelled) between layers.
  virtual void forward(const Context& context, int scale, CachedAttention& attention) = 0;
  // Logits after guidance of images [first, first + count): out [count, tokens, vocabulary].
  virtual void logits(const Context& context, int scale, int64_t first, int64_t count,
                      float* out) = 0;
  // Takes the chosen tokens and prepares the next scale's input.
  virtual void accept(const Context& context, int scale, const ScaleTokens& tokens) = 0;
  // The picture so far: rgb [height, width, 3] in [0, 1].
  virtual void decode(const Context& context, int64_t image, float* rgb) = 0;
};

class ScaleModel {
 public:
  virtual ~ScaleModel() = default;
  // The batch's vectors are checked: as many classes as images, each a class of the model. The run
  // borrows the model and the arena.
  virtual std::unique_ptr<ScaleRun> start(const Context& context, const Batch& batch,
                                          Arena& state) = 0;
  // Bytes of packed weights and tables, as ModelMemory::weights predicted them.
  virtual size_t loaded_bytes() const = 0;
};

// Settings that a model folder recommends.
struct SamplingDefaults {
  float cfg = 0.0F;
  int64_t top_k = 0;
  float top_p = 0.0F;
};

class ModelDescription {
 public:
  virtual ~ModelDescription() = default;

  virtual const Geometry& geometry() const = 0;
  virtual float softmax_scale() const = 0;
  virtual int64_t vocabulary() const = 0;  // categories of a token
  virtual int64_t num_classes() const = 0;
  virtual Grid image_pixels() const = 0;
  virtual SamplingDefaults defaults() const = 0;
  // Sequences that a batch of this many images runs as.
  virtual int64_t rows(const Batch& batch) const = 0;
  // Which class a person means by a number or a name. Throws Error(kUsage) with suggestions.
  virtual int64_t resolve_class(const std::string& text) const = 0;
  // `attention_bytes` is what attention takes from scratch at its largest step.
  virtual ModelMemory memory(const Context& context, const Batch& batch, const RunTypes& types,
                             size_t attention_bytes) const = 0;
  // Reads and packs the weights. Throws Error for files that do not fit the description.
  virtual std::unique_ptr<ScaleModel> load(const Context& context, const RunTypes& types) const = 0;
};

// How many images' logits are computed at once: few enough that the buffer is no larger than the
// last scale's for one image, so that small scales still run as one product.
inline int64_t images_per_logits(const Geometry& geometry, int scale, const Batch& batch) {
  if (batch.whole_logits) return batch.images();
  const int64_t most = geometry.tokens(geometry.num_scales() - 1);
  const int64_t together = most / geometry.tokens(scale);
  return together < 1 ? 1 : together > batch.images() ? batch.images() : together;
}

}  // namespace nextscale
