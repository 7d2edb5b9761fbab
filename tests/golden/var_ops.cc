// SPDX-License-Identifier: Apache-2.0
// Single operators against the official implementation: resampling, phi, sampling, smoothing,
// norms.
#include <algorithm>
#include <array>
#include <cmath>

#include "blocks/resampling.h"
#include "blocks/vq_quantizer.h"
#include "core/error_format.h"
#include "golden/golden_case.h"
#include "kernels/kernels.h"
#include "scales/sampler.h"

namespace nextscale::golden {
namespace {

constexpr double kTolerance = 2e-6;
constexpr int kNumPhiConvs = 4;

class Ops {
 public:
  explicit Ops(const GoldenCase& golden)
      : config_(golden.config), expected_(golden.folder / "expected.safetensors") {}

  void check_resampling() const {
    for (const TensorInfo& tensor : expected_.tensors()) {
      int64_t from = 0;
      int64_t to = 0;
      if (std::sscanf(tensor.name.c_str(), "bicubic.%ldto%ld.out", &from, &to) == 2 &&
          tensor.name.ends_with(".out")) {
        check_resample(fmt::format("bicubic.{}to{}.in", from, to), tensor.name,
                       bicubic_matrix(from, to), from, to);
      } else if (std::sscanf(tensor.name.c_str(), "area.%ldto%ld.out", &from, &to) == 2) {
        check_resample(fmt::format("area.{}.in", from), tensor.name, area_matrix(from, to), from,
                       to);
      }
    }
  }

  void check_phi() const {
    for (const TensorInfo& tensor : expected_.tensors()) {
      int num_scales = 0;
      if (std::sscanf(tensor.name.c_str(), "phi_index.S%d", &num_scales) != 1) continue;
      const auto* want = expected_.view(tensor.name).as<int32_t>();
      for (int scale = 0; scale < num_scales; ++scale) {
        EXPECT_EQ(phi_index(scale, num_scales, kNumPhiConvs), want[scale])
            << tensor.name << " scale " << scale;
      }
    }
  }

  // Rows 4 and 5 hold exact ties, where any of the equal entries may go: compared sorted. Row 5
  // sits on the threshold at p = 0.5.
  void check_sampling() const {
    const Shape shape = expected_.view("sampling.logits").shape;
    const auto vocabulary = static_cast<size_t>(shape[2]);
    for (const auto& combo : config_.at("sampling_combos")) {
      const SamplerSettings settings{.top_k = combo.at("top_k"), .top_p = combo.at("top_p")};
      const std::string name =
          fmt::format("sampling.probs.k{}.p{}", settings.top_k, settings.top_p);
      const std::vector<float> want = expected_values(expected_, name);
      for (size_t row = 0; row < static_cast<size_t>(shape[1]); ++row) {
        if (row == 5 && settings.top_p == 0.5F) continue;
        std::vector<float> got = filtered_probabilities(settings, row, vocabulary);
        std::vector<float> wanted(want.begin() + row * vocabulary,
                                  want.begin() + (row + 1) * vocabulary);
        if (row >= 4) {
          std::ranges::sort(got);
          std::ranges::sort(wanted);
        }
        expect_close(name + " row " + std::to_string(row), got, wanted, kTolerance);
      }
    }
  }

  void check_smoothing() const {
    const auto& settings = config_.at("smooth");
    const auto vocabulary = settings.at("vocab").get<size_t>();
    const std::vector<float> codebook = expected_values(expected_, "smooth.codebook");
    for (int index = 0; expected_.find(fmt::format("smooth.{}.ratio", index)) != nullptr; ++index) {
      const auto tensor = [&](const char* part) {
        return expected_values(expected_, fmt::format("smooth.{}.{}", index, part));
      };
      const std::vector<float> noise = tensor("gumbel");
      const std::vector<float> weights = tensor("weights");
      const float ratio = tensor("ratio")[0];
      for (size_t row = 0; row < settings.at("rows").get<size_t>(); ++row) {
        std::vector<float> got = filtered_row(
            {.top_k = settings.at("top_k"), .top_p = settings.at("top_p")}, row, vocabulary);
        const std::span row_noise = std::span(noise).subspan(row * vocabulary, vocabulary);
        smooth_logits(got, ratio, row_noise);
        expect_close(fmt::format("smooth.{}.weights row {}", index, row), got,
                     std::span(weights).subspan(row * vocabulary, vocabulary), kTolerance);
      }
    }
    EXPECT_NE(expected_.find("smooth.0.ratio"), nullptr);
  }

