// SPDX-License-Identifier: Apache-2.0
// Feeds sentencepiece models to the tokenizer, and to those that load a text of every kind of
// character.
#include <string_view>

#include "nextscale/error.h"
#include "text/t5_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const nextscale::T5Tokenizer tokenizer(
        std::string_view(reinterpret_cast<const char*>(data), size), "input");
    tokenizer.encode("a photo of \xef\xac\x81lm, \xc2\xbd \xe2\x91\xa0 caf\xc3\xa9 \xe7\x8c\xab ");
  } catch (const nextscale::Error&) {
  }
  return 0;
}
