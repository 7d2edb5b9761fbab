// SPDX-License-Identifier: Apache-2.0
#include "weights/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>

#include "core/error_format.h"
#include "weights/file_error.h"
#include "weights/safetensors_header.h"
#include "weights/tensor_size.h"

namespace nextscale {
namespace {

static_assert(std::endian::native == std::endian::little,
              "the format and this reader are little-endian");

constexpr size_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the limit of the reference reader
constexpr size_t kDataAlignment = 64;              // one cache line

std::string_view header_text(const MappedFile& file, const std::string& where) {
  if (file.size() < kLengthBytes) {
    fail(ErrorCode::kBadFile,
         "safetensors: {} has {} bytes, too few for a header; copy or download it again", where,
         file.size());
  }
  uint64_t length = 0;
  std::memcpy(&length, file.bytes().data(), kLengthBytes);
  if (length > kMaxHeaderBytes) {
    fail(
        ErrorCode::kBadFile,
        "safetensors: {} claims a header of {} bytes, more than {}; this is not a safetensors file",
        where, length, kMaxHeaderBytes);
  }
  if (length > file.size() - kLengthBytes) {
    fail(ErrorCode::kBadFile,
         "safetensors: {} is truncated inside its header; copy or download it again", where);
  }
  return {reinterpret_cast<const char*>(file.bytes().data()) + kLengthBytes, length};
}

// Checks one entry against the data that exist; returns its bytes.
int64_t require_sound(const SafetensorsEntry& entry, int64_t data_bytes, const std::string& where) {
  const int64_t begin = entry.offsets[0];
  const int64_t end = entry.offsets[1];
  const std::string name = printable(entry.name);
  const int64_t element_bytes = static_cast<int64_t>(safetensors_dtype_bytes(entry.dtype));
  if (element_bytes == 0) {
    fail(ErrorCode::kBadFile,
         "safetensors: tensor '{}' of {} has the unknown type '{}'; use a file of plain numbers",
         name, where, printable(entry.dtype));
  }
  if (begin > end || end > data_bytes) {
    fail(ErrorCode::kBadFile,
         "safetensors: tensor '{}' of {} claims bytes {} to {} of {}; the file is truncated or "
         "damaged, copy or download it again",
         name, where, begin, end, data_bytes);
  }
  const auto count = checked_num_elements(entry.shape);
  if (!count || *count * element_bytes != end - begin) {
    fail(ErrorCode::kBadFile,
         "safetensors: tensor '{}' of {} has a shape that does not fit its {} bytes; copy or "
         "download the file again",
         name, where, end - begin);
  }
  return end - begin;
}

// `entries` sorted by begin.
void require_disjoint(const std::vector<SafetensorsEntry>& entries, const std::string& where) {
  int64_t previous_end = 0;
  for (const SafetensorsEntry& entry : entries) {
    if (entry.offsets[0] == entry.offsets[1]) continue;
    if (entry.offsets[0] < previous_end) {
      fail(ErrorCode::kBadFile,
           "safetensors: tensor '{}' of {} overlaps another one; the file is damaged or hostile",
           printable(entry.name), where);
    }
    previous_end = entry.offsets[1];
  }
}

// `entries` sorted by name.
void require_distinct(const std::vector<SafetensorsEntry>& entries, const std::string& where) {
  const auto twice = std::ranges::adjacent_find(entries, {}, &SafetensorsEntry::name);
  if (twice == entries.end()) return;
  fail(ErrorCode::kBadFile,
       "safetensors: {} has the tensor '{}' twice; the file is damaged or hostile", where,
       printable(twice->name));
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path)
    : Checkpoint(path), file_(path) {
  const std::string where = shown(path);
  const std::string_view text = header_text(file_, where);
  SafetensorsHeader header = parse_safetensors_header(text, where);
  metadata_ = std::move(header.metadata);
  const size_t data_start = kLengthBytes + text.size();
  for (const SafetensorsEntry& entry : header.entries) {
    require_sound(entry, static_cast<int64_t>(file_.size() - data_start), where);
  }
  std::ranges::sort(header.entries, {},
                    [](const SafetensorsEntry& entry) { return entry.offsets[0]; });
  require_disjoint(header.entries, where);
  std::ranges::sort(header.entries, {}, &SafetensorsEntry::name);
  require_distinct(header.entries, where);
  for (const SafetensorsEntry& entry : header.entries) {
    const auto dtype = parse_safetensors_dtype(entry.dtype);
    if (!dtype) {
      unreadable_[entry.name] = entry.dtype;
      continue;
    }
    tensors_.push_back({entry.name, *dtype, Shape(entry.shape)});
    offsets_.push_back(data_start + static_cast<size_t>(entry.offsets[0]));
  }
}

ConstTensorView SafetensorsFile::view(std::string_view name) const {
  const size_t index = index_of(name);
  const TensorInfo& info = tensors_[index];
  if (offsets_[index] % dtype_bytes(info.dtype) != 0) {
    fail(
        ErrorCode::kUnsupported,
        "safetensors: tensor '{}' of {} starts at an odd address; make the model folder again with "
        "'nextscale convert'",
        printable(name), shown(path_));
  }
  return {file_.bytes().data() + offsets_[index], info.dtype, info.shape};
}

void SafetensorsFile::drop(std::string_view name) const {
  const size_t index = index_of(name);
  file_.drop_resident(offsets_[index], tensors_[index].num_bytes());
}

void SafetensorsFile::read_tensor(size_t index, std::span<std::byte> out) {
  if (out.empty()) return;
  std::memcpy(out.data(), file_.bytes().data() + offsets_[index], out.size());
  file_.drop_resident(offsets_[index], out.size());
}

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path,
                                     const std::vector<TensorInfo>& tensors,
                                     const std::map<std::string, std::string>& metadata)
    : file_(path) {
  std::string text = safetensors_header_text(tensors, metadata);
  const size_t unpadded = kLengthBytes + text.size();
  text.append((kDataAlignment - unpadded % kDataAlignment) % kDataAlignment, ' ');
  const uint64_t length = text.size();
  header_bytes_ = kLengthBytes + length;
  for (const TensorInfo& tensor : tensors) data_bytes_ += tensor.num_bytes();
  for (const auto piece :
       {std::as_bytes(std::span(&length, 1)), std::as_bytes(std::span<char>(text))}) {
    file_.write(piece);
    hash_.add(piece);
  }
}

void SafetensorsWriter::write(std::span<const std::byte> bytes) {
  NEXTSCALE_ASSERT(bytes.size() <= data_bytes_ - written_bytes_);
  file_.write(bytes);
  hash_.add(bytes);
  written_bytes_ += bytes.size();
}

std::string SafetensorsWriter::finish() {
  NEXTSCALE_ASSERT(written_bytes_ == data_bytes_);
  file_.commit();
  return hash_.finish();
}

void aligned_order(std::vector<TensorInfo>& tensors) {
  const auto rank = [](const TensorInfo& tensor) {
    const bool is_ragged = tensor.num_bytes() % kDataAlignment != 0;
    return std::pair(is_ragged, -static_cast<int>(dtype_bytes(tensor.dtype)));
  };
  std::ranges::stable_sort(tensors, {}, rank);
}

}  // namespace nextscale
