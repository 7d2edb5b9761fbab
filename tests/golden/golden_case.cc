// SPDX-License-Identifier: Apache-2.0
#include "golden/golden_case.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <stdexcept>

namespace nextscale::golden {

namespace fs = std::filesystem;

std::vector<GoldenCase> find_cases(const std::string& family) {
  const char* folder = std::getenv("NEXTSCALE_GOLDEN_DIR");
  const fs::path root = fs::path(folder == nullptr ? NEXTSCALE_TEST_DATA : folder) / family;
  std::vector<GoldenCase> cases;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(root, error)) {
    if (!fs::exists(entry.path() / "config.json")) continue;
    std::ifstream file(entry.path() / "config.json");
    cases.push_back({entry.path(), nlohmann::json::parse(file)});
  }
  if (cases.empty()) {
    throw std::runtime_error("no golden case in " + root.string() +
                             ": wanted folders with a config.json");
  }
  std::ranges::sort(cases, {}, &GoldenCase::name);
  return cases;
}

std::vector<float> expected_values(const SafetensorsFile& expected, const std::string& name) {
  const ConstTensorView view = expected.view(name);
  std::vector<float> values(static_cast<size_t>(view.shape.num_elements()));
  copy_to_f32(view, values);
  return values;
}

void expect_close(const std::string& name, std::span<const float> got, std::span<const float> want,
                  double tolerance) {
  ASSERT_EQ(got.size(), want.size()) << name;
  double worst = 0;
  size_t where = 0;
  for (size_t at = 0; at < got.size(); ++at) {
    const double error = std::abs(static_cast<double>(got[at]) - static_cast<double>(want[at]));
    if (!(error <= worst)) {
      worst = error;
      where = at;
    }
    if (std::isnan(error)) break;
  }
  EXPECT_LE(worst, tolerance) << name << ": got " << got[where] << ", wanted " << want[where]
                              << " at element " << where << " of " << got.size();
}

}  // namespace nextscale::golden
