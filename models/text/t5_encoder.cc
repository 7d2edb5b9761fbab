// SPDX-License-Identifier: Apache-2.0
#include "models/text/t5_encoder.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "blocks/weight_loader.h"
#include "core/error_format.h"

namespace nextscale {
namespace {

using kernels::LinearSpec;
using Prompts = std::span<const std::vector<int32_t>>;

// Texts run together until they have this many tokens: enough that reading the weights does not
// count, few enough that activations stay below one layer's weights.
constexpr int64_t kMaxTogether = 1024;

// ---- One layer ----------------------------------------------------------------------------------

struct LayerSpecs {
  LinearSpec q, o, wi_0, wi_1, wo;  // k and v are as q
};

LayerSpecs layer_specs(const T5Config& config, DType compute) {
  const auto product = [&](int64_t in, int64_t out) {
    return LinearSpec{.in_features = in, .out_features = out, .compute = compute};
  };
  LayerSpecs specs{.q = product(config.width, config.inner()),
                   .o = product(config.inner(), config.width),
                   .wi_0 = product(config.width, config.ffn_width),
                   .wi_1 = product(config.width, config.ffn_width),
                   .wo = product(config.ffn_width, config.width)};
  specs.wi_0.output = compute;
  specs.wi_0.activation = kernels::Activation::kGeluTanh;
  specs.wi_1.output = compute;
  return specs;
}

struct T5Layer {
  std::vector<float> attention_norm, ffn_norm;  // [width]
  std::unique_ptr<kernels::Linear> q, k, v, o, wi_0, wi_1, wo;

  void prepare(int64_t tokens) {
    for (kernels::Linear* linear :
         {q.get(), k.get(), v.get(), o.get(), wi_0.get(), wi_1.get(), wo.get()}) {
      linear->prepare(tokens);
    }
  }
};

T5Layer load_layer(const T5Config& config, DType compute, int64_t layer, WeightLoader& loader) {
  const LayerSpecs specs = layer_specs(config, compute);
  const std::string attention = t5_layer_name(layer, 0);
  const std::string ffn = t5_layer_name(layer, 1);
  const auto product = [&](const std::string& name, const LinearSpec& spec) {
    return loader.linear_without_bias(name + ".weight", spec);
  };
  return {.attention_norm = loader.values(attention + "layer_norm.weight", Shape{config.width}),
          .ffn_norm = loader.values(ffn + "layer_norm.weight", Shape{config.width}),
          .q = product(attention + "SelfAttention.q", specs.q),
          .k = product(attention + "SelfAttention.k", specs.q),
          .v = product(attention + "SelfAttention.v", specs.q),
          .o = product(attention + "SelfAttention.o", specs.o),
          .wi_0 = product(ffn + "DenseReluDense.wi_0", specs.wi_0),
          .wi_1 = product(ffn + "DenseReluDense.wi_1", specs.wi_1),
          .wo = product(ffn + "DenseReluDense.wo", specs.wo)};
}

// ---- Texts that run together --------------------------------------------------------------------

// Memory of a pass over `tokens` tokens in all, `longest` of them in one text.
struct PassShape {
  int64_t tokens = 0;
  int64_t longest = 0;

  void add(int64_t length) {
    tokens += length;
    longest = std::max(longest, length);
  }
};

size_t bytes_of(int64_t elements, DType dtype) {
  return Arena::rounded(static_cast<size_t>(elements) * dtype_bytes(dtype));
}

int64_t bias_elements(const T5Config& config, const PassShape& shape) {
  return config.heads * (2 * shape.longest - 1);
}

size_t pass_bytes(const Context& context, const T5Config& config, DType compute,
                  const PassShape& shape) {
  const auto rows = [&](int64_t features, DType dtype) {
    return bytes_of(shape.tokens * features, dtype);
  };
  kernels::RelativeAttentionArgs heads;
  heads.head_dim = config.head_dim;
  const size_t attention =
      rows(config.width, compute) + 3 * rows(config.inner(), DType::kF32) +
      rows(config.inner(), compute) +
      std::max(context.kernels->relative_attention_scratch(context, heads, shape.longest),
               rows(config.width, DType::kF32));
  const size_t ffn = rows(config.width, compute) + 2 * rows(config.ffn_width, compute) +
                     rows(config.width, DType::kF32);
  return rows(config.width, DType::kF32) + bytes_of(bias_elements(config, shape), DType::kF32) +
         std::max(attention, ffn);
}

// One pass: the residual stream, and the bias of every distance.
class Pass {
 public:
  Pass(const Context& context, const T5Config& config, DType compute, Prompts prompts)
      : config_(config), compute_(compute), context_(context) {
    for (const std::vector<int32_t>& prompt : prompts) {
      starts_.push_back(shape_.tokens);
      shape_.add(static_cast<int64_t>(prompt.size()));
    }
    starts_.push_back(shape_.tokens);
    arena_ = Arena(pass_bytes(context, config, compute, shape_), "the text encoder");
    context_.scratch = &arena_;
    x_ = arena_.take<float>(static_cast<size_t>(shape_.tokens * config.width)).data();
    bias_ = arena_.take<float>(static_cast<size_t>(bias_elements(config, shape_)));
  }

