// SPDX-License-Identifier: Apache-2.0
#include "apps/random_checkpoint/spiece_writer.h"

#include <bit>
#include <cstdint>
#include <string_view>

namespace nextscale {
namespace {

// Kinds of pieces and models in sentencepiece_model.proto.
constexpr uint64_t kNormal = 1;
constexpr uint64_t kUnknown = 2;
constexpr uint64_t kControl = 3;
constexpr uint64_t kUnigram = 1;

constexpr std::string_view kWordStart = "\xe2\x96\x81";  // U+2581

// One message of protobuf's wire format.
class Message {
 public:
  void integer(int number, uint64_t value) {
    varint(static_cast<uint64_t>(number) << 3);
    varint(value);
  }
  void bytes(int number, std::string_view value) {
    varint(static_cast<uint64_t>(number) << 3 | 2);
    varint(value.size());
    text_.append(value);
  }
  void real(int number, float value) {
    varint(static_cast<uint64_t>(number) << 3 | 5);
    for (uint32_t bits = std::bit_cast<uint32_t>(value), byte = 0; byte < 4; ++byte, bits >>= 8) {
      text_.push_back(static_cast<char>(bits & 0xff));
    }
  }
  const std::string& text() const { return text_; }

 private:
  void varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) text_.push_back(static_cast<char>(value | 0x80));
    text_.push_back(static_cast<char>(value));
  }

  std::string text_;
};

void add_piece(Message& model, std::string_view text, float score, uint64_t kind) {
  Message piece;
  piece.bytes(1, text);
  piece.real(2, score);
  piece.integer(3, kind);
  model.bytes(1, piece.text());
}

}  // namespace

std::string ascii_spiece_model() {
  Message model;
  add_piece(model, "<pad>", 0.0F, kControl);
  add_piece(model, "</s>", 0.0F, kControl);
  add_piece(model, "<unk>", 0.0F, kUnknown);
  add_piece(model, kWordStart, -3.0F, kNormal);
  for (char letter = '!'; letter <= '~'; ++letter) {
    add_piece(model, std::string(1, letter), -5.0F, kNormal);
    add_piece(model, std::string(kWordStart) + letter, -6.0F, kNormal);
  }
  Message trainer;
  trainer.integer(3, kUnigram);
  trainer.integer(40, 2);                          // <unk>
  trainer.integer(41, static_cast<uint64_t>(-1));  // no start
  trainer.integer(42, 1);                          // </s>
  trainer.integer(43, 0);                          // <pad>
  model.bytes(2, trainer.text());
  Message normalizer;
  normalizer.bytes(1, "identity");
  model.bytes(3, normalizer.text());
  return model.text();
}

}  // namespace nextscale