  void check_norms(const kernels::KernelTable& table) const {
    Arena scratch(size_t{1} << 22, "a test");
    Context context;
    context.kernels = &table;
    context.scratch = &scratch;
    check_layer_norm(context);
    check_group_norm(context);
    check_l2_normalize(context);
  }

 private:
  void check_resample(const std::string& in, const std::string& out,
                      const std::vector<float>& matrix, int64_t from, int64_t to) const {
    const std::vector<float> x = expected_values(expected_, in);
    const std::vector<float> want = expected_values(expected_, out);
    const auto channels = static_cast<int64_t>(x.size()) / (from * from);
    for (const kernels::KernelTable* table : {&kernels::ref_table(), &kernels::cpu_table()}) {
      for (int64_t channel = 0; channel < channels; ++channel) {
        std::vector<float> got(static_cast<size_t>(to * to));
        std::vector<float> scratch(static_cast<size_t>(to * from));
        table->resample({}, {.x = x.data() + channel * from * from,
                             .rows = matrix.data(),
                             .columns = matrix.data(),
                             .in_height = from,
                             .in_width = from,
                             .out_height = to,
                             .out_width = to,
                             .channels = 1,
                             .scratch = scratch.data(),
                             .out = got.data()});
        expect_close(out, got, std::span(want).subspan(channel * to * to, to * to), kTolerance);
      }
    }
  }

  std::vector<float> filtered_row(const SamplerSettings& settings, size_t row,
                                  size_t vocabulary) const {
    const std::vector<float> all = expected_values(expected_, "sampling.logits");
    std::vector<float> logits(all.begin() + row * vocabulary, all.begin() + (row + 1) * vocabulary);
    std::vector<int32_t> order(vocabulary);
    filter_logits(settings, logits, order);
    return logits;
  }

  std::vector<float> filtered_probabilities(const SamplerSettings& settings, size_t row,
                                            size_t vocabulary) const {
    std::vector<float> logits = filtered_row(settings, row, vocabulary);
    const float largest = *std::ranges::max_element(logits);
    double total = 0;
    for (const float logit : logits) total += std::exp(static_cast<double>(logit - largest));
    for (float& logit : logits) {
      logit = static_cast<float>(std::exp(static_cast<double>(logit - largest)) / total);
    }
    return logits;
  }

  void check_layer_norm(const Context& context) const {
    const Shape shape = expected_.view("layer_norm.in").shape;
    const int64_t width = shape[shape.rank() - 1];
    const std::vector<float> x = expected_values(expected_, "layer_norm.in");
    std::vector<float> got(x.size());
    const std::vector<float> zeros(static_cast<size_t>(width), 0.0F);
    context.kernels->layer_norm(context, {.x = x.data(),
                                          .scale = zeros.data(),
                                          .shift = zeros.data(),
                                          .rows = 1,
                                          .tokens = static_cast<int64_t>(x.size()) / width,
                                          .width = width,
                                          .out = got.data()});
    expect_close("layer_norm", got, expected_values(expected_, "layer_norm.out"), kTolerance);
  }

