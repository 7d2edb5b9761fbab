// SPDX-License-Identifier: Apache-2.0
// Feeds files to the reader of torch.save files: the ZIP container and what lies in it. The
// checksum of the container stops most changed pickles; fuzz_pickle goes past it.
#include "fuzz/memory_file.h"
#include "fuzz/read_everything.h"
#include "weights/torch_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const nextscale::MemoryFile file(data, size);
  nextscale::read_everything([&] { return nextscale::TorchFile(file.path()); });
  return 0;
}
