// SPDX-License-Identifier: Apache-2.0
#include "text/t5_tokenizer.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "core/error_format.h"
#include "core/memory_info.h"
#include "core/utf8.h"
#include "weights/file_error.h"

namespace nextscale {
namespace {

constexpr int32_t kPad = 0;
constexpr int32_t kEnd = 1;
constexpr int32_t kUnknown = 2;
constexpr std::string_view kExtraStart = "<extra_id_";
// U+0085, the one white space that the fast tokenizer splits at and the character map does not
// know.
constexpr std::string_view kNextLine = "\xc2\x85";

// A special token at the front of a text: how long it is, and its id.
struct SpecialToken {
  size_t bytes = 0;  // 0: there is none
  int32_t id = 0;
};

// "<extra_id_7>" at the front of `text`; numbers are written without leading zeros.
SpecialToken extra_id_at(std::string_view text, int64_t num_pieces) {
  if (!text.starts_with(kExtraStart)) return {};
  const char* digits = text.data() + kExtraStart.size();
  const char* end = text.data() + text.size();
  int number = 0;
  const auto [after, error] = std::from_chars(digits, end, number);
  if (error != std::errc() || after == end || *after != '>' || *digits == '-') return {};
  if (number >= T5Tokenizer::kNumExtraIds || (*digits == '0' && after != digits + 1)) return {};
  // They are numbered downwards from the end of the vocabulary.
  return {static_cast<size_t>(after + 1 - text.data()),
          static_cast<int32_t>(num_pieces + T5Tokenizer::kNumExtraIds - 1 - number)};
}

SpecialToken special_token_at(std::string_view text, int64_t num_pieces) {
  constexpr std::array<std::pair<std::string_view, int32_t>, 3> kLiterals{
      {{"<pad>", kPad}, {"</s>", kEnd}, {"<unk>", kUnknown}}};
  for (const auto& [literal, id] : kLiterals) {
    if (text.starts_with(literal)) return {literal.size(), id};
  }
  return extra_id_at(text, num_pieces);
}

std::string with_plain_spaces(std::string_view text) {
  std::string result;
  for (size_t at = 0; at < text.size();) {
    const size_t found = std::min(text.find(kNextLine, at), text.size());
    result.append(text.substr(at, found - at));
    if (found < text.size()) result.push_back(' ');
    at = found + kNextLine.size();
  }
  return result;
}

void require_prompt(std::string_view prompt) {
  if (prompt.size() > T5Tokenizer::kMaxPromptBytes) {
    fail(ErrorCode::kUsage, "prompt: got {}, wanted at most {}; shorten it",
         format_bytes(prompt.size()), format_bytes(T5Tokenizer::kMaxPromptBytes));
  }
  if (const auto position = first_invalid_utf8(prompt)) {
    fail(ErrorCode::kUsage,
         "prompt: byte {} (0x{:02x}) is not UTF-8, after '{}'; save the text as UTF-8", *position,
         static_cast<unsigned char>(prompt[*position]),
         printable(prompt.substr(*position - std::min<size_t>(*position, 20),
                                 std::min<size_t>(*position, 20))));
  }
}

}  // namespace

std::string T5Tokens::note() const {
  if (num_dropped == 0) return {};
  return fmt::format("the prompt has {} tokens, the text encoder reads {}: its end was left out",
                     static_cast<int64_t>(ids.size()) + num_dropped, ids.size());
}

T5Tokenizer::T5Tokenizer(const std::filesystem::path& model)
    : T5Tokenizer(SentencePieceModel(model), shown(model)) {}

T5Tokenizer::T5Tokenizer(std::string_view bytes, std::string_view name)
    : T5Tokenizer(SentencePieceModel(bytes, name), name) {}

T5Tokenizer::T5Tokenizer(SentencePieceModel model, std::string_view name)
    : model_(std::move(model)) {
  if (model_.pad_id() == kPad && model_.end_id() == kEnd && model_.unknown_id() == kUnknown) return;
  fail(
      ErrorCode::kMismatch,
      "tokenizer: {} numbers padding, end and unknown {}, {} and {}, wanted {}, {} and {}; use the "
      "spiece.model of a T5 encoder",
      name, model_.pad_id(), model_.end_id(), model_.unknown_id(), kPad, kEnd, kUnknown);
}

T5Tokens T5Tokenizer::encode(std::string_view prompt, int64_t max_tokens) const {
  require_prompt(prompt);
  const std::string text = with_plain_spaces(prompt);
  const std::string_view rest = text;
  T5Tokens tokens;
  size_t plain = 0;  // start of the text since the last special token
  for (size_t at = rest.find('<'); at != std::string_view::npos;) {
    const SpecialToken special = special_token_at(rest.substr(at), model_.num_pieces());
    if (special.bytes > 0) {
      model_.encode(rest.substr(plain, at - plain), tokens.ids);
      tokens.ids.push_back(special.id);
      plain = at + special.bytes;
    }
    at = rest.find('<', at + std::max<size_t>(special.bytes, 1));
  }
  model_.encode(rest.substr(plain), tokens.ids);
  tokens.num_dropped =
      std::max<int64_t>(0, static_cast<int64_t>(tokens.ids.size()) + 1 - max_tokens);
  tokens.ids.resize(tokens.ids.size() - static_cast<size_t>(tokens.num_dropped));
  tokens.ids.push_back(kEnd);
  return tokens;
}

}  // namespace nextscale
