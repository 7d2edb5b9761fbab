// SPDX-License-Identifier: Apache-2.0
// One batch of VAR on its way through the scales (specs/var.md sections 3 to 6).
#include <algorithm>
#include <utility>

#include "core/error_format.h"
#include "core/parallel.h"
#include "core/trace.h"
#include "models/var/var_layers.h"

namespace nextscale {
namespace {

class VarRun final : public ScaleRun {
 public:
  VarRun(const Context& context, VarLayers& layers, const Geometry& geometry, const Batch& batch,
         Arena& state);

  void forward(const Context& context, int scale, CachedAttention& attention) override;
  void logits(const Context& context, int scale, int64_t first, int64_t count, float* out) override;
  void accept(const Context& context, int scale, const ScaleLabels& labels) override;
  void decode(const Context& context, int64_t image, float* rgb) override;

 private:
  void prepare_products();
  void modulate(const Context& context);
  void first_input();
  void next_input(const Context& context, int scale);
  // LN, modulation and head for consecutive rows: out [count, tokens, vocab].
  void head_logits(const Context& context, int64_t tokens, int64_t first_row, int64_t count,
                   float* out) const;
  int64_t label(int64_t row) const;
  float* f_hat(int64_t image) const { return f_hat_ + static_cast<size_t>(image) * latent_stride_; }
  bool has_unconditional_rows() const { return rows_ > batch_.images(); }

