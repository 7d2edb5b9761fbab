// SPDX-License-Identifier: Apache-2.0
// Whole generations whose keys and values are kept as int8.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "engine/trace_recorder.h"
#include "nextscale/engine.h"
#include "support/small_model.h"
#include "support/temporary_folder.h"

namespace nextscale {
namespace {

class Int8Runs : public testing::Test {
 protected:
  Int8Runs() : model_(make_model(folder_.path(), small_var_shape(), DType::kF32).string()) {}

  // The logits of all scales over the same given tokens.
  std::map<std::string, Tensor> logits(Precision kv_dtype) const {
    Engine engine({.model = model_, .dtype = Precision::kF32, .kv_dtype = kv_dtype, .threads = 2});
    TraceRecorder recorder(TraceRecorder::Attention::kNo);
    Events events;
    events.trace = &recorder;
    for (const int64_t side : small_var_shape().patch_nums) {
      std::vector<int32_t> tokens(static_cast<size_t>(side * side));
      for (size_t at = 0; at < tokens.size(); ++at) tokens[at] = static_cast<int32_t>(at * 7 % 100);
      events.forced_labels.push_back(tokens);
    }
    Request request{.classes = {"3"}, .cfg = 1.5F};
    engine.generate(request, events);
    std::map<std::string, Tensor> result;
    for (const auto& [name, tensor] : recorder.tensors()) {
      if (name.starts_with("logits.")) result.emplace(name, tensor.clone());
    }
    return result;
  }

  std::map<int64_t, Image> pictures(const std::string& kv, int threads, int64_t batch,
                                    uint64_t* kv_bytes) const {
    Engine engine({.model = model_,
                   .dtype = Precision::kF32,
                   .kv_dtype = Precision::kInt8,
                   .threads = threads});
    Request request{.classes = {"3", "7", "1"}, .seed = 5, .cfg = 1.5F, .top_k = 40};
    request.kv = kv;
    request.batch = batch;
    std::map<int64_t, Image> result;
    Events events;
    events.on_scale = [&](const ScaleEvent& event) {
      *kv_bytes = std::max(*kv_bytes, event.kv_bytes);
    };
    events.on_image = [&](GeneratedImage image) { result[image.number] = std::move(image.image); };
    engine.generate(request, events);
    return result;
  }

  TemporaryFolder folder_;
  std::string model_;
};

TEST_F(Int8Runs, LogitsAreCloseToThoseOfAnF32Cache) {
  const auto exact = logits(Precision::kF32);
  const auto rounded = logits(Precision::kInt8);
  ASSERT_EQ(exact.size(), small_var_shape().patch_nums.size());
  for (const auto& [name, want] : exact) {
    const auto count = static_cast<size_t>(want.shape().num_elements());
    const float* got = rounded.at(name).as<float>();
    double squares = 0;
    double errors = 0;
    for (size_t at = 0; at < count; ++at) {
      squares += std::pow(want.as<float>()[at], 2);
      errors += std::pow(got[at] - want.as<float>()[at], 2);
    }
    // The first scale reads no cache.
    EXPECT_EQ(errors > 0.0, name != "logits.0") << name;
    EXPECT_LT(std::sqrt(errors / squares), 0.01) << name;
  }
}

TEST_F(Int8Runs, NeitherThreadsNorBatchChangeAPixelAndBytesAreAQuarter) {
  // Two rows an image of 2 layers, 2 heads of 64; scales before the last have 39 tokens.
  constexpr uint64_t kFullBytes = 2 * 2 * 2 * 39 * 2 * (64 + sizeof(float));
  for (const char* kv : {"full", "lookm:budget=30%"}) {
    uint64_t one_bytes = 0;
    uint64_t all_bytes = 0;
    const auto one = pictures(kv, 1, 1, &one_bytes);
    EXPECT_EQ(one, pictures(kv, 3, 3, &all_bytes)) << kv;
    EXPECT_EQ(all_bytes, 3 * one_bytes) << kv;
    EXPECT_EQ(one_bytes == kFullBytes, std::string_view(kv) == "full") << one_bytes;
  }
}

}  // namespace
}  // namespace nextscale
