// SPDX-License-Identifier: Apache-2.0
#include "image/png_texts.h"

#include <zlib.h>

#include <algorithm>
#include <optional>
#include <string>

#include "core/error_format.h"

namespace nextscale {
namespace {

constexpr size_t kMaxKeyBytes = 79;
constexpr size_t kInflateStepBytes = size_t{16} << 10;

std::string latin1_to_utf8(std::string_view text) {
  std::string result;
  for (const char letter : text) {
    const auto code = static_cast<unsigned char>(letter);
    if (code < 0x80) {
      result += letter;
      continue;
    }
    result += static_cast<char>(0xc0 | code >> 6);
    result += static_cast<char>(0x80 | (code & 0x3f));
  }
  return result;
}

// Inflates a zlib stream. Nothing if it is malformed, ends early or holds more than `max_bytes`.
std::optional<std::string> inflate_text(std::string_view packed, size_t max_bytes) {
  z_stream stream{};
  if (inflateInit(&stream) != Z_OK) return std::nullopt;
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  std::string text;
  int status = Z_OK;
  while (status == Z_OK && text.size() <= max_bytes) {
    const size_t before = text.size();
    text.resize(before + kInflateStepBytes);
    stream.next_out = reinterpret_cast<Bytef*>(text.data() + before);
    stream.avail_out = kInflateStepBytes;
    status = inflate(&stream, Z_NO_FLUSH);
    text.resize(text.size() - stream.avail_out);
  }
  inflateEnd(&stream);
  if (status != Z_STREAM_END || text.size() > max_bytes) return std::nullopt;
  return text;
}

// Cuts one chunk into its fields, front to back.
class TextFields {
 public:
  TextFields(const PngChunk& chunk, std::string_view name)
      : rest_(reinterpret_cast<const char*>(chunk.data.data()), chunk.data.size()),
        type_(chunk.type),
        name_(name) {}

  std::string_view until_nul(std::string_view field) {
    const size_t end = rest_.find('\0');
    if (end == std::string_view::npos) fail_bad(fmt::format("a {} without end", field));
    const std::string_view taken = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    return taken;
  }

  unsigned char byte(std::string_view field) {
    if (rest_.empty()) fail_bad(fmt::format("no {}", field));
    const auto value = static_cast<unsigned char>(rest_.front());
    rest_.remove_prefix(1);
    return value;
  }

  std::string key() {
    const std::string_view key = until_nul("keyword");
    if (key.empty() || key.size() > kMaxKeyBytes) {
      fail_bad(fmt::format("a keyword of {} bytes", key.size()));
    }
    return latin1_to_utf8(key);
  }

  std::string plain(size_t max_bytes) const {
    if (rest_.size() > max_bytes) fail_bad(fmt::format("more than {} bytes of text", max_bytes));
    return std::string(rest_);
  }

  std::string inflated(size_t max_bytes) {
    const auto text = inflate_text(rest_, max_bytes);
    if (!text) {
      fail_bad(fmt::format("text that is not a zlib stream of at most {} bytes", max_bytes));
    }
    return *text;
  }

  void require_zlib_method() {
    const unsigned char method = byte("compression method");
    if (method != 0) fail_bad(fmt::format("the unknown compression method {}", method));
  }

 private:
  [[noreturn]] void fail_bad(std::string_view problem) const {
    fail(ErrorCode::kBadFile, "image: {} has a {} chunk with {}", printable(name_), type_, problem);
  }

  std::string_view rest_;
  std::string_view type_;
  std::string_view name_;
};

std::string parse_international(TextFields& fields, size_t max_bytes) {
  const bool compressed = fields.byte("compression flag") != 0;
  if (compressed) {
    fields.require_zlib_method();
  } else {
    fields.byte("compression method");
  }
  fields.until_nul("language tag");
  fields.until_nul("translated keyword");
  return compressed ? fields.inflated(max_bytes) : fields.plain(max_bytes);
}

}  // namespace

bool is_text_chunk(const PngChunk& chunk) {
  return chunk.type == "tEXt" || chunk.type == "zTXt" || chunk.type == "iTXt";
}

ImageText parse_text_chunk(const PngChunk& chunk, size_t max_bytes, std::string_view name) {
  NEXTSCALE_ASSERT(is_text_chunk(chunk));
  TextFields fields(chunk, name);
  ImageText text{fields.key(), {}};
  if (chunk.type == "iTXt") {
    text.value = parse_international(fields, max_bytes);
    return text;
  }
  if (chunk.type == "zTXt") {
    fields.require_zlib_method();
    text.value = latin1_to_utf8(fields.inflated(max_bytes));
    return text;
  }
  text.value = latin1_to_utf8(fields.plain(max_bytes));
  return text;
}

}  // namespace nextscale
