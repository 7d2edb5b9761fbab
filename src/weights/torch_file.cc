// SPDX-License-Identifier: Apache-2.0
#include "weights/torch_file.h"

#include <zip.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <string>

#include "core/error_format.h"
#include "weights/file_error.h"
#include "weights/torch_pickle.h"

namespace nextscale {
namespace {

constexpr std::string_view kPickleEnding = "/data.pkl";
constexpr uint64_t kMaxPickleBytes = uint64_t{64} << 20;
constexpr zip_int64_t kMaxEntries = 1 << 20;
// Strides of zero let one number of the file stand for a huge tensor. Real checkpoints expand only
// small ones.
constexpr uint64_t kMaxExpandedBytes = uint64_t{64} << 20;

struct Entry {
  uint64_t index;
  uint64_t bytes;
};
using Entries = std::map<std::string, Entry, std::less<>>;

struct CloseEntry {
  void operator()(zip_file_t* file) const { zip_fclose(file); }
};
using EntryFile = std::unique_ptr<zip_file_t, CloseEntry>;

[[noreturn]] void refuse(const std::filesystem::path& path, std::string_view problem) {
  fail(ErrorCode::kBadFile, "torch: {} {}; copy or download the file again", shown(path), problem);
}

[[noreturn]] void refuse_entry(const std::filesystem::path& path, std::string_view entry,
                               std::string_view problem) {
  refuse(path, fmt::format("has an entry '{}' that {}", printable(entry), problem));
}

zip_t* open_archive(const std::filesystem::path& path) {
  int code = 0;
  zip_t* archive = zip_open(path.c_str(), ZIP_RDONLY, &code);
  if (archive != nullptr) return archive;
  zip_error_t error;
  zip_error_init_with_code(&error, code);
  const std::string reason = zip_error_strerror(&error);
  zip_error_fini(&error);
  if (code == ZIP_ER_NOENT) fail_system("open", path, ENOENT);
  refuse(path, fmt::format("is truncated or no sound ZIP file ({})", reason));
}

bool is_harmless_name(std::string_view name) {
  return !name.empty() && name.front() != '/' && name.find("..") == std::string_view::npos &&
         name.find('\\') == std::string_view::npos;
}

// Checks one entry of the central directory.
Entry checked_entry(zip_t* archive, uint64_t index, uint64_t file_bytes,
                    const std::filesystem::path& path, std::string* name) {
  zip_stat_t status;
  zip_stat_init(&status);
  if (zip_stat_index(archive, index, 0, &status) != 0) refuse(path, "has an unreadable entry");
  constexpr zip_uint64_t kWanted = ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE |
                                   ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
  if ((status.valid & kWanted) != kWanted) refuse(path, "has an entry without name or size");
  *name = status.name;
  if (!is_harmless_name(*name)) refuse_entry(path, *name, "names a place outside the file");
  if (status.encryption_method != ZIP_EM_NONE) refuse_entry(path, *name, "is encrypted");
  if (status.comp_method != ZIP_CM_STORE)
    refuse_entry(path, *name, "is compressed, which torch.save never does");
  if (status.size != status.comp_size || status.size > file_bytes) {
    refuse_entry(path, *name, "claims more bytes than the file has");
  }
  return {index, status.size};
}

Entries list_entries(zip_t* archive, const std::filesystem::path& path) {
  const zip_int64_t count = zip_get_num_entries(archive, 0);
  if (count < 0 || count > kMaxEntries) refuse(path, fmt::format("claims {} entries", count));
  const uint64_t file_bytes = std::filesystem::file_size(path);
  uint64_t total_bytes = 0;
  Entries entries;
  for (zip_int64_t index = 0; index < count; ++index) {
    std::string name;
    const Entry entry =
        checked_entry(archive, static_cast<uint64_t>(index), file_bytes, path, &name);
    total_bytes += entry.bytes;
    if (total_bytes > file_bytes)
      refuse(path, "has entries that claim more bytes than the file has");
    if (!entries.emplace(name, entry).second) refuse_entry(path, name, "is there twice");
  }
  return entries;
}

// The name of the one folder that everything lies in.
std::string find_folder(const Entries& entries, const std::filesystem::path& path) {
  std::string folder;
  for (const auto& [name, entry] : entries) {
    if (!name.ends_with(kPickleEnding)) continue;
    if (!folder.empty()) refuse(path, "has more than one data.pkl");
    folder = name.substr(0, name.size() - kPickleEnding.size());
  }
  if (folder.empty()) {
    fail(ErrorCode::kBadFile,
         "torch: {} is a ZIP file without data.pkl; give a file that torch.save wrote",
         shown(path));
  }
  return folder;
}

EntryFile open_entry(zip_t* archive, uint64_t index, const std::filesystem::path& path) {
  EntryFile file(zip_fopen_index(archive, index, 0));
  if (file == nullptr) refuse(path, fmt::format("cannot be read ({})", zip_strerror(archive)));
  return file;
}

void read_exactly(zip_file_t* file, std::span<std::byte> out, const std::filesystem::path& path) {
  while (!out.empty()) {
    const zip_int64_t count = zip_fread(file, out.data(), out.size());
    if (count < 0) refuse(path, fmt::format("cannot be read ({})", zip_file_strerror(file)));
    if (count == 0) refuse(path, "ends in the middle of an entry");
    out = out.subspan(static_cast<size_t>(count));
  }
}

// Reads a whole entry; libzip compares the checksum when it meets the end.
void read_entry(zip_t* archive, uint64_t index, std::span<std::byte> out,
                const std::filesystem::path& path) {
  const EntryFile file = open_entry(archive, index, path);
  read_exactly(file.get(), out, path);
  std::byte beyond;
  if (zip_fread(file.get(), &beyond, 1) != 0) {
    refuse(path, fmt::format("has a damaged entry ({})", zip_file_strerror(file.get())));
  }
}

std::vector<std::byte> read_small_entry(zip_t* archive, const Entry& entry, uint64_t max_bytes,
                                        const std::filesystem::path& path) {
  if (entry.bytes > max_bytes)
    refuse(path,
           fmt::format("has a description of {} bytes, wanted at most {}", entry.bytes, max_bytes));
  std::vector<std::byte> bytes(entry.bytes);
  read_entry(archive, entry.index, bytes, path);
  return bytes;
}

void require_little_endian(zip_t* archive, const Entries& entries, const std::string& folder,
                           const std::filesystem::path& path) {
  constexpr std::string_view kLittle = "little";
  const auto entry = entries.find(folder + "/byteorder");
  if (entry == entries.end()) return;  // written before the entry existed: always little
  const std::vector<std::byte> order =
      read_small_entry(archive, entry->second, kLittle.size(), path);
  if (std::string_view(reinterpret_cast<const char*>(order.data()), order.size()) == kLittle)
    return;
  fail(ErrorCode::kUnsupported,
       "torch: {} was written on a big-endian machine; save it again on a common one", shown(path));
}

Entry storage_entry(const Entries& entries, const std::string& folder, const TorchTensor& tensor,
                    const std::filesystem::path& path) {
  const auto entry = entries.find(folder + "/data/" + tensor.storage_key);
  if (entry == entries.end()) {
    refuse(path, fmt::format("has no storage '{}', which tensor '{}' needs",
                             printable(tensor.storage_key), printable(tensor.name)));
  }
  const uint64_t wanted =
      static_cast<uint64_t>(tensor.storage_elements) * tensor.type->element_bytes;
  if (wanted > entry->second.bytes) {
    refuse(path, fmt::format("has a storage '{}' of {} bytes, wanted {} for tensor '{}'",
                             printable(tensor.storage_key), entry->second.bytes, wanted,
                             printable(tensor.name)));
  }
  return entry->second;
}

void require_modest(const TorchTensor& tensor, uint64_t entry_bytes,
                    const std::filesystem::path& path) {
  const uint64_t bytes =
      tensor.type->element_bytes * static_cast<uint64_t>(Shape(tensor.sizes).num_elements());
  if (bytes <= std::max(entry_bytes, kMaxExpandedBytes)) return;
  refuse(path, fmt::format("blows up a storage of {} bytes to {} bytes for tensor '{}'",
                           entry_bytes, bytes, printable(tensor.name)));
}

bool is_contiguous(std::span<const int64_t> sizes, std::span<const int64_t> strides) {
  int64_t expected = 1;
  for (size_t dim = sizes.size(); dim-- > 0;) {
    if (sizes[dim] != 1 && strides[dim] != expected) return false;
    expected *= sizes[dim];
  }
  return true;
}

// Copies a strided tensor row-major; `source` starts at its first element. No extent is zero.
void gather(std::span<const std::byte> source, std::span<const int64_t> sizes,
            std::span<const int64_t> strides, size_t element_bytes, std::span<std::byte> out) {
  std::array<int64_t, Shape::kMaxRank> position{};
  int64_t from = 0;
  for (size_t to = 0; to < out.size(); to += element_bytes) {
    std::memcpy(out.data() + to, source.data() + static_cast<size_t>(from) * element_bytes,
                element_bytes);
    for (size_t dim = sizes.size(); dim-- > 0;) {
      from += strides[dim];
      if (++position[dim] < sizes[dim]) break;
      from -= sizes[dim] * strides[dim];
      position[dim] = 0;
    }
  }
}

}  // namespace

void TorchFile::Close::operator()(zip* archive) const { zip_discard(archive); }

TorchFile::TorchFile(const std::filesystem::path& path)
    : Checkpoint(path), archive_(open_archive(path)) {
  const Entries entries = list_entries(archive_.get(), path);
  const std::string folder = find_folder(entries, path);
  require_little_endian(archive_.get(), entries, folder, path);
  const Entry& pickle = entries.find(folder + std::string(kPickleEnding))->second;
  const std::vector<std::byte> bytes =
      read_small_entry(archive_.get(), pickle, kMaxPickleBytes, path);
  for (const TorchTensor& tensor : read_torch_pickle(bytes, shown(path))) {
    const Entry entry = storage_entry(entries, folder, tensor, path);
    require_modest(tensor, entry.bytes, path);
    if (!tensor.type->dtype) {
      unreadable_[tensor.name] = tensor.type->type_name;
      continue;
    }
    tensors_.push_back({tensor.name, *tensor.type->dtype, Shape(tensor.sizes)});
    places_.push_back({entry.index, entry.bytes, tensor.offset, tensor.extent, tensor.strides});
  }
}

void TorchFile::read_tensor(size_t index, std::span<std::byte> out) {
  const TensorInfo& info = tensors_[index];
  const Place& place = places_[index];
  if (out.empty()) return;
  const size_t element_bytes = dtype_bytes(info.dtype);
  const bool is_whole = place.offset == 0 && out.size() == place.entry_bytes;
  if (!is_contiguous(info.shape.extents(), place.strides)) {
    std::vector<std::byte> window(static_cast<size_t>(place.extent) * element_bytes);
    read_window(place, element_bytes, window, info.name);
    gather(window, info.shape.extents(), place.strides, element_bytes, out);
  } else if (is_whole) {
    read_entry(archive_.get(), place.entry, out, path_);
  } else {
    read_window(place, element_bytes, out, info.name);
  }
}

void TorchFile::read_window(const Place& place, size_t element_bytes, std::span<std::byte> out,
                            std::string_view name) {
  const EntryFile file = open_entry(archive_.get(), place.entry, path_);
  const zip_int64_t start = place.offset * static_cast<int64_t>(element_bytes);
  if (zip_fseek(file.get(), start, SEEK_SET) != 0) {
    refuse(path_, fmt::format("does not give tensor '{}' ({})", printable(name),
                              zip_file_strerror(file.get())));
  }
  read_exactly(file.get(), out, path_);
}

}  // namespace nextscale
