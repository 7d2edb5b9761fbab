// SPDX-License-Identifier: Apache-2.0
// A model folder that appears under its name complete or not at all.
//
// Files are written into staging(), a sibling named ".NAME.xxxxxxxx.tmp"; commit() renames it.
// Destruction without commit removes it. A killed process leaves its staging folder behind, which
// the next AtomicFolder for the same name removes (a lock tells it from one in use). Owns the
// staging folder. Not thread safe. Single files: core/atomic_file.h.
#pragma once

#include <filesystem>

#include "weights/file_descriptor.h"

namespace nextscale {

// What to do if the folder exists and is not empty.
enum class ExistingFolder {
  kRefuse,
  kReplaceModel,  // only if it is a model folder with nothing else in it
};

class AtomicFolder {
 public:
  // Throws Error(kUsage) if the folder is in the way, kNotFound or kIo if it cannot be made.
  AtomicFolder(const std::filesystem::path& path, ExistingFolder existing);
  ~AtomicFolder();
  AtomicFolder(const AtomicFolder&) = delete;
  AtomicFolder& operator=(const AtomicFolder&) = delete;

  const std::filesystem::path& staging() const { return staging_; }
  // Every file in staging() must be closed. Afterwards the folder is in place.
  void commit();

 private:
  void create_staging();

  std::filesystem::path path_;
  std::filesystem::path staging_;  // empty once committed
  ExistingFolder existing_;
  FileDescriptor lock_;
};

}  // namespace nextscale