  VarLayers& layers_;
  const VarConfig& config_;
  const Geometry& geometry_;
  Batch batch_;
  int64_t rows_;
  size_t latent_stride_;    // floats from one image's latent to the next
  float* x_;                // [rows, tokens of the scale, width]
  float* modulation_;       // [layers, rows, kNumBlockVectors, width]
  float* head_modulation_;  // [rows, 2, width]
  float* f_hat_;            // [images, side, side, channels]
};

VarRun::VarRun(const Context& context, VarLayers& layers, const Geometry& geometry,
               const Batch& batch, Arena& state)
    : layers_(layers),
      config_(layers.config),
      geometry_(geometry),
      batch_(batch),
      rows_(var_rows(batch)) {
  const auto take = [&](int64_t count) {
    return state.take<float>(static_cast<size_t>(count)).data();
  };
  const size_t latent_bytes = layers.quantizer->shape().latent_size() * sizeof(float);
  latent_stride_ = Arena::rounded(latent_bytes) / sizeof(float);
  const int64_t width = config_.width;
  x_ = take(rows_ * geometry.tokens(geometry.num_scales() - 1) * width);
  modulation_ =
      take(BlockModulations::floats(var_norm_shape(config_, layers.types.compute), rows_));
  head_modulation_ =
      take(ModulatedHead::floats(var_head_shape(config_, layers.types.compute), rows_));
  f_hat_ = take(batch.images() * static_cast<int64_t>(latent_stride_));
  std::fill_n(f_hat_, static_cast<size_t>(batch.images()) * latent_stride_, 0.0F);
  prepare_products();
  modulate(context);
  first_input();
}

void VarRun::prepare_products() {
  layers_.modulations->prepare(rows_);
  layers_.head->prepare_modulation(rows_);
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

int64_t VarRun::label(int64_t row) const {
  return row < batch_.images() ? batch_.classes[static_cast<size_t>(row)] : config_.classes;
}

// All modulation vectors depend on the class alone, so they are computed once per batch.
void VarRun::modulate(const Context& context) {
  const int64_t width = config_.width;
  const ArenaScope scope(*context.scratch);
  float* vectors = context.scratch->take<float>(static_cast<size_t>(rows_ * width)).data();
  for (int64_t row = 0; row < rows_; ++row) {
    std::copy_n(layers_.class_vectors.data() + label(row) * width, width, vectors + row * width);
  }
  layers_.head->modulate(context, vectors, rows_, head_modulation_);
  layers_.modulations->run(context, vectors, rows_, modulation_);
}

// The class vector is the first token, too.
void VarRun::first_input() {
  const int64_t width = config_.width;
  float* x = x_;
  for (int64_t row = 0; row < rows_; ++row) {
    const float* vector = layers_.class_vectors.data() + label(row) * width;
    for (int64_t at = 0; at < geometry_.tokens(0) * width; ++at) {
      *x++ = vector[at % width] + layers_.start_positions[static_cast<size_t>(at)] +
             layers_.positions[static_cast<size_t>(at)];
    }
  }
}

void VarRun::forward(const Context& context, int scale, CachedAttention& attention) {
  const int64_t tokens = geometry_.tokens(scale);
  const ConstTensorView x_view{x_, DType::kF32, Shape{rows_, tokens, config_.width}};
  if (context.trace != nullptr) context.trace->record(fmt::format("x_in.{}", scale), x_view);
  for (size_t layer = 0; layer < layers_.blocks.size(); ++layer) {
    throw_if_cancelled(context);
    layers_.blocks[layer].forward(
        context, {.x = x_, .rows = rows_, .tokens = tokens, .layer = static_cast<int64_t>(layer)},
        layers_.modulations->layer(modulation_, rows_, static_cast<int64_t>(layer)), attention);
    if (context.trace != nullptr) {
      context.trace->record(fmt::format("block.{}.{}", scale, layer), x_view);
    }
  }
}

void VarRun::head_logits(const Context& context, int64_t tokens, int64_t first_row, int64_t count,
                         float* out) const {
  layers_.head->run(
      context,
      {.x = x_ + first_row * tokens * config_.width,
       .vectors = head_modulation_ +
                  ModulatedHead::floats(var_head_shape(config_, layers_.types.compute), first_row),
       .rows = count,
       .tokens = tokens},
      out);
}

void VarRun::logits(const Context& context, int scale, int64_t first, int64_t count, float* out) {
  const int64_t tokens = geometry_.tokens(scale);
  const int64_t num_logits = count * tokens * config_.vocab;
  const Shape shape{count, tokens, config_.vocab};
  const auto trace = [&](const float* raw) {
    if (context.trace == nullptr) return;
    context.trace->record(fmt::format("logits_raw.{}", scale), {raw, DType::kF32, shape});
  };
  head_logits(context, tokens, first, count, out);
  trace(out);
  const float strength = batch_.guidance.at(scale);
  const bool needed = strength != 0.0F || context.trace != nullptr;
  if (!needed || !has_unconditional_rows()) return;
  const ArenaScope scope(*context.scratch);
  float* unconditional = context.scratch->take<float>(static_cast<size_t>(num_logits)).data();
  head_logits(context, tokens, batch_.images() + first, count, unconditional);
  trace(unconditional);
  context.kernels->blend(context, 1.0F + strength, out, -strength, unconditional, out, num_logits);
}

void VarRun::accept(const Context& context, int scale, const ScaleLabels& labels) {
  const int64_t count = geometry_.tokens(scale);
  const VqQuantizer& quantizer = *layers_.quantizer;
  for (int64_t image = 0; image < batch_.images(); ++image) {
    const ArenaScope scope(*context.scratch);
    float* embeddings =
        context.scratch->take<float>(static_cast<size_t>(count * config_.latent_channels)).data();
    if (labels.mixtures != nullptr) {
      quantizer.embed_mixture(context, labels.mixtures + image * count * config_.vocab, count,
                              embeddings);
    } else {
      quantizer.embed(labels.labels + image * count, count, embeddings);
    }
    quantizer.add_scale(context, scale, embeddings, f_hat(image));
    if (context.trace != nullptr) {
      const int64_t side = quantizer.shape().latent_side();
      record_planes(*context.trace, fmt::format("f_hat.{}", scale), f_hat(image),
                    Shape{side, side, config_.latent_channels});
    }
  }
  if (scale + 1 < geometry_.num_scales()) next_input(context, scale + 1);
}

void VarRun::next_input(const Context& context, int scale) {
  const int64_t tokens = geometry_.tokens(scale);
  const int64_t width = config_.width;
  const int64_t images = batch_.images();
  const int64_t channels = config_.latent_channels;
  const ArenaScope scope(*context.scratch);
  float* pooled =
      context.scratch->take<float>(static_cast<size_t>(images * tokens * channels)).data();
  for (int64_t image = 0; image < images; ++image) {
    layers_.quantizer->next_input(context, scale, f_hat(image), pooled + image * tokens * channels);
  }
  layers_.word_embed->run(context, pooled, x_, images * tokens);
  const float* positions = layers_.positions.data() + geometry_.tokens_through(scale - 1) * width;
  parallel_for(context.num_threads, images * tokens, [&](int64_t token, int) {
    float* x = x_ + token * width;
    const float* position = positions + (token % tokens) * width;
    for (int64_t feature = 0; feature < width; ++feature) x[feature] += position[feature];
    // The unconditional rows see the same tokens.
    if (has_unconditional_rows()) std::copy_n(x, width, x + images * tokens * width);
  });
}

void VarRun::decode(const Context& context, int64_t image, float* rgb) {
  layers_.decoder->decode(context, f_hat(image), rgb);
  if (context.trace == nullptr) return;
  const Grid size = layers_.decoder->shape().image_size();
  record_planes(*context.trace, "image", rgb, Shape{size.height, size.width, 3});
}

class VarModel final : public ScaleModel {
 public:
  VarModel(const Context& context, const VarConfig& config, const Geometry& geometry,
           const RunTypes& types, const std::filesystem::path& folder)
      : layers_(context, config, types, folder), geometry_(geometry) {}

  std::unique_ptr<ScaleRun> start(const Context& context, const Batch& batch,
                                  Arena& state) override {
    return std::make_unique<VarRun>(context, layers_, geometry_, batch, state);
  }

  size_t loaded_bytes() const override { return layers_.loaded_bytes; }

 private:
  VarLayers layers_;
  Geometry geometry_;
};

}  // namespace

std::unique_ptr<ScaleModel> load_var(const Context& context, const VarConfig& config,
                                     const Geometry& geometry, const RunTypes& types,
                                     const std::filesystem::path& folder) {
  return std::make_unique<VarModel>(context, config, geometry, types, folder);
}

}  // namespace nextscale
