// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstdio>
#include <exception>

#include "golden/golden_case.h"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  try {
    nextscale::golden::register_cases();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return RUN_ALL_TESTS();
}
