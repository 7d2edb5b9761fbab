// SPDX-License-Identifier: Apache-2.0
// Where the reference data of the methods lies: $NEXTSCALE_GOLDEN_DIR/methods if it has the file,
// else tests/data/methods.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace nextscale {

inline std::filesystem::path method_data(const std::string& name) {
  const char* folder = std::getenv("NEXTSCALE_GOLDEN_DIR");
  if (folder != nullptr) {
    const auto path = std::filesystem::path(folder) / "methods" / name;
    if (std::filesystem::exists(path)) return path;
  }
  return std::filesystem::path(NEXTSCALE_TEST_DATA) / "methods" / name;
}

inline nlohmann::json read_method_data(const std::string& name) {
  std::ifstream file(method_data(name));
  return nlohmann::json::parse(file);
}

// Throws if the file has no cases of that name.
inline std::vector<nlohmann::json> unit_cases(const char* name) {
  return read_method_data("unit_cases.json").at(name).get<std::vector<nlohmann::json>>();
}

}  // namespace nextscale
