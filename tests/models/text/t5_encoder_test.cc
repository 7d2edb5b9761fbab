// SPDX-License-Identifier: Apache-2.0
#include "models/text/t5_encoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <numeric>

#include "apps/random_checkpoint/random_t5.h"
#include "core/memory_info.h"
#include "models/text/convert_t5.h"
#include "support/temporary_folder.h"

namespace nextscale {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<int32_t>;

T5Config small_config() {
  return {.layers = 2,
          .width = 64,
          .heads = 3,
          .head_dim = 16,
          .ffn_width = 100,
          .vocab = 300,
          .buckets = 32,
          .max_distance = 128};
}

Ids prompt_of(int64_t length) {
  Ids ids(static_cast<size_t>(length));
  for (size_t at = 0; at < ids.size(); ++at) {
    ids[at] = static_cast<int32_t>((at * 37 + ids.size()) % 299);
  }
  ids.back() = 1;
  return ids;
}

class T5EncoderTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder();
    write_random_t5(folder_->path() / "t5", small_config(), 1, 2);
    const T5Source t5 = open_t5(folder_->path() / "t5");
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kI8}) {
      const std::vector<FolderFile> files{t5_weights(t5, dtype)};
      write_model_folder({.transformer = {}, .vae = {}, .output = stored(dtype)},
                         nlohmann::json::object(), files, {});
    }
  }
  static void TearDownTestSuite() { delete folder_; }

  static fs::path stored(DType dtype) { return folder_->path() / dtype_name(dtype); }

  static T5Encoder encoder(DType stored_as, DType compute) {
    return {small_config(), stored(stored_as) / kTextEncoderName, compute};
  }

  static std::vector<Tensor> encode(const std::vector<Ids>& prompts, int num_threads = 2,
                                    DType stored_as = DType::kF32, DType compute = DType::kF32) {
    const Context context{.num_threads = num_threads, .kernels = &kernels::cpu_table()};
    return encoder(stored_as, compute).encode(context, prompts);
  }

 private:
  static inline TemporaryFolder* folder_ = nullptr;
};

bool same_bits(const Tensor& left, const Tensor& right) {
  return left.shape() == right.shape() &&
         std::memcmp(left.as<float>(), right.as<float>(), left.num_bytes()) == 0;
}

// Root of the mean square of the difference, relative to that of `wanted`.
double relative_error(const Tensor& got, const Tensor& wanted) {
  double difference = 0;
  double size = 0;
  for (int64_t index = 0; index < wanted.shape().num_elements(); ++index) {
    difference += std::pow(got.as<float>()[index] - wanted.as<float>()[index], 2);
    size += std::pow(wanted.as<float>()[index], 2);
  }
  return std::sqrt(difference / size);
}

TEST_F(T5EncoderTest, APromptDoesNotDependOnTheOthers) {
  // More than run together at once, so that some share a pass and some do not.
  const std::vector<Ids> prompts{prompt_of(5),   prompt_of(1),   prompt_of(512), prompt_of(77),
                                 prompt_of(512), prompt_of(300), prompt_of(6)};
  for (const DType compute : {DType::kF32, DType::kBF16}) {
    const std::vector<Tensor> together = encode(prompts, 2, DType::kF32, compute);
    ASSERT_EQ(together.size(), prompts.size());
    for (size_t at = 0; at < prompts.size(); ++at) {
      EXPECT_TRUE(same_bits(together[at], encode({prompts[at]}, 2, DType::kF32, compute)[0])) << at;
    }
  }
}

TEST_F(T5EncoderTest, DoesNotDependOnThreads) {
  const std::vector<Ids> prompts{prompt_of(130), prompt_of(9)};
  const std::vector<Tensor> one = encode(prompts, 1);
  const std::vector<Tensor> two = encode(prompts, 2);
  EXPECT_TRUE(same_bits(one[0], two[0]));
  EXPECT_TRUE(same_bits(one[1], two[1]));
}

TEST_F(T5EncoderTest, ReducedPrecisionStaysNear) {
  const std::vector<Ids> prompts{prompt_of(40)};
  const Tensor exact = std::move(encode(prompts)[0]);
  const auto error = [&](DType stored_as, DType compute) {
    return relative_error(encode(prompts, 2, stored_as, compute)[0], exact);
  };
  EXPECT_LE(error(DType::kBF16, DType::kF32), 0.02);
  EXPECT_LE(error(DType::kBF16, DType::kBF16), 0.03);
  EXPECT_LE(error(DType::kI8, DType::kF32), 0.08);
  EXPECT_LE(error(DType::kI8, DType::kBF16), 0.08);
}

TEST_F(T5EncoderTest, RefusesIdsThatItsTableLacks) {
  for (const int32_t id : {300, -1}) {
    try {
      encode({{5, id, 1}});
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kMismatch);
      EXPECT_THAT(error.what(), testing::HasSubstr("take tokenizer and encoder from the same"));
    }
  }
}

TEST_F(T5EncoderTest, StopsBetweenLayers) {
  const std::atomic<bool> cancelled = true;
  Context context{.num_threads = 1, .kernels = &kernels::cpu_table()};
  context.cancelled = &cancelled;
  const std::vector<Ids> prompts{prompt_of(4)};
  EXPECT_THROW(encoder(DType::kF32, DType::kF32).encode(context, prompts), Error);
}

}  // namespace
}  // namespace nextscale
