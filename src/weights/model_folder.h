// SPDX-License-Identifier: Apache-2.0
// A converted model on disk: config.json and the files it lists. Opening reads the config and
// compares the sizes of the files; it reads no weights (SafetensorsFile does). The family's own
// part of the config is parsed by the family (models/*/config.h). Plain data; thread safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "core/dtype.h"

namespace nextscale {

inline constexpr std::string_view kModelFormat = "nextscale-model";
inline constexpr int kModelVersion = 1;
inline constexpr std::string_view kModelConfigName = "config.json";
inline constexpr std::string_view kTransformerName = "model.safetensors";
inline constexpr std::string_view kVaeName = "vae.safetensors";

struct ModelFile {
  std::string name;  // plain, relative to the folder
  uint64_t bytes = 0;
  std::string sha256;
};

// NOLINTNEXTLINE(bugprone-exception-escape): moving a json asserts, it does not throw.
struct ModelFolder {
  std::filesystem::path path;
  nlohmann::json config;
  std::string family;
  DType weights_dtype = DType::kF32;  // of the transformer's matrices
  std::vector<ModelFile> files;
  // SHA-256 of config.json, which holds those of the files: names the model exactly.
  std::string hash;

  std::filesystem::path transformer() const { return path / kTransformerName; }
  std::filesystem::path vae() const { return path / kVaeName; }
};

// Throws Error: kNotFound (no such folder), kMismatch (a raw checkpoint, or another version),
// kBadFile (damaged config, or files of other sizes than it says), kIo.
ModelFolder open_model_folder(const std::filesystem::path& path);

// Compares the SHA-256 of every file; throws Error(kBadFile) naming the first that differs. Reads
// everything, so it takes a while; `on_bytes` (may be empty) is told of progress.
void verify_model_folder(const ModelFolder& folder,
                         const std::function<void(uint64_t)>& on_bytes = {});

}  // namespace nextscale
