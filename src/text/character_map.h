// SPDX-License-Identifier: Apache-2.0
// The character map inside a sentencepiece model: the normalisation as a double-array trie
// (Aoe: "An efficient digital search algorithm by using a double-array structure", 1989) over
// UTF-8, with the replacement texts behind it. The sentencepiece library follows the trie without
// bounds; this finds out beforehand whether any text could lead it astray. Thread safe: no state.
#pragma once

#include <string_view>

namespace nextscale {

// True if `model`, a serialised sentencepiece ModelProto, is built of whole protobuf fields and
// every character map in it keeps any walk inside its own memory.
bool has_sound_character_map(std::string_view model);

}  // namespace nextscale
