// SPDX-License-Identifier: Apache-2.0
// Feeds pickles to the machine that interprets the description inside a torch.save file.
#include <span>

#include "nextscale/error.h"
#include "weights/torch_pickle.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    nextscale::read_torch_pickle(std::as_bytes(std::span(data, size)), "input");
  } catch (const nextscale::Error&) {
  }
  return 0;
}
