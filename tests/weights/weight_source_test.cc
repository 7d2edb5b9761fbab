// SPDX-License-Identifier: Apache-2.0
#include "weights/weight_source.h"

#include <gtest/gtest.h>

#include <cmath>

namespace nextscale {
namespace {

TEST(RandomWeightsTest, FillAnyShapeWithNumbersThatKeepActivationsAroundOne) {
  Context context;
  context.num_threads = 2;
  const auto source = open_weights(context, {}, "model.safetensors");
  const Shape shape{1500, 1000};  // longer than the stretch that repeats
  const ConstTensorView view = source->view("matrix", shape);
  EXPECT_EQ(view.shape, shape);
  double squares = 0;
  for (int64_t at = 0; at < shape.num_elements(); ++at) {
    ASSERT_LE(std::abs(view.as<float>()[at]), std::sqrt(3.0F / 1000));
    squares += std::pow(static_cast<double>(view.as<float>()[at]), 2);
  }
  EXPECT_NEAR(squares / 1500, 1.0, 0.01);

  context.num_threads = 1;
  const auto again = open_weights(context, {}, "model.safetensors");
  const ConstTensorView other = again->view("other", shape);
  EXPECT_TRUE(
      std::equal(view.as<float>(), view.as<float>() + shape.num_elements(), other.as<float>()));
  source->drop("matrix");
}

TEST(RandomWeightsTest, TensorsOfOneShapeShareTheirMemoryWhileInUse) {
  Context context;
  const auto source = open_weights(context, {}, "model.safetensors");
  const ConstTensorView first = source->view("first", Shape{30, 20});
  const float value = *first.as<float>();
  source->rest("first");
  EXPECT_EQ(source->view("second", Shape{30, 20}).data, first.data);
  EXPECT_NE(source->view("third", Shape{20, 30}).data, first.data);
  source->drop("second");
  EXPECT_EQ(*first.as<float>(), value);
}

}  // namespace
}  // namespace nextscale
