// SPDX-License-Identifier: Apache-2.0
#include "models/infinity/text_reader.h"

#include <algorithm>
#include <cmath>

namespace nextscale {
namespace {

constexpr float kTextNormEpsilon = 1e-6F;
constexpr int64_t kKeyAndValue = 2;

// The four products, by what they do.
struct Specs {
  kernels::LinearSpec pool_kv;
  kernels::LinearSpec pool_out;
  kernels::LinearSpec source_1;
  kernels::LinearSpec source_2;

  Specs(const InfinityConfig& config, DType source_dtype)
      : pool_kv{.in_features = config.text_channels, .out_features = kKeyAndValue * config.width},
        pool_out{.in_features = config.width, .out_features = config.width},
        source_1{.in_features = config.text_channels,
                 .out_features = config.width,
                 .activation = kernels::Activation::kGeluTanh},
        source_2{
            .in_features = config.width, .out_features = config.width, .output = source_dtype} {}
};

int64_t count_tokens(std::span<const TextView> rows) {
  int64_t tokens = 0;
  for (const TextView& row : rows) tokens += row.tokens;
  return tokens;
}

kernels::AttentionArgs pooling(const InfinityConfig& config, int64_t rows) {
  const int64_t head_dim = config.width / config.pool_heads;
  return {.rows = rows,
          .query_heads = config.pool_heads,
          .kv_heads = config.pool_heads,
          .queries = 1,
          .head_dim = head_dim,
          .softmax_scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(head_dim)))};
}

size_t rounded(int64_t floats) {
  return Arena::rounded(static_cast<size_t>(floats) * sizeof(float));
}

std::vector<float> pool_bias(const InfinityConfig& config, const WeightLoader& loader) {
  std::vector<float> bias(static_cast<size_t>(config.width), 0.0F);  // keys have none
  const std::vector<float> values = loader.read("text_proj_for_sos.ca.v_bias", Shape{config.width});
  bias.insert(bias.end(), values.begin(), values.end());
  return bias;
}

}  // namespace

TextReader::TextReader(const InfinityConfig& config, DType source_dtype, WeightLoader& loader)
    : config_(config),
      unconditional_(loader.values("cfg_uncond", Shape{config.text_tokens, config.text_channels})),
      norm_(loader.values("text_norm.weight", Shape{config.text_channels})),
      pool_queries_(loader.values("text_proj_for_sos.ca.mat_q",
                                  Shape{1, config.pool_heads, config.width / config.pool_heads})) {
  const Specs specs(config, source_dtype);
  pool_kv_ =
      loader.linear("text_proj_for_sos.ca.mat_kv.weight", specs.pool_kv, pool_bias(config, loader));
  pool_out_ = loader.linear("text_proj_for_sos.ca.proj", specs.pool_out);
  source_1_ = loader.linear("text_proj_for_ca.0", specs.source_1);
  source_2_ = loader.linear("text_proj_for_ca.2", specs.source_2);
}

size_t TextReader::bytes(const Context& context, const InfinityConfig& config, DType source_dtype) {
  const Specs specs(config, source_dtype);
  size_t bytes =
      static_cast<size_t>((config.text_tokens + 1) * config.text_channels + config.width) *
      sizeof(float);
  for (const auto& spec : {specs.pool_kv, specs.pool_out, specs.source_1, specs.source_2}) {
    bytes += context.kernels->linear_bytes(context, spec);
  }
  return bytes;
}

size_t TextReader::scratch_bytes(const Context& context, const InfinityConfig& config, int64_t rows,
                                 int64_t tokens) {
  const size_t attention =
      context.kernels->attention_scratch(context, pooling(config, rows), config.text_tokens);
  const size_t pool = rounded(tokens * kKeyAndValue * config.width) +
                      2 * rounded(tokens * config.width) + 2 * rounded(rows * config.width) +
                      attention;
  return rounded(tokens * config.text_channels) + std::max(pool, rounded(tokens * config.width));
}

void TextReader::prepare(int64_t rows, int64_t tokens) {
  pool_out_->prepare(rows);
  for (const auto& product : {&pool_kv_, &source_1_, &source_2_}) (*product)->prepare(tokens);
}

void TextReader::normalize(const Context& context, std::span<const TextView> rows,
                           float* out) const {
  for (const TextView& row : rows) {
    context.kernels->rms_norm(context, {.x = row.features,
                                        .weight = norm_.data(),
                                        .tokens = row.tokens,
                                        .width = config_.text_channels,
                                        .epsilon = kTextNormEpsilon,
                                        .out = out});
    out += row.tokens * config_.text_channels;
  }
}

// Every head attends its row's tokens with one learned query.
void TextReader::pool(const Context& context, std::span<const TextView> rows, const float* normed,
                      float* pooled) const {
  Arena& scratch = *context.scratch;
  const ArenaScope scope(scratch);
  const int64_t width = config_.width;
  const auto num_rows = static_cast<int64_t>(rows.size());
  const int64_t tokens = count_tokens(rows);
  const auto take = [&](int64_t count) {
    return scratch.take<float>(static_cast<size_t>(count)).data();
  };
  float* kv = take(tokens * kKeyAndValue * width);
  float* keys = take(tokens * width);
  float* values = take(tokens * width);
  float* queries = take(num_rows * width);
  float* attended = take(num_rows * width);
  pool_kv_->run(context, normed, kv, tokens);
  kernels::AttentionArgs attention = pooling(config_, num_rows);
  std::vector<kernels::AttentionHead> heads;
  int64_t first = 0;
  for (size_t row = 0; row < rows.size(); ++row) {
    const int64_t length = rows[row].tokens;
    context.kernels->split_heads(context, {.qkv = kv + first * kKeyAndValue * width,
                                           .rows = 1,
                                           .tokens = length,
                                           .query_heads = 0,
                                           .kv_heads = config_.pool_heads,
                                           .head_dim = attention.head_dim,
                                           .k = keys + first * width,
                                           .v = values + first * width});
    for (int64_t head = 0; head < config_.pool_heads; ++head) {
      const int64_t offset = first * width + head * length * attention.head_dim;
      heads.push_back(
          {.cached = {}, .current = {.k = keys + offset, .v = values + offset, .tokens = length}});
    }
    std::ranges::copy(pool_queries_, queries + static_cast<int64_t>(row) * width);
    first += length;
  }
  attention.q = queries;
  attention.heads = heads;
  attention.out = attended;
  context.kernels->attention(context, attention);
  pool_out_->run(context, attended, pooled, num_rows);
}

void TextReader::run(const Context& context, std::span<const TextView> rows, float* pooled,
                     void* source) const {
  Arena& scratch = *context.scratch;
  const ArenaScope scope(scratch);
  const int64_t tokens = count_tokens(rows);
  float* normed = scratch.take<float>(static_cast<size_t>(tokens * config_.text_channels)).data();
  normalize(context, rows, normed);
  pool(context, rows, normed, pooled);
  float* hidden = scratch.take<float>(static_cast<size_t>(tokens * config_.width)).data();
  source_1_->run(context, normed, hidden, tokens);
  source_2_->run(context, hidden, source, tokens);
}

}  // namespace nextscale
