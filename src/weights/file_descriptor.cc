// SPDX-License-Identifier: Apache-2.0
#include "weights/file_descriptor.h"

#include <cerrno>

namespace nextscale {

int FileDescriptor::close() {
  if (number_ < 0) return 0;
  return ::close(std::exchange(number_, -1)) == 0 ? 0 : errno;
}

}  // namespace nextscale
