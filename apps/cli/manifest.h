// SPDX-License-Identifier: Apache-2.0
// What is done in a folder of pictures: `manifest.jsonl` gets a line for every picture, after the
// picture was written (docs/formats.md). A run that was interrupted, by whatever, so finds out what
// is left. A last line that was cut counts as not written.
//
// Owns the open file and a lock on it, so that one run at a time writes to a folder. Keeps about a
// hundred bytes a picture in memory. Not thread safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <unordered_map>

#include "nextscale/engine.h"

namespace nextscale::cli {

inline constexpr const char* kManifestName = "manifest.jsonl";

// Everything that decides one picture's pixels beside the settings of all.
struct PictureKey {
  std::string file;  // in the folder
  Prompt prompt{};
  uint64_t seed = 0;
  int64_t image = 0;  // number within its prompt
};

// What is recorded beside it.
struct PictureFacts {
  int64_t width = 0;
  int64_t height = 0;
  uint64_t kv_bytes = 0;
};

// What becomes of pictures that were made with other settings.
enum class OtherPictures { kRefuse, kMakeAgain };

// The first setting that two objects do not share, as "cfg: 4 there, 3 now"; empty if they are
// equal.
std::string first_difference(const nlohmann::json& there, const nlohmann::json& now);

class Manifest {
 public:
  // `settings`: an object that decides the pixels of all pictures, the model's identity included.
  // Makes the file if the folder has none. Throws Error: kUsage (another run writes here; other
  // settings, with kRefuse), kBadFile (not such a file), kIo.
  Manifest(const std::filesystem::path& folder, nlohmann::json settings, OtherPictures others);
  ~Manifest();
  Manifest(const Manifest&) = delete;
  Manifest& operator=(const Manifest&) = delete;

  // True if this picture is recorded and its file is there. Throws Error(kUsage) if the file is
  // recorded as another picture, with kRefuse.
  bool has(const PictureKey& key) const;

  // Records a picture that was written. Throws Error(kIo).
  void add(const PictureKey& key, const PictureFacts& facts);

 private:
  struct Entry {
    uint64_t digest = 0;  // of the line's key and settings
    uint64_t offset = 0;  // of the line
  };

  void lock();
  void read();
  uint64_t digest_of(const nlohmann::json& line) const;
  nlohmann::json line_of(const PictureKey& key) const;
  [[noreturn]] void refuse(const nlohmann::json& recorded, const nlohmann::json& wanted) const;

  std::filesystem::path folder_;
  std::filesystem::path path_;
  nlohmann::json settings_;
  OtherPictures others_;
  int descriptor_ = -1;
  uint64_t end_ = 0;                                // of the last whole line
  std::unordered_map<std::string, Entry> entries_;  // by file
};

}  // namespace nextscale::cli