  // The golden tensors are [images, channels, height, width].
  void check_group_norm(const Context& context) const {
    const Shape shape = expected_.view("group_norm.in").shape;
    const int64_t channels = shape[1];
    const int64_t pixels = shape[2] * shape[3];
    const std::vector<float> all = expected_values(expected_, "group_norm.in");
    const std::vector<float> weight = expected_values(expected_, "group_norm.weight");
    const std::vector<float> bias = expected_values(expected_, "group_norm.bias");
    std::vector<float> x(static_cast<size_t>(pixels * channels));
    constexpr int64_t kGroups = 32;
    constexpr float kEpsilon = 1e-6F;
    std::array<float, kGroups> mean{};
    std::array<float, kGroups> inverse{};
    for (const bool silu : {false, true}) {
      const std::string name = silu ? "group_norm_silu.out" : "group_norm.out";
      const std::vector<float> want = expected_values(expected_, name);
      for (int64_t image = 0; image < shape[0]; ++image) {
        const int64_t first = image * channels * pixels;
        for (int64_t at = 0; at < pixels * channels; ++at) {
          x[static_cast<size_t>(at)] = all[first + at % channels * pixels + at / channels];
        }
        kernels::GroupSums sums;
        context.kernels->group_sums(context, {.x = x.data(),
                                              .rows = shape[2],
                                              .width = shape[3],
                                              .channels = channels,
                                              .sums = &sums});
        kernels::group_moments(sums, kGroups, pixels * channels / kGroups, kEpsilon, mean.data(),
                               inverse.data());
        std::vector<float> out(x.size());
        context.kernels->gather_rows(context, {.x = x.data(),
                                               .height = shape[2],
                                               .width = shape[3],
                                               .channels = channels,
                                               .rows = shape[2],
                                               .mean = mean.data(),
                                               .inverse = inverse.data(),
                                               .weight = weight.data(),
                                               .bias = bias.data(),
                                               .silu = silu,
                                               .out = out.data()});
        std::vector<float> got(out.size());
        for (int64_t at = 0; at < pixels * channels; ++at) {
          got[at % channels * pixels + at / channels] = out[static_cast<size_t>(at)];
        }
        expect_close(name, got, std::span(want).subspan(first, got.size()), kTolerance);
      }
    }
  }

  void check_l2_normalize(const Context& context) const {
    const Shape shape = expected_.view("l2_normalize.in").shape;
    const int64_t dim = shape[shape.rank() - 1];
    const std::vector<float> x = expected_values(expected_, "l2_normalize.in");
    const auto tokens = static_cast<int64_t>(x.size()) / dim;
    std::vector<float> qkv;  // each vector as query, key and value of one head
    for (int64_t token = 0; token < tokens; ++token) {
      for (int copy = 0; copy < 3; ++copy) {
        qkv.insert(qkv.end(), x.begin() + token * dim, x.begin() + (token + 1) * dim);
      }
    }
    std::vector<float> q(x.size());
    std::vector<float> k(x.size());
    std::vector<float> v(x.size());
    const float scale = 1.0F;
    context.kernels->split_heads(context, {.qkv = qkv.data(),
                                           .head_scale = &scale,
                                           .normalize = true,
                                           .rows = 1,
                                           .tokens = tokens,
                                           .query_heads = 1,
                                           .kv_heads = 1,
                                           .head_dim = dim,
                                           .q = q.data(),
                                           .k = k.data(),
                                           .v = v.data()});
    const std::vector<float> want = expected_values(expected_, "l2_normalize.out");
    expect_close("l2_normalize of keys", k, want, kTolerance);
    expect_close("l2_normalize of queries", q, want, kTolerance);
  }

  const nlohmann::json& config_;
  SafetensorsFile expected_;
};

}  // namespace

void check_var_ops(const GoldenCase& golden) {
  const Ops ops(golden);
  ops.check_resampling();
  ops.check_phi();
  ops.check_sampling();
  ops.check_smoothing();
  ops.check_norms(kernels::ref_table());
  ops.check_norms(kernels::cpu_table());
}

}  // namespace nextscale::golden
