// SPDX-License-Identifier: Apache-2.0
// A small sentencepiece model (spiece.model) that numbers its special pieces as T5 does: every
// printable ASCII character is a piece, alone and at the start of a word. For generated text
// encoders; real ones bring their own. Not thread safe.
#pragma once

#include <string>

namespace nextscale {

// The file's contents.
std::string ascii_spiece_model();

}  // namespace nextscale
