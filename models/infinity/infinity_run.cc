// SPDX-License-Identifier: Apache-2.0
// One batch of Infinity on its way through the scales (specs/infinity.md sections 6 to 10).
#include <algorithm>
#include <utility>

#include "core/error_format.h"
#include "core/parallel.h"
#include "core/trace.h"
#include "models/infinity/infinity_layers.h"
#include "models/infinity/rotations.h"
#include "models/infinity/schedules.h"

namespace nextscale {
namespace {

// The largest coordinate of a rotary embedding: the longest side of any schedule.
int64_t largest_coordinate(double aspect) {
  const Grid map = infinity_schedule(aspect, kInfinityScales).back();
  return std::max(map.height, map.width);
}

class InfinityRun final : public ScaleRun {
 public:
  InfinityRun(const Context& context, InfinityLayers& layers, const Batch& batch, Arena& state);

  void forward(const Context& context, int scale, CachedAttention& attention) override;
  void logits(const Context& context, int scale, int64_t first, int64_t count, float* out) override;
  void accept(const Context& context, int scale, const ScaleLabels& labels) override;
  void decode(const Context& context, int64_t image, float* rgb) override;

 private:
  void prepare_products();
  std::vector<TextView> row_texts() const;
  void read_texts(const Context& context, std::span<const TextView> texts);
  void project_texts(const Context& context, std::span<const TextView> texts, const void* source);
  void first_input(const float* pooled);
  void next_input(const Context& context, int scale);
  void mix_rows(const Context& context, int scale, int64_t tokens);
  // LN, modulation and head for consecutive rows: out [count, tokens, bits, 2].
  void head_logits(const Context& context, int64_t tokens, int64_t first_row, int64_t count,
                   float* out) const;
  void record(const Context& context, const std::string& name, const float* x,
              const Shape& shape) const;
  float* f_hat(int64_t image) const { return f_hat_ + static_cast<size_t>(image) * latent_stride_; }
  bool has_unconditional_rows() const { return rows_ > batch_.images(); }
  int64_t bits() const { return config_.token_bits(); }

