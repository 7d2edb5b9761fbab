// SPDX-License-Identifier: Apache-2.0
// What a model family is to the engine. A family is one folder here and one row in registry.cc; it
// knows nothing of policies, files of pictures or the command line.
//
//   description  what the model is, from its config alone: shapes, defaults, memory. Cheap.
//   model        loaded weights, shared by all runs.
//   run          the state of one batch on its way through the scales.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "attention/cached_attention.h"
#include "core/arena.h"
#include "core/context.h"
#include "core/geometry.h"

namespace nextscale {

// How a model is to be run: types and memory that do not depend on the batch.
struct RunTypes {
  DType compute = DType::kF32;  // of the transformer's products: f32, bf16 or i8
  DType kv = DType::kF32;       // of the current scale's keys and values: f32 or bf16
  DType cache = DType::kF32;    // of cached ones: as kv, or i8
  size_t strip_bytes = 0;       // of one strip of the decoder
};

// How the rows with and without condition are mixed.
struct Guidance {
  // Per scale g: (1 + g) conditional - g unconditional; 0 where there is none.
  std::vector<float> strengths{};
  bool on_logits = true;
  // Layers behind which the mixture takes the place of both rows.
  std::vector<int64_t> after_layers{};

  bool is_any() const {
    return std::ranges::any_of(strengths, [](float strength) { return strength != 0.0F; });
  }
  float at(int scale) const { return strengths[static_cast<size_t>(scale)]; }
};

// Guidance as a person asks for it.
struct GuidanceRequest {
  std::vector<float> cfg;  // one strength, or one per scale
  // Where the rows are mixed: 0 for the logits, -m behind layer L - m of L. Empty: on the logits.
  std::vector<int64_t> layers{};
};

// What a text encoder made of a text. Borrowed.
struct TextView {
  const float* features = nullptr;  // [tokens, channels]; null while only memory is planned
  int64_t tokens = 0;
};

// The text of one image, and what it shall not show (no tokens: the model's own "no text").
struct TextCondition {
  TextView text;
  TextView negative{};
};

// One batch. All its images run in lock-step.
struct Batch {
  std::vector<int64_t> classes{};      // one per image, where the model is conditioned on classes
  std::vector<TextCondition> texts{};  // one per image, where it is conditioned on texts
  Guidance guidance{};
  // Compute the unguided rows even where they cannot change the picture, as traces show them.
  bool keep_all_rows = false;
  // Hold the logits of all images at once, as traces and mixtures of tokens need them.
  bool whole_logits = false;

  int64_t images() const { return static_cast<int64_t>(std::max(classes.size(), texts.size())); }
};

// Bytes that a run of one batch takes beside the key/value cache.
struct ModelMemory {
  size_t weights = 0;  // packed
  size_t state = 0;    // of the batch, from its first scale to its pictures
  size_t scratch = 0;  // of one step; given back before pictures are decoded
  size_t decoder = 0;  // of decoding one picture
};

// What a model chooses for each token: one label out of a vocabulary, or several labels that are
// chosen independently, such as bits.
struct LabelShape {
  std::string_view name = "tokens";  // of the chosen labels in traces
  int64_t per_token = 1;
  int64_t categories = 0;

  int64_t logits_per_token() const { return per_token * categories; }
};

// The labels chosen at one scale.
struct ScaleLabels {
  const int32_t* labels = nullptr;  // [images, tokens of the scale, labels per token]
  // [images, tokens, categories] instead of single labels, or null.
  const float* mixtures = nullptr;
};

// One batch on its way through the scales. Calls come in the order forward, logits (any split of
// the images), accept, for each scale in turn. Memory comes from the state arena it was started
// with and from context.scratch.
class ScaleRun {
 public:
  virtual ~ScaleRun() = default;

  // Runs the transformer at this scale. Throws Error(kCancelled) between layers.
  virtual void forward(const Context& context, int scale, CachedAttention& attention) = 0;
  // Logits after guidance of images [first, first + count): out [count, tokens, labels per token,
  // categories].
  virtual void logits(const Context& context, int scale, int64_t first, int64_t count,
                      float* out) = 0;
  // Takes the chosen labels and prepares the next scale's input.
  virtual void accept(const Context& context, int scale, const ScaleLabels& labels) = 0;
  // The picture so far: rgb [height, width, 3] in [0, 1].
  virtual void decode(const Context& context, int64_t image, float* rgb) = 0;
};

class ScaleModel {
 public:
  virtual ~ScaleModel() = default;
  // The batch is checked: as many classes or texts as images, each one that the model takes. The
  // run borrows the model, the arena and, until start() returns, the texts.
  virtual std::unique_ptr<ScaleRun> start(const Context& context, const Batch& batch,
                                          Arena& state) = 0;
  // Bytes of packed weights and tables, as ModelMemory::weights predicted them.
  virtual size_t loaded_bytes() const = 0;
};

// The features of texts that a model reads.
struct TextShape {
  int64_t channels = 0;    // 0: the model is not conditioned on texts
  int64_t max_tokens = 0;  // of one text
};

// Settings that a model folder recommends.
struct SamplingDefaults {
  std::vector<float> cfg{};      // one, or one per scale
  std::vector<float> tau{1.0F};  // likewise: what logits are divided by
  int64_t top_k = 0;
  float top_p = 0.0F;
};

class ModelDescription {
 public:
  virtual ~ModelDescription() = default;

  virtual const Geometry& geometry() const = 0;
  virtual float softmax_scale() const = 0;
  virtual LabelShape labels() const = 0;
  virtual int64_t num_classes() const = 0;  // 0: the model is not conditioned on classes
  // One for each class, synonyms separated by ", "; empty where its classes have no names.
  virtual std::vector<std::string> class_names() const = 0;
  virtual TextShape text() const = 0;
  // The size of its pictures as a person asks for it; empty where there is no choice.
  virtual std::string size() const = 0;
  virtual Grid image_pixels() const = 0;
  virtual SamplingDefaults defaults() const = 0;
  // Throws Error(kUsage) for guidance that the model does not have.
  virtual Guidance guidance(const GuidanceRequest& request) const = 0;
  // Sequences that this batch runs as.
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