  int64_t tokens() const { return shape_.tokens; }

  void embed(Prompts prompts, const SafetensorsFile& file);
  void fill_bias(const std::vector<float>& table);
  void run(const T5Layer& layer) {
    attend(layer);
    feed_forward(layer);
  }
  // Appends the normalised texts.
  void finish(const std::vector<float>& norm, std::vector<Tensor>& features) const;

 private:
  template <typename T = void>
  T* take(int64_t features, DType dtype) {
    const auto bytes = static_cast<size_t>(shape_.tokens * features) * dtype_bytes(dtype);
    return static_cast<T*>(arena_.take_bytes(bytes));
  }

  void normalize(const std::vector<float>& weight, void* out) const {
    context_.kernels->rms_norm(context_, {.x = x_,
                                          .weight = weight.data(),
                                          .tokens = shape_.tokens,
                                          .width = config_.width,
                                          .epsilon = config_.norm_epsilon,
                                          .out = out,
                                          .out_dtype = compute_});
  }

  void add_product(const kernels::Linear& linear, const void* input) {
    auto* y = take<float>(config_.width, DType::kF32);
    linear.run(context_, input, y, shape_.tokens);
    context_.kernels->add(context_, x_, y, shape_.tokens * config_.width);
  }

  void attend(const T5Layer& layer);
  void feed_forward(const T5Layer& layer);

