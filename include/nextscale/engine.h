// SPDX-License-Identifier: Apache-2.0
// The public API: load a model folder, say what a run will cost, generate pictures.
//
//   nextscale::Engine engine({.model = "models/var-d16"});
//   nextscale::Request request;
//   request.classes = {"tabby"};                     // or, for models that read texts:
//   request.prompts = {{.text = "a red apple"}};
//   engine.generate(request, {.on_image = [](const nextscale::GeneratedImage& image) { ... }});
//
// Mistakes of the caller throw nextscale::Error. One engine runs one request at a time.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "nextscale/error.h"
#include "nextscale/image.h"

namespace nextscale {

class AttentionProbe;
class TraceSink;

// Element type of products or of cached keys and values. kAuto: bf16 where the machine multiplies
// it fast, else f32; for the cache, the type of the products, of int8 ones bf16 or f32 likewise.
// kInt8: whole numbers with a factor for each key and value, for each output of a weight matrix,
// and for each token that it multiplies.
enum class Precision { kAuto, kF32, kBF16, kInt8 };

// Which implementation of the operators: the fast one, or the plain formulas it is judged by.
enum class Backend { kCpu, kReference };

struct EngineOptions {
  std::string model{};  // a model folder
  // Size of the pictures, for models that have a choice ("1024x768", "1M", "4:3@0.25M"); the
  // nearest that the model knows is made. Empty: the model's own.
  std::string size{};
  // Folder where features of prompts are kept, so that none is encoded twice; empty: nowhere.
  std::string text_cache{};
  // What `nextscale calibrate` made of this model; empty: calibration.safetensors in the model
  // folder, if it is there. Only policies that need one look at it.
  std::string calibration{};
  Precision dtype = Precision::kAuto;     // of the products
  Precision kv_dtype = Precision::kAuto;  // of the key/value cache
  int threads = 0;                        // 0: all cores
  uint64_t memory_limit_bytes = 0;        // 0: what the machine has free
  Backend backend = Backend::kCpu;
};

// A setting that is the same at every scale, or a list with one value for each.
struct PerScale {
  // NOLINTNEXTLINE(google-explicit-constructor)
  PerScale(float value) : values{value} {}
  // NOLINTNEXTLINE(google-explicit-constructor)
  PerScale(std::vector<float> list) : values(std::move(list)) {}

  std::vector<float> values;

  bool operator==(const PerScale&) const = default;
};

// A text that a picture is made of.
struct Prompt {
  std::string text{};
  // What the picture shall not show; absent: the model's own "no text".
  std::optional<std::string> negative{};

