// SPDX-License-Identifier: Apache-2.0
#include "weights/safetensors_header.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>

#include "weights/json_text.h"

namespace nextscale {
namespace {

using nlohmann::json;

constexpr std::string_view kMetadataKey = "__metadata__";

struct DTypeRow {
  std::string_view name;
  size_t bytes;
  std::optional<DType> dtype;
};

constexpr std::array<DTypeRow, 15> kDTypes{{
    {"F32", 4, DType::kF32},
    {"BF16", 2, DType::kBF16},
    {"F16", 2, DType::kF16},
    {"I8", 1, DType::kI8},
    {"U8", 1, DType::kU8},
    {"I32", 4, DType::kI32},
    {"I64", 8, DType::kI64},
    {"BOOL", 1, DType::kBool},
    {"F64", 8, std::nullopt},
    {"I16", 2, std::nullopt},
    {"U16", 2, std::nullopt},
    {"U32", 4, std::nullopt},
    {"U64", 8, std::nullopt},
    {"F8_E4M3", 1, std::nullopt},
    {"F8_E5M2", 1, std::nullopt},
}};

const DTypeRow* find_dtype(std::string_view name) {
  const auto row = std::ranges::find(kDTypes, name, &DTypeRow::name);
  return row == kDTypes.end() ? nullptr : &*row;
}

// Receives the header piece by piece, so that a hostile one costs no more memory than its text:
//   depth 1  tensor names and "__metadata__"
//   depth 2  "dtype", "shape", "data_offsets"; or metadata keys
//   depth 3  the numbers of shape and data_offsets
class HeaderReader final : public nlohmann::json_sax<json> {
 public:
  explicit HeaderReader(std::string_view where) : where_(where) {}

  SafetensorsHeader take() { return std::move(header_); }

  bool key(std::string& name) override {
    if (depth_ == 1) return begin_entry(name);
    if (!seen_keys_.insert(name).second)
      refuse(fmt::format("has the key '{}' twice", printable(name)));
    key_ = name;
    return true;
  }

  bool start_object(size_t) override {
    if (++depth_ > 2) refuse("nests objects too deep");
    if (depth_ == 2 && !in_metadata_) header_.entries.back().name = name_;
    return true;
  }

  bool end_object() override {
    if (depth_-- == 2 && !in_metadata_) require_complete();
    return true;
  }

  bool start_array(size_t) override {
    numbers_ = depth_ != 2 || in_metadata_ ? nullptr
               : key_ == "shape"           ? &header_.entries.back().shape
               : key_ == "data_offsets"    ? &header_.entries.back().offsets
                                           : nullptr;
    if (numbers_ == nullptr) refuse("has a list in an unexpected place");
    ++depth_;
    return true;
  }

  bool end_array() override {
    --depth_;
    return true;
  }

  bool number_unsigned(uint64_t value) override {
    if (depth_ != 3) refuse("has a number in an unexpected place");
    if (value > INT64_MAX) refuse("has a size too large to be true");
    numbers_->push_back(static_cast<int64_t>(value));
    const bool is_shape = key_ == "shape";
    if (is_shape && numbers_->size() > Shape::kMaxRank) refuse_rank();
    if (!is_shape && numbers_->size() > 2) refuse("has more than two data_offsets");
    return true;
  }

  bool string(std::string& text) override {
    if (depth_ != 2) refuse("has text in an unexpected place");
    if (in_metadata_) {
      header_.metadata[key_] = text;
    } else if (key_ == "dtype") {
      header_.entries.back().dtype = text;
    } else {
      refuse(fmt::format("has text where '{}' wants something else", printable(key_)));
    }
    return true;
  }

  bool number_integer(int64_t) override { refuse("has a negative number"); }
  bool number_float(double, const std::string&) override {
    refuse("has a size that is no whole number");
  }
  bool null() override { refuse("has null in an unexpected place"); }
  bool boolean(bool) override { refuse("has true or false in an unexpected place"); }
  bool binary(json::binary_t&) override { refuse("has binary data in it"); }

  bool parse_error(size_t, const std::string&, const json::exception& exception) override {
    fail(ErrorCode::kBadFile,
         "safetensors: the header of {} is not valid JSON: {}; copy or download the file again",
         where_, json_reason(exception));
  }

 private:
  [[noreturn]] void refuse(std::string_view problem) const {
    fail(ErrorCode::kBadFile, "safetensors: the header of {} {}{}; copy or download the file again",
         where_, problem, inside());
  }

  [[noreturn]] void refuse_rank() const {
    fail(ErrorCode::kUnsupported,
         "safetensors: tensor '{}' of {} has more than {} dimensions; no model has such a tensor",
         printable(name_), where_, Shape::kMaxRank);
  }

  std::string inside() const {
    return name_.empty() ? "" : fmt::format(" (at '{}')", printable(name_));
  }

  bool begin_entry(const std::string& name) {
    name_ = name;
    seen_keys_.clear();
    key_.clear();
    in_metadata_ = name == kMetadataKey;
    if (!in_metadata_) header_.entries.emplace_back();
    if (in_metadata_ && std::exchange(had_metadata_, true))
      refuse(fmt::format("has {} twice", printable(name)));
    return true;
  }

  void require_complete() const {
    const SafetensorsEntry& entry = header_.entries.back();
    const bool complete = seen_keys_.size() == 3 && !entry.dtype.empty() &&
                          entry.offsets.size() == 2 && seen_keys_.contains("shape");
    if (!complete) refuse("wants exactly dtype, shape and two data_offsets");
  }

  std::string_view where_;
  SafetensorsHeader header_;
  int depth_ = 0;
  std::string name_;  // key at depth 1
  std::string key_;   // key at depth 2
  std::set<std::string> seen_keys_;
  bool in_metadata_ = false;
  bool had_metadata_ = false;
  std::vector<int64_t>* numbers_ = nullptr;
};

}  // namespace

std::optional<DType> parse_safetensors_dtype(std::string_view name) {
  const DTypeRow* row = find_dtype(name);
  return row == nullptr ? std::nullopt : row->dtype;
}

size_t safetensors_dtype_bytes(std::string_view name) {
  const DTypeRow* row = find_dtype(name);
  return row == nullptr ? 0 : row->bytes;
}

SafetensorsHeader parse_safetensors_header(std::string_view text, std::string_view where) {
  if (text.empty() || text.front() != '{') {
    fail(ErrorCode::kBadFile,
         "safetensors: the header of {} does not start with '{{'; this is not a safetensors file",
         where);
  }
  HeaderReader reader(where);
  json::sax_parse(text, &reader);
  return reader.take();
}

std::string safetensors_header_text(const std::vector<TensorInfo>& tensors,
                                    const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header[std::string(kMetadataKey)] = metadata;
  uint64_t begin = 0;
  for (const TensorInfo& tensor : tensors) {
    const auto row = std::ranges::find(kDTypes, std::optional(tensor.dtype), &DTypeRow::dtype);
    const auto extents = tensor.shape.extents();
    const uint64_t end = begin + tensor.num_bytes();
    header[tensor.name] = {{"dtype", row->name},
                           {"shape", std::vector<int64_t>(extents.begin(), extents.end())},
                           {"data_offsets", {begin, end}}};
    begin = end;
  }
  return header.dump();
}

}  // namespace nextscale