  const T5Config& config_;
  DType compute_;
  Context context_;
  PassShape shape_;
  std::vector<int64_t> starts_;
  Arena arena_;
  float* x_ = nullptr;     // [tokens, width]
  std::span<float> bias_;  // [heads, 2 longest - 1]
};

void Pass::embed(Prompts prompts, const SafetensorsFile& file) {
  const ConstTensorView table = file.view(kT5Embedding);
  require_shape(kT5Embedding, table, Shape{config_.vocab, config_.width});
  const size_t row_bytes = static_cast<size_t>(config_.width) * dtype_bytes(table.dtype);
  float* to = x_;
  for (const std::vector<int32_t>& prompt : prompts) {
    for (const int32_t id : prompt) {
      if (id < 0 || id >= config_.vocab) {
        fail(ErrorCode::kMismatch,
             "text encoder: the prompt has the token {}, the encoder's table {} rows; take "
             "tokenizer and encoder from the same model",
             id, config_.vocab);
      }
      const ConstTensorView row{table.as<std::byte>() + static_cast<size_t>(id) * row_bytes,
                                table.dtype, Shape{config_.width}};
      copy_to_f32(row, {to, static_cast<size_t>(config_.width)});
      to += config_.width;
    }
    file.drop(kT5Embedding);
  }
}

void Pass::fill_bias(const std::vector<float>& table) {
  const int64_t reach = shape_.longest - 1;
  for (int64_t head = 0; head < config_.heads; ++head) {
    for (int64_t distance = -reach; distance <= reach; ++distance) {
      const int64_t bucket = t5_bucket(config_, distance);
      bias_[static_cast<size_t>(head * (2 * reach + 1) + reach + distance)] =
          table[static_cast<size_t>(bucket * config_.heads + head)];
    }
  }
}

void Pass::attend(const T5Layer& layer) {
  const ArenaScope scope(arena_);
  void* normed = take(config_.width, compute_);
  auto* q = take<float>(config_.inner(), DType::kF32);
  auto* k = take<float>(config_.inner(), DType::kF32);
  auto* v = take<float>(config_.inner(), DType::kF32);
  void* attended = take(config_.inner(), compute_);
  normalize(layer.attention_norm, normed);
  layer.q->run(context_, normed, q, shape_.tokens);
  layer.k->run(context_, normed, k, shape_.tokens);
  layer.v->run(context_, normed, v, shape_.tokens);
  context_.kernels->relative_attention(context_, {.starts = starts_,
                                                  .heads = config_.heads,
                                                  .head_dim = config_.head_dim,
                                                  .q = q,
                                                  .k = k,
                                                  .v = v,
                                                  .bias = bias_.data(),
                                                  .reach = shape_.longest - 1,
                                                  .out = attended,
                                                  .out_dtype = compute_});
  add_product(*layer.o, attended);
}

void Pass::feed_forward(const T5Layer& layer) {
  const ArenaScope scope(arena_);
  void* normed = take(config_.width, compute_);
  void* gate = take(config_.ffn_width, compute_);
  void* hidden = take(config_.ffn_width, compute_);
  normalize(layer.ffn_norm, normed);
  layer.wi_0->run(context_, normed, gate, shape_.tokens);
  layer.wi_1->run(context_, normed, hidden, shape_.tokens);
  context_.kernels->multiply(context_, hidden, gate, compute_, shape_.tokens * config_.ffn_width);
  add_product(*layer.wo, hidden);
}

void Pass::finish(const std::vector<float>& norm, std::vector<Tensor>& features) const {
  for (size_t text = 0; text + 1 < starts_.size(); ++text) {
    const int64_t length = starts_[text + 1] - starts_[text];
    Tensor result(DType::kF32, {length, config_.width});
    context_.kernels->rms_norm(context_, {.x = x_ + starts_[text] * config_.width,
                                          .weight = norm.data(),
                                          .tokens = length,
                                          .width = config_.width,
                                          .epsilon = config_.norm_epsilon,
                                          .out = result.as<float>(),
                                          .out_dtype = DType::kF32});
    features.push_back(std::move(result));
  }
}

// How many of the texts, at least one, run together.
size_t num_together(std::span<const int64_t> lengths) {
  PassShape shape;
  size_t count = 0;
  while (count < lengths.size()) {
    shape.add(lengths[count]);
    if (count > 0 && shape.tokens > kMaxTogether) break;
    ++count;
  }
  return count;
}

}  // namespace

T5Encoder::T5Encoder(const T5Config& config, const std::filesystem::path& weights, DType compute)
    : config_(config), file_(weights), compute_(compute) {}

std::vector<Tensor> T5Encoder::encode(const Context& context, Prompts prompts) const {
  std::vector<int64_t> lengths;
  for (const std::vector<int32_t>& prompt : prompts) {
    NEXTSCALE_ASSERT(!prompt.empty());
    lengths.push_back(static_cast<int64_t>(prompt.size()));
  }
  WeightLoader loader(context, file_);
  std::vector<Tensor> features;
  while (features.size() < prompts.size()) {
    const size_t count = num_together(std::span(lengths).subspan(features.size()));
    const Prompts together = prompts.subspan(features.size(), count);
    Pass pass(context, config_, compute_, together);
    pass.embed(together, file_);
    pass.fill_bias(
        loader.read(std::string(kT5RelativeBias), Shape{config_.buckets, config_.heads}));
    for (int64_t layer = 0; layer < config_.layers; ++layer) {
      throw_if_cancelled(context);
      T5Layer loaded = load_layer(config_, compute_, layer, loader);
      loaded.prepare(pass.tokens());
      pass.run(loaded);
    }
    pass.finish(loader.read(std::string(kT5FinalNorm), Shape{config_.width}), features);
  }
  return features;
}

T5Memory T5Encoder::memory(const Context& context, std::span<const int64_t> lengths) const {
  T5Memory memory;
  const LayerSpecs specs = layer_specs(config_, compute_);
  const auto packed = [&](const LinearSpec& spec) {
    return context.kernels->linear_bytes(context, spec);
  };
  memory.weights = 3 * packed(specs.q) + packed(specs.o) + packed(specs.wi_0) + packed(specs.wi_1) +
                   packed(specs.wo);
  // While the last product is packed it lies in the mapped file as well, int8 once more widened.
  const TensorInfo* last = file_.find(t5_layer_name(0, 1) + "DenseReluDense.wo.weight");
  if (last != nullptr) {
    memory.weights += last->num_bytes();
    if (last->dtype == DType::kI8) memory.weights += last->num_bytes() * dtype_bytes(compute_);
  }
  while (!lengths.empty()) {
    PassShape shape;
    const size_t count = num_together(lengths);
    for (const int64_t length : lengths.first(count)) shape.add(length);
    memory.activations =
        std::max(memory.activations, pass_bytes(context, config_, compute_, shape));
    memory.features += static_cast<size_t>(shape.tokens * config_.width) * sizeof(float);
    lengths = lengths.subspan(count);
  }
  return memory;
}

}  // namespace nextscale
