// SPDX-License-Identifier: Apache-2.0
#include "text/character_map.h"

#include <cstdint>
#include <cstring>
#include <vector>

namespace nextscale {
namespace {

// ---- Protobuf wire format (protobuf.dev, "Encoding") --------------------------------------------

enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

// Numbers in sentencepiece_model.proto.
constexpr uint64_t kNormalizerSpec = 3;
constexpr uint64_t kPrecompiledCharsmap = 2;

class FieldReader {
 public:
  explicit FieldReader(std::string_view message) : rest_(message) {}

  bool done() const { return rest_.empty(); }
  // Reads one field; `bytes` is its contents if it is of the type kBytes, else empty. False if it
  // is damaged.
  bool next(uint64_t& number, std::string_view& bytes) {
    uint64_t tag = 0;
    if (!read_varint(tag)) return false;
    number = tag >> 3;
    bytes = {};
    uint64_t value = 0;
    switch (tag & 7) {
      case kVarint:
        return read_varint(value);
      case kFixed64:
        return skip(8);
      case kFixed32:
        return skip(4);
      case kBytes:
        if (!read_varint(value) || value > rest_.size()) return false;
        bytes = rest_.substr(0, value);
        return skip(value);
      default:
        return false;
    }
  }

 private:
  bool skip(uint64_t count) {
    if (count > rest_.size()) return false;
    rest_.remove_prefix(count);
    return true;
  }

  bool read_varint(uint64_t& value) {
    constexpr int kBits = 64;
    value = 0;
    for (int shift = 0; shift < kBits && !rest_.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(rest_.front());
      rest_.remove_prefix(1);
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }

  std::string_view rest_;
};

// ---- Double array -------------------------------------------------------------------------------

// One unit as darts-clone lays it out: the label of the edge that leads here, whether a value hangs
// below, and where the children lie.
struct Unit {
  uint32_t bits;

  uint32_t label() const { return bits & (1U << 31 | 0xffU); }
  bool has_value() const { return (bits >> 8 & 1) != 0; }
  uint32_t offset() const { return bits >> 10 << ((bits & 1U << 9) >> 6); }
  uint32_t value() const { return bits & 0x7fffffffU; }
};

class DoubleArray {
 public:
  explicit DoubleArray(std::string_view bytes) : bytes_(bytes), is_seen_(size()) {}

  size_t size() const { return bytes_.size() / sizeof(uint32_t); }
  Unit unit(size_t index) const {
    Unit result{};
    std::memcpy(&result.bits, bytes_.data() + index * sizeof(uint32_t), sizeof(uint32_t));
    return result;
  }

  // True if no key leads outside, nor to a value of `values_end` or more.
  bool is_bounded(size_t values_end) {
    if (size() == 0) return false;
    pending_.push_back(unit(0).offset());
    while (!pending_.empty()) {
      const uint32_t children = pending_.back();
      pending_.pop_back();
      // Any byte of a key may be tried, so the whole block must be there.
      if ((children | 0xffU) >= size()) return false;
      if (!visit_children(children, values_end)) return false;
    }
    return true;
  }

 private:
  bool visit_children(uint32_t children, size_t values_end) {
    for (uint32_t label = 1; label < 256; ++label) {
      const uint32_t child = children ^ label;
      const Unit edge = unit(child);
      if (edge.label() != label || is_seen_[child]) continue;
      is_seen_[child] = true;
      const uint32_t below = child ^ edge.offset();
      if (below >= size()) return false;
      if (edge.has_value() && unit(below).value() >= values_end) return false;
      pending_.push_back(below);
    }
    return true;
  }

  std::string_view bytes_;
  std::vector<bool> is_seen_;
  std::vector<uint32_t> pending_;
};

// A length, the trie, and texts that end in a zero byte each.
bool is_sound_map(std::string_view map) {
  uint32_t trie_bytes = 0;
  if (map.empty()) return true;  // no normalisation
  if (map.size() <= sizeof(trie_bytes)) return false;
  std::memcpy(&trie_bytes, map.data(), sizeof(trie_bytes));
  map.remove_prefix(sizeof(trie_bytes));
  if (trie_bytes >= map.size() || map.back() != '\0') return false;
  return DoubleArray(map.substr(0, trie_bytes)).is_bounded(map.size() - trie_bytes);
}

bool is_sound_normalizer(std::string_view message) {
  FieldReader fields(message);
  uint64_t number = 0;
  std::string_view bytes;
  while (!fields.done()) {
    if (!fields.next(number, bytes)) return false;
    if (number == kPrecompiledCharsmap && !is_sound_map(bytes)) return false;
  }
  return true;
}

}  // namespace

bool has_sound_character_map(std::string_view model) {
  FieldReader fields(model);
  uint64_t number = 0;
  std::string_view bytes;
  while (!fields.done()) {
    if (!fields.next(number, bytes)) return false;
    if (number == kNormalizerSpec && !is_sound_normalizer(bytes)) return false;
  }
  return true;
}

}  // namespace nextscale
