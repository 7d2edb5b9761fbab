// SPDX-License-Identifier: Apache-2.0
// The cases of golden/infinity: text encoders, and models that make pictures.
#include <functional>
#include <utility>

#include "golden/golden_case.h"
#include "golden/infinity_pictures.h"
#include "golden/infinity_text.h"

namespace nextscale::golden {
namespace {

using Check = std::function<void(const GoldenCase&)>;

class CaseTest : public testing::Test {
 public:
  CaseTest(GoldenCase golden, Check check) : golden_(std::move(golden)), check_(std::move(check)) {}
  void TestBody() override { check_(golden_); }

 private:
  GoldenCase golden_;
  Check check_;
};

void register_case(const GoldenCase& golden, const char* kind, const Check& check) {
  testing::RegisterTest(
      ("infinity/" + golden.name()).c_str(), kind, nullptr, nullptr, __FILE__, __LINE__,
      [golden, check]() -> testing::Test* { return new CaseTest(golden, check); });
}

void register_text_case(const GoldenCase& golden) {
  register_case(golden, "ids", check_text_ids);
  register_case(golden, "buckets", check_text_buckets);
  register_case(golden, "features",
                [](const GoldenCase& each) { check_text_features(each, kernels::cpu_table()); });
  register_case(golden, "features_reference",
                [](const GoldenCase& each) { check_text_features(each, kernels::ref_table()); });
}

void register_picture_case(const GoldenCase& golden) {
  register_case(golden, "f32",
                [](const GoldenCase& each) { check_infinity_f32(each, Backend::kCpu); });
  register_case(golden, "f32_reference",
                [](const GoldenCase& each) { check_infinity_f32(each, Backend::kReference); });
  register_case(golden, "bf16_forced_bits",
                [](const GoldenCase& each) { check_infinity_forced(each, Precision::kBF16); });
  register_case(golden, "int8_forced_bits",
                [](const GoldenCase& each) { check_infinity_forced(each, Precision::kInt8); });
}

}  // namespace

void register_cases() {
  for (const GoldenCase& golden : find_cases("infinity")) {
    if (is_text_case(golden)) {
      register_text_case(golden);
    } else {
      register_picture_case(golden);
    }
  }
}

}  // namespace nextscale::golden
