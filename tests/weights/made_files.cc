// SPDX-License-Identifier: Apache-2.0
#include "tests/weights/made_files.h"

#include <fmt/format.h>

#include <array>
#include <cstring>
#include <stdexcept>

namespace nextscale {
namespace {

constexpr size_t kDirectoryRecordBytes = 46;
constexpr uint32_t kCrcPolynomial = 0xEDB88320;

template <typename T>
std::string little(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof(T)};
}

uint32_t crc32(std::string_view bytes) {
  uint32_t crc = 0xFFFFFFFF;
  for (const char byte : bytes) {
    crc ^= static_cast<uint8_t>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1U) != 0 ? kCrcPolynomial : 0U);
  }
  return ~crc;
}

// The fields that local header and directory record share: version, flags, method, time, date, crc,
// sizes, lengths of name and extra field.
std::string shared_fields(const std::string& name, const std::string& contents) {
  const auto size = static_cast<uint32_t>(contents.size());
  return little<uint16_t>(20) + little<uint16_t>(0) + little<uint16_t>(0) + little<uint32_t>(0) +
         little(crc32(contents)) + little(size) + little(size) +
         little(static_cast<uint16_t>(name.size())) + little<uint16_t>(0);
}

}  // namespace

std::string made_safetensors(std::string_view header, size_t data_bytes) {
  return little<uint64_t>(header.size()) + std::string(header) + std::string(data_bytes, '\0');
}

std::string one_tensor_header(std::string_view dtype, std::string_view shape,
                              std::string_view offsets) {
  return fmt::format(R"({{"a":{{"dtype":"{}","shape":{},"data_offsets":{}}}}})", dtype, shape,
                     offsets);
}

std::string made_zip(const ZipEntries& entries) {
  std::string zip;
  std::string directory;
  for (const auto& [name, contents] : entries) {
    const std::string fields = shared_fields(name, contents);
    directory += "PK\x01\x02" + little<uint16_t>(20) + fields + std::string(10, '\0') +
                 little(static_cast<uint32_t>(zip.size())) + name;
    zip += "PK\x03\x04" + fields + name + contents;
  }
  const auto count = static_cast<uint16_t>(entries.size());
  return zip + directory + "PK\x05\x06" + little<uint32_t>(0) + little(count) + little(count) +
         little(static_cast<uint32_t>(directory.size())) +
         little(static_cast<uint32_t>(zip.size())) + little<uint16_t>(0);
}

std::string made_torch(const std::string& pickle, const ZipEntries& more) {
  std::string storage;
  for (char byte = 0; byte < 16; ++byte) storage += byte;
  ZipEntries entries{{"m/data.pkl", pickle}, {"m/data/0", storage}};
  entries.insert(entries.end(), more.begin(), more.end());
  return made_zip(entries);
}

std::string one_tensor_pickle(int64_t storage_elements, int64_t offset,
                              const std::vector<int64_t>& sizes,
                              const std::vector<int64_t>& strides, std::string_view key,
                              std::string_view storage_type) {
  return PickleWriter()
      .empty_dict()
      .text("w")
      .tensor({.storage_type = storage_type,
               .key = key,
               .storage_elements = storage_elements,
               .offset = offset,
               .sizes = sizes,
               .strides = strides})
      .set_item()
      .finish();
}

std::string calling_pickle(std::string_view module, std::string_view name, std::string_view text) {
  return PickleWriter()
      .empty_dict()
      .text("w")
      .global(module, name)
      .mark()
      .text(text)
      .tuple()
      .reduce()
      .set_item()
      .finish();
}

void change_directory(std::string& zip, std::string_view name, size_t offset,
                      std::string_view bytes) {
  for (size_t at = zip.find("PK\x01\x02"); at != std::string::npos;
       at = zip.find("PK\x01\x02", at + 1)) {
    if (zip.compare(at + kDirectoryRecordBytes, name.size(), name) != 0) continue;
    zip.replace(at + offset, bytes.size(), bytes);
    return;
  }
  throw std::logic_error("no such entry");
}

}  // namespace nextscale