  bool operator==(const Prompt&) const = default;
};

struct Request {
  // What is shown; images_each pictures of each. One of these, as the model is conditioned:
  std::vector<std::string> classes{};  // numbers or names
  std::vector<Prompt> prompts{};
  std::string text_features{};  // a file that stands in for prompts (docs/formats.md)
  int64_t images_each = 1;
  int64_t first_image = 0;  // number of the first image of each
  uint64_t seed = 0;
  std::optional<PerScale> cfg{};  // guidance strength; absent: the model's own setting
  std::optional<PerScale> tau{};  // temperature, above 0; absent: the model's own setting
  // Where guidance mixes: 0 on the logits, -m behind layer L - m of L; empty: on the logits.
  std::vector<int64_t> cfg_layers{};
  std::optional<int64_t> top_k{};  // 0: off
  std::optional<float> top_p{};    // 0: off
  bool greedy = false;
  bool smooth = false;
  std::string kv = "full";  // cache policy and its settings
  int64_t batch = 0;        // images at a time; 0: as many as fit, at most 4
};

// Memory of a run in bytes, before anything is loaded.
struct Plan {
  uint64_t process = 0;  // what the program itself takes
  uint64_t weights = 0;
  uint64_t kv_cache = 0;     // keys, values and what is stored beside each token
  uint64_t activations = 0;  // state and scratch of the loop
  uint64_t decoder = 0;
  uint64_t text_encoder = 0;  // while prompts are encoded, before or between batches
  uint64_t peak = 0;          // the largest sum that exists at one time
  int64_t batch = 0;          // images at a time
};

// After every scale of every batch.
struct ScaleEvent {
  int64_t first_image = 0;  // of the batch, counting all images of the request
  int64_t num_images = 0;
  int scale = 0;
  int num_scales = 0;
  int64_t height = 0;  // of the token map
  int64_t width = 0;
  double milliseconds = 0;
  uint64_t kv_bytes = 0;  // keys and values held now, with the factors of int8
  // What was chosen, as Events::forced_labels takes it; valid during the call.
  std::span<const int32_t> labels{};
};

struct GeneratedImage {
  int64_t number = 0;       // counting all images of the request
  int64_t subject = 0;      // which of the request's classes or prompts
  int64_t class_index = 0;  // of a class
  int64_t image_index = 0;  // number within its class or prompt
  Image image;
  std::vector<ImageText> texts;  // the recipe, for the picture's file
};

struct Events {
  std::function<void(const Plan&)> on_plan{};  // before the first scale
  // For people: prompts that were cut, a size that the model does not know, damaged cache entries.
  std::function<void(const std::string&)> on_note{};
  std::function<void(const ScaleEvent&)> on_scale{};
  std::function<void(const Image&)> on_preview{};  // first image of the batch, after every scale
  std::function<void(GeneratedImage)> on_image{};  // absent: nothing is decoded, except for traces
  const std::atomic<bool>* cancel = nullptr;       // set to stop between layers
  TraceSink* trace = nullptr;
  AttentionProbe* probe = nullptr;  // sees queries and keys of every layer
  // Per scale, labels (tokens, or the bits of tokens) to take instead of sampled ones: [images,
  // tokens, labels per token] (one batch only).
  std::vector<std::vector<int32_t>> forced_labels{};
};

// A measurement of a model's attention under the full cache, from which policies are made.
struct CalibrationRequest {
  // Settings of every sample. Its classes or prompts are the samples' own, taken in turn; neither:
  // classes spread evenly over the model's. Numbers of images and the cache policy are not read.
  Request request;
  int64_t samples = 50;
  std::string output;  // a .safetensors file; what is there is replaced when all samples are done
};

struct CalibrationEvents {
  std::function<void(const Plan&)> on_plan{};         // of every batch
  std::function<void(const ScaleEvent&)> on_scale{};  // images count all samples
  std::function<void(const std::string&)> on_note{};  // what became of an interrupted run
  const std::atomic<bool>* cancel = nullptr;
};

class Engine {
 public:
  // Reads the folder's config only; weights are loaded by the first request or load().
  explicit Engine(const EngineOptions& options);
  ~Engine();

  // What the model is conditioned on, if it is classes: how many there are (else 0), their names
  // (one for each, synonyms separated by ", "; none if they have no names), and which one a person
  // means by a number or a name. The last throws Error: kUsage, kNotFound.
  int64_t num_classes() const;
  std::vector<std::string> class_names() const;
  int64_t class_index(const std::string& text) const;

  // Throws Error(kMemory) if no batch size fits.
  Plan plan(const Request& request) const;

  // What decides the pixels of a request beside its classes or prompts, its seed and its numbers of
  // images, the model included: a JSON object, equal for equal settings. Throws as generate() does.
  std::string settings(const Request& request) const;

  // Reads and packs the weights. Throws as generate() does.
  void load();

  // Throws Error: kUsage, kMemory, kBadFile, kMismatch, kCancelled.
  void generate(const Request& request, const Events& events);

  // Generates the samples and writes the calibration file. What is done is kept beside it, so that
  // the same call goes on after an interruption and ends with the same file. Throws as generate().
  void calibrate(const CalibrationRequest& request, const CalibrationEvents& events);

  // Bytes of packed weights (0 before load()) and the time packing took.
  uint64_t loaded_bytes() const;
  double load_milliseconds() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace nextscale
