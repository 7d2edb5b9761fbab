// SPDX-License-Identifier: Apache-2.0
// The three text chunks of PNG (tEXt, zTXt, iTXt; PNG specification, 11.3.4) as key and UTF-8
// value.
#pragma once

#include <string_view>

#include "image/png_chunks.h"
#include "nextscale/image.h"

namespace nextscale {

bool is_text_chunk(const PngChunk& chunk);

// Reads a text chunk, inflating at most `max_bytes` of text. Throws Error(kBadFile) naming `name`
// if it is malformed or holds more.
ImageText parse_text_chunk(const PngChunk& chunk, size_t max_bytes, std::string_view name);

}  // namespace nextscale
