// SPDX-License-Identifier: Apache-2.0
#include "weights/checkpoint.h"

#include <algorithm>
#include <cstring>

#include "core/error_format.h"
#include "weights/file_error.h"
#include "weights/mapped_file.h"
#include "weights/safetensors.h"
#include "weights/sharded_checkpoint.h"
#include "weights/torch_file.h"

namespace nextscale {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kIndexEnding = ".safetensors.index.json";
constexpr std::string_view kWeightsEnding = ".safetensors";
constexpr size_t kSniffedBytes = 64;
constexpr size_t kMaxFolderEntries = 100'000;

bool ends_with(const fs::path& path, std::string_view ending) {
  const std::string& text = path.native();
  return text.ends_with(ending) && !path.filename().native().starts_with('.');
}

// The files of a folder whose names end so, sorted.
std::vector<fs::path> files_ending(const fs::path& folder, std::string_view ending) {
  std::error_code error;
  std::vector<fs::path> result;
  size_t count = 0;
  fs::directory_iterator entry(folder, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    if (++count > kMaxFolderEntries) break;
    if (ends_with(entry->path(), ending)) result.push_back(entry->path());
  }
  if (error) fail_system("list", folder, error.value());
  std::ranges::sort(result);
  return result;
}

// The file to open for a folder.
fs::path weights_in_folder(const fs::path& folder) {
  for (std::string_view ending : {kIndexEnding, kWeightsEnding}) {
    const std::vector<fs::path> files = files_ending(folder, ending);
    if (files.size() == 1) return files.front();
    if (files.empty()) continue;
    fail(ErrorCode::kUsage,
         "weights: folder {} has {} files ending in '{}'; give the path of the one to read",
         shown(folder), files.size(), ending);
  }
  fail(ErrorCode::kNotFound,
       "weights: folder {} holds no *.safetensors and no *.safetensors.index.json; give the path "
       "of a "
       "checkpoint file",
       shown(folder));
}

enum class FileKind { kEmpty, kZip, kSafetensors, kIndex, kLegacyPickle, kLfsPointer, kUnknown };

std::string start_of(const fs::path& path) {
  const MappedFile file(path);
  return {reinterpret_cast<const char*>(file.bytes().data()), std::min(file.size(), kSniffedBytes)};
}

FileKind kind_of(std::string_view start) {
  if (start.empty()) return FileKind::kEmpty;
  if (start.starts_with("PK\x03\x04") || start.starts_with("PK\x05\x06")) return FileKind::kZip;
  if (start.starts_with("version https://git-lfs")) return FileKind::kLfsPointer;
  if (start.size() >= 2 && start[0] == '\x80' && start[1] >= 2 && start[1] <= 5)
    return FileKind::kLegacyPickle;
  if (start.front() == '{') return FileKind::kIndex;
  // The upper half of the header length is zero in every header below 4 GiB.
  if (start.size() > 8 && start[8] == '{' &&
      start.substr(4, 4) == std::string_view("\0\0\0\0", 4)) {
    return FileKind::kSafetensors;
  }
  return FileKind::kUnknown;
}

[[noreturn]] void refuse(FileKind kind, const fs::path& path, std::string_view start) {
  switch (kind) {
    case FileKind::kEmpty:
      fail(ErrorCode::kBadFile, "weights: {} is empty; copy or download it again", shown(path));
    case FileKind::kLegacyPickle:
      fail(ErrorCode::kUnsupported,
           "weights: {} is a torch file in the format used before PyTorch 1.6; load it in PyTorch "
           "and save it again",
           shown(path));
    case FileKind::kLfsPointer:
      fail(ErrorCode::kBadFile,
           "weights: {} is a git-lfs pointer, not the weights themselves; run 'git lfs pull' or "
           "download the file",
           shown(path));
    default:
      fail(ErrorCode::kBadFile,
           "weights: {} is neither safetensors nor a torch file: it starts with '{}'; give the "
           "path of a checkpoint",
           shown(path), printable(start.substr(0, 16)));
  }
}

}  // namespace

std::unique_ptr<Checkpoint> Checkpoint::open(const fs::path& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) return open(weights_in_folder(path));
  if (kind_of(start_of(path)) == FileKind::kIndex) return std::make_unique<ShardedCheckpoint>(path);
  return open_file(path);
}

std::unique_ptr<Checkpoint> Checkpoint::open_file(const fs::path& path) {
  const std::string start = start_of(path);
  switch (const FileKind kind = kind_of(start)) {
    case FileKind::kZip:
      return std::make_unique<TorchFile>(path);
    case FileKind::kSafetensors:
      return std::make_unique<SafetensorsFile>(path);
    default:
      refuse(kind, path, start);
  }
}

const TensorInfo* Checkpoint::find(std::string_view name) const {
  const auto place = std::ranges::lower_bound(tensors_, name, {}, &TensorInfo::name);
  return place == tensors_.end() || place->name != name ? nullptr : &*place;
}

size_t Checkpoint::index_of(std::string_view name) const {
  if (const TensorInfo* info = find(name)) return static_cast<size_t>(info - tensors_.data());
  if (const auto type = unreadable_.find(name); type != unreadable_.end()) {
    fail(ErrorCode::kUnsupported,
         "weights: tensor '{}' of {} has the type {}, which this engine does not read",
         printable(name), shown(path_), printable(type->second));
  }
  fail(ErrorCode::kMismatch,
       "weights: {} has no tensor '{}'; check that the file belongs to this model", shown(path_),
       printable(name));
}

void Checkpoint::read(std::string_view name, std::span<std::byte> out) {
  const size_t index = index_of(name);
  NEXTSCALE_ASSERT(out.size() == tensors_[index].num_bytes());
  read_tensor(index, out);
}

}  // namespace nextscale
