// SPDX-License-Identifier: Apache-2.0
#include "core/tensor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <type_traits>
#include <utility>
#include <vector>

namespace nextscale {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;

static_assert(!std::is_copy_constructible_v<Tensor>, "copying is spelled clone()");

TEST(Shape, KnowsItsExtents) {
  const Shape shape{2, 3, 4};
  EXPECT_EQ(shape.rank(), 3);
  EXPECT_EQ(shape[2], 4);
  EXPECT_EQ(shape.num_elements(), 24);
  EXPECT_EQ(shape.to_string(), "[2, 3, 4]");
}

TEST(Shape, ScalarHasOneElement) {
  EXPECT_EQ(Shape{}.num_elements(), 1);
  EXPECT_EQ(Shape{}.to_string(), "[]");
}

TEST(Shape, ZeroExtentHasNoElement) { EXPECT_EQ((Shape{3, 0, 2}).num_elements(), 0); }

TEST(Shape, ComparesByExtents) {
  EXPECT_EQ((Shape{2, 3}), (Shape{2, 3}));
  EXPECT_NE((Shape{2, 3}), (Shape{3, 2}));
  EXPECT_NE((Shape{2, 3}), (Shape{2, 3, 1}));
}

TEST(ShapeDeathTest, TooManyExtentsAreOurMistake) {
  EXPECT_DEATH((Shape{1, 1, 1, 1, 1, 1, 1, 1, 1}), "internal error");
}

TEST(Tensor, IsAlignedAndSizedByTypeAndShape) {
  const Tensor tensor(DType::kBF16, {3, 5});
  EXPECT_EQ(tensor.num_bytes(), 30U);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.as<BFloat16>()) % 64, 0U);
}

TEST(Tensor, ZerosAreZero) {
  const Tensor tensor = Tensor::zeros(DType::kF32, {7});
  EXPECT_THAT(std::vector<float>(tensor.as<float>(), tensor.as<float>() + 7), Each(0.0F));
}

TEST(Tensor, CloneIsIndependent) {
  Tensor tensor = Tensor::zeros(DType::kI32, {2});
  const Tensor copy = tensor.clone();
  tensor.as<int32_t>()[0] = 5;
  EXPECT_EQ(copy.as<int32_t>()[0], 0);
}

TEST(Tensor, MovingEmptiesTheSource) {
  Tensor tensor(DType::kF32, {2});
  const Tensor moved = std::move(tensor);
  EXPECT_FALSE(moved.empty());
  EXPECT_EQ(moved.shape(), Shape{2});
}

TEST(Tensor, MoreThanTheSystemHasIsAMemoryError) {
  EXPECT_THROW(Tensor(DType::kF32, {int64_t{1} << 58}), Error);
}

TEST(CopyToF32, ReadsEveryFloatType) {
  const std::array<float, 2> single{1.5F, -2.0F};
  const std::array<uint16_t, 2> half{0x3e00, 0xc000};
  const std::array<uint16_t, 2> brain{0x3fc0, 0xc000};
  std::array<float, 2> out{};
  copy_to_f32({single.data(), DType::kF32, {2}}, out);
  EXPECT_THAT(out, ElementsAre(1.5F, -2.0F));
  copy_to_f32({half.data(), DType::kF16, {2}}, out);
  EXPECT_THAT(out, ElementsAre(1.5F, -2.0F));
  copy_to_f32({brain.data(), DType::kBF16, {2}}, out);
  EXPECT_THAT(out, ElementsAre(1.5F, -2.0F));
}

TEST(CopyToF32, RefusesIntegers) {
  const std::array<int64_t, 1> value{1};
  std::array<float, 1> out{};
  EXPECT_THROW(copy_to_f32({value.data(), DType::kI64, {1}}, out), Error);
}

TEST(RequireShape, NamesThePartAndBothShapes) {
  const std::array<float, 6> values{};
  const ConstTensorView view{values.data(), DType::kF32, {2, 3}};
  require_shape("embedding", view, {2, 3});
  try {
    require_shape("embedding", view, {3, 2});
    FAIL() << "was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kMismatch);
    EXPECT_THAT(error.what(), HasSubstr("embedding: got shape [2, 3], wanted [3, 2]"));
  }
}

}  // namespace
}  // namespace nextscale