  InfinityLayers& layers_;
  const InfinityConfig& config_;
  const Geometry& geometry_;
  Batch batch_;
  int64_t rows_;
  int64_t text_tokens_;  // of all rows
  RotaryTable rotary_;
  size_t latent_stride_;    // floats from one image's latent to the next
  float* x_;                // [rows, tokens of the scale, width]
  float* modulation_;       // [layers, rows, kNumBlockVectors, width]
  float* head_modulation_;  // [rows, 2, width]
  float* f_hat_;            // [images, height, width, channels]
  float* cosines_;          // [tokens of the scale, head_dim]
  float* sines_;            // [tokens of the scale, head_dim]
  // Of every layer, row after row [heads, text tokens, head_dim]:
  std::byte* text_keys_;
  std::byte* text_values_;
  std::vector<kernels::AttentionHead> text_heads_;  // [layers, rows, heads]
};

InfinityRun::InfinityRun(const Context& context, InfinityLayers& layers, const Batch& batch,
                         Arena& state)
    : layers_(layers),
      config_(layers.setting.config),
      geometry_(layers.setting.geometry),
      batch_(batch),
      rows_(infinity_rows(batch)),
      text_tokens_(infinity_text_tokens(batch)),
      rotary_(config_.head_dim, largest_coordinate(layers.setting.picture.aspect)) {
  const auto take = [&](int64_t count) {
    return state.take<float>(static_cast<size_t>(count)).data();
  };
  const size_t latent_bytes = layers.quantizer->shape().latent_size() * sizeof(float);
  latent_stride_ = Arena::rounded(latent_bytes) / sizeof(float);
  const int64_t last_tokens = geometry_.tokens(geometry_.num_scales() - 1);
  x_ = take(rows_ * last_tokens * config_.width);
  modulation_ = take(BlockModulations::floats(infinity_norm_shape(config_), rows_));
  head_modulation_ = take(ModulatedHead::floats(infinity_head_shape(config_), rows_));
  f_hat_ = take(batch.images() * static_cast<int64_t>(latent_stride_));
  std::fill_n(f_hat_, static_cast<size_t>(batch.images()) * latent_stride_, 0.0F);
  cosines_ = take(last_tokens * config_.head_dim);
  sines_ = take(last_tokens * config_.head_dim);
  const size_t text_bytes = static_cast<size_t>(config_.layers * text_tokens_ * config_.width) *
                            dtype_bytes(layers.types.kv);
  text_keys_ = static_cast<std::byte*>(state.take_bytes(text_bytes));
  text_values_ = static_cast<std::byte*>(state.take_bytes(text_bytes));
  prepare_products();
  read_texts(context, row_texts());
}

void InfinityRun::prepare_products() {
  layers_.modulations->prepare(rows_);
  layers_.head->prepare_modulation(rows_);
  layers_.text->prepare(rows_, text_tokens_);
  for (TransformerBlock& block : layers_.blocks) block.prepare_context(text_tokens_);
  for (int scale = 0; scale < geometry_.num_scales(); ++scale) {
    const int64_t tokens = geometry_.tokens(scale);
    for (TransformerBlock& block : layers_.blocks) block.prepare(rows_ * tokens);
    const int64_t together = images_per_logits(geometry_, scale, batch_);
    layers_.head->prepare(together * tokens);
    const int64_t remainder = batch_.images() % together;
    if (remainder != 0) layers_.head->prepare(remainder * tokens);
    layers_.word_embed->prepare(batch_.images() * tokens);
  }
}

// Conditional rows, then the others: negative texts, or the model's own "no text".
std::vector<TextView> InfinityRun::row_texts() const {
  std::vector<TextView> texts;
  for (const TextCondition& each : batch_.texts) texts.push_back(each.text);
  if (!has_unconditional_rows()) return texts;
  for (const TextCondition& each : batch_.texts) {
    texts.push_back(each.negative.tokens > 0 ? each.negative
                                             : layers_.text->no_text(each.text.tokens));
  }
  return texts;
}

// Everything that depends on the texts alone is computed once per batch.
void InfinityRun::read_texts(const Context& context, std::span<const TextView> texts) {
  Arena& scratch = *context.scratch;
  const ArenaScope scope(scratch);
  const DType source_dtype = kernels::activation_type(layers_.types.compute);
  float* pooled = scratch.take<float>(static_cast<size_t>(rows_ * config_.width)).data();
  void* source = scratch.take_bytes(static_cast<size_t>(text_tokens_ * config_.width) *
                                    dtype_bytes(source_dtype));
  layers_.text->run(context, texts, pooled, source);
  record(context, "text_pooled", pooled, Shape{rows_, config_.width});
  if (source_dtype == DType::kF32) {
    record(context, "text_source", static_cast<const float*>(source),
           Shape{text_tokens_, config_.width});
  }
  layers_.head->modulate(context, pooled, rows_, head_modulation_);
  layers_.modulations->run(context, pooled, rows_, modulation_);
  project_texts(context, texts, source);
  first_input(pooled);
}

void InfinityRun::project_texts(const Context& context, std::span<const TextView> texts,
                                const void* source) {
  const DType dtype = layers_.types.kv;
  std::vector<int64_t> lengths;
  for (const TextView& text : texts) lengths.push_back(text.tokens);
  const size_t layer_bytes = static_cast<size_t>(text_tokens_ * config_.width) * dtype_bytes(dtype);
  for (size_t layer = 0; layer < layers_.blocks.size(); ++layer) {
    std::byte* keys = text_keys_ + layer * layer_bytes;
    std::byte* values = text_values_ + layer * layer_bytes;
    layers_.blocks[layer].project_context(
        context, {.x = source, .lengths = lengths, .padded_tokens = text_tokens_}, dtype, keys,
        values);
    for (const int64_t length : lengths) {
      const size_t head_bytes = static_cast<size_t>(length * config_.head_dim) * dtype_bytes(dtype);
      for (int64_t head = 0; head < config_.heads; ++head) {
        text_heads_.push_back(
            {.cached = {}, .current = {.k = keys, .v = values, .tokens = length, .dtype = dtype}});
        keys += head_bytes;
        values += head_bytes;
      }
    }
  }
}

// The pooled text is the first token, too.
void InfinityRun::first_input(const float* pooled) {
  const int64_t width = config_.width;
  for (int64_t at = 0; at < rows_ * width; ++at) {
    const auto feature = static_cast<size_t>(at % width);
    x_[at] = pooled[at] + layers_.start_position[feature] + layers_.levels[feature];
  }
}

void InfinityRun::forward(const Context& context, int scale, CachedAttention& attention) {
  const int64_t tokens = geometry_.tokens(scale);
  const Shape shape{rows_, tokens, config_.width};
  const auto heads = static_cast<size_t>(rows_ * config_.heads);
  rotary_.fill(layers_.setting.picture.aspect, geometry_.scales[static_cast<size_t>(scale)],
               cosines_, sines_);
  record(context, fmt::format("x_in.{}", scale), x_, shape);
  for (size_t layer = 0; layer < layers_.blocks.size(); ++layer) {
    throw_if_cancelled(context);
    layers_.blocks[layer].forward(
        context,
        {.x = x_,
         .rows = rows_,
         .tokens = tokens,
         .layer = static_cast<int64_t>(layer),
         .rotation = {.cosines = cosines_, .sines = sines_},
         .context =
             std::span<const kernels::AttentionHead>(text_heads_).subspan(layer * heads, heads)},
        layers_.modulations->layer(modulation_, rows_, static_cast<int64_t>(layer)), attention);
    if (std::ranges::count(batch_.guidance.after_layers, static_cast<int64_t>(layer)) > 0) {
      mix_rows(context, scale, tokens);
    }
    record(context, fmt::format("block.{}.{}", scale, layer), x_, shape);
  }
}

// Guidance inside the transformer: the mixture takes the place of both rows.
void InfinityRun::mix_rows(const Context& context, int scale, int64_t tokens) {
  const float strength = batch_.guidance.at(scale);
  if (strength == 0.0F || !has_unconditional_rows()) return;
  const int64_t count = batch_.images() * tokens * config_.width;
  context.kernels->blend(context, 1.0F + strength, x_, -strength, x_ + count, x_, count);
  std::copy_n(x_, count, x_ + count);
}

void InfinityRun::head_logits(const Context& context, int64_t tokens, int64_t first_row,
                              int64_t count, float* out) const {
  layers_.head->run(
      context,
      {.x = x_ + first_row * tokens * config_.width,
       .vectors = head_modulation_ + ModulatedHead::floats(infinity_head_shape(config_), first_row),
       .rows = count,
       .tokens = tokens},
      out);
}

void InfinityRun::logits(const Context& context, int scale, int64_t first, int64_t count,
                         float* out) {
  const int64_t tokens = geometry_.tokens(scale);
  const Shape shape{count, tokens, bits(), 2};
  head_logits(context, tokens, first, count, out);
  record(context, fmt::format("logits_raw.{}", scale), out, shape);
  const float strength = batch_.guidance.on_logits ? batch_.guidance.at(scale) : 0.0F;
  if (strength == 0.0F || !has_unconditional_rows()) return;
  const ArenaScope scope(*context.scratch);
  const int64_t num_logits = shape.num_elements();
  float* unconditional = context.scratch->take<float>(static_cast<size_t>(num_logits)).data();
  head_logits(context, tokens, batch_.images() + first, count, unconditional);
  record(context, fmt::format("logits_raw.{}", scale), unconditional, shape);
  context.kernels->blend(context, 1.0F + strength, out, -strength, unconditional, out, num_logits);
}

void InfinityRun::accept(const Context& context, int scale, const ScaleLabels& labels) {
  const int64_t tokens = geometry_.tokens(scale);
  const BsqQuantizer& quantizer = *layers_.quantizer;
  const Grid latent = quantizer.shape().latent();
  for (int64_t image = 0; image < batch_.images(); ++image) {
    quantizer.add_scale(context, scale, labels.labels + image * tokens * bits(), f_hat(image));
    if (context.trace != nullptr) {
      record_planes(*context.trace, fmt::format("f_hat.{}", scale), f_hat(image),
                    Shape{latent.height, latent.width, config_.latent_channels});
    }
  }
  if (scale + 1 < geometry_.num_scales()) next_input(context, scale + 1);
}

void InfinityRun::next_input(const Context& context, int scale) {
  const int64_t tokens = geometry_.tokens(scale);
  const int64_t width = config_.width;
  const int64_t images = batch_.images();
  const ArenaScope scope(*context.scratch);
  float* words = context.scratch->take<float>(static_cast<size_t>(images * tokens * bits())).data();
  for (int64_t image = 0; image < images; ++image) {
    layers_.quantizer->next_input(context, scale, f_hat(image), words + image * tokens * bits());
  }
  record(context, fmt::format("word_in.{}", scale), words, Shape{images, tokens, bits()});
  layers_.word_embed->run(context, words, x_, images * tokens);
  const float* level = layers_.levels.data() + scale * width;
  parallel_for(context.num_threads, images * tokens, [&](int64_t token, int) {
    float* x = x_ + token * width;
    for (int64_t feature = 0; feature < width; ++feature) x[feature] += level[feature];
    // The unconditional rows see the same tokens.
    if (has_unconditional_rows()) std::copy_n(x, width, x + images * tokens * width);
  });
}

void InfinityRun::decode(const Context& context, int64_t image, float* rgb) {
  layers_.decoder->decode(context, f_hat(image), rgb);
  if (context.trace == nullptr) return;
  const Grid size = layers_.decoder->shape().image_size();
  record_planes(*context.trace, "image", rgb, Shape{size.height, size.width, 3});
}

void InfinityRun::record(const Context& context, const std::string& name, const float* x,
                         const Shape& shape) const {
  if (context.trace != nullptr) context.trace->record(name, {x, DType::kF32, shape});
}

class InfinityModel final : public ScaleModel {
 public:
  InfinityModel(const Context& context, const InfinitySetting& setting, const RunTypes& types,
                const std::filesystem::path& folder)
      : layers_(context, setting, types, folder) {}

  std::unique_ptr<ScaleRun> start(const Context& context, const Batch& batch,
                                  Arena& state) override {
    return std::make_unique<InfinityRun>(context, layers_, batch, state);
  }

  size_t loaded_bytes() const override { return layers_.loaded_bytes; }

 private:
  InfinityLayers layers_;
};

}  // namespace

std::unique_ptr<ScaleModel> load_infinity(const Context& context, const InfinitySetting& setting,
                                          const RunTypes& types,
                                          const std::filesystem::path& folder) {
  return std::make_unique<InfinityModel>(context, setting, types, folder);
}

}  // namespace nextscale
